"""Defects of an earlier saga executor that ours must not have, each with its test.

What is proven here is the machine's part: some of them have a part in the store, in the recovery of many sagas or in
the services, too.

| met where        | defect                                                       | test_steno_...             |
| ---------------- | ------------------------------------------------------------ | -------------------------- |
| steno#17, #16    | two parallel nodes fail at once: panic, again at each restart | 17_two_parallel_...        |
| steno#462        | never-started join, parents failed and undone: unrecoverable | 462_a_join_...             |
| omicron#10581    | sagas beyond recovery begin to run under mended code         | omicron_10581_...          |
| steno#26, #126   | an undo failure is a panic, and so a crash loop              | 26_an_undo_failure_...     |
| steno#32         | lookup of an unknown ancestor is a panic                     | 32_an_unknown_ancestor_... |
| steno#25         | a name given twice is a panic                                | 25_duplicate_names_...     |
| steno#12         | a graph that is none is a panic                              | 12_a_cycle_...             |
| steno#18         | dropping the executor while panicking panics                 | 18_a_turn_thrown_away_...  |
| omicron#5947     | recovery stops at the first saga that does not recover       | omicron_5947_...           |
| omicron#5948     | log rows lost on the way: an impossible log                  | omicron_5948_...           |
| omicron#6063     | recovery can't be repeated while sagas run                   | omicron_6063_...           |
| a model of it    | a second undo failure as the last thing outstanding: panic   | model_last_undo_...        |
| a model of it    | a log with two undo failures can't be resumed: panic         | model_two_undo_failed_...  |
| a model of it    | never-started child of a node whose undo failed: refused     | model_child_of_stuck_...   |
| a model of it    | a stuck saga resumed: undos in flight are never finished     | model_resumed_stuck_...    |
| its sec.rs       | starting twice loses the saga                                | sec_start_twice_...        |
| its sec.rs       | create persists, and validates afterwards                    | sec_validates_first_...    |
| its saga_exec.rs | a status query between log and memory panics                 | exec_status_...            |
| steno#66         | an action's error is not definite, and its effect leaks      | 66_... (two)               |
| omicron#1466     | a partial effect of a failed node is not undone              | omicron_1466_...           |
| omicron#4259     | actions retry inside themselves for ever: nothing drains     | omicron_4259_...           |
| regression cases | 1 to 8                                                       | 5e_1_... to 5e_8_...       |
"""

from __future__ import annotations

import itertools

import pytest

from sagaline_server.core.apply import IllegalEntry, apply
from sagaline_server.core.decide import ResultFate
from sagaline_server.core.entries import (
    AttemptStarted,
    NodeFailed,
    NodeSucceeded,
    Resolution,
    SagaCreated,
    SagaState,
    Stamped,
    UndoAttemptStarted,
    UndoFailed,
)
from sagaline_server.core.validate import check_graph
from sagaline_server.core.values import NULL, Disposition, Failure, Payload
from tests.unit.core.driver import DIGEST, empty, fold, snapshot
from tests.unit.core.effects import Effects
from tests.unit.core.graphs import ONCE, action, beside, chain, flat, graph, join, output_of, params
from tests.unit.core.scene import OUTPUT, UNDO, Scene, failure
from tests.unit.core.world import World


def resume_everywhere(scene: Scene) -> None:
    """Every prefix of the story's log resumes, and ends when workers and operator are honest (rule 9)."""
    for length in range(1, len(scene.log) + 1):
        prefix = scene.log[:length]
        for seed in range(3):
            heir = World(scene.topology, log=prefix, effects=Effects.told_by(prefix), seed=seed)
            heir.calm(operator=True)
            assert heir.saga.finished is not None


def look(scene: Scene) -> None:
    """Ask everything that a status query asks, at every point of the story."""
    for length in range(len(scene.log) + 1):
        saga = fold(scene.topology, scene.log[:length])
        assert saga.state in SagaState
        assert isinstance(saga.needs_operator, bool)
        assert all(saga.status(node) is not None for node in range(len(scene.topology.nodes)))
        assert len(list(saga.in_flight())) <= 2 * len(scene.topology.nodes)
        for node in saga.outputs:
            saga.output(node)


# ---- met in production


def test_steno_17_two_parallel_nodes_fail_at_once() -> None:
    """The log is the only truth, so it does not matter how close together two failures come."""
    for together in (True, False):
        scene = Scene(join())
        if together:
            scene.turn(scene.result("a", given=failure()), scene.result("b", given=failure()))
        else:
            scene.fail("a", "b")
        assert scene.state() is SagaState.UNWOUND
        assert sum(isinstance(entry, NodeFailed) for entry in scene.entries()) == 2
        resume_everywhere(scene)


def test_steno_462_a_join_that_never_started_beside_an_undone_parent() -> None:
    """Never-started child, one parent failed, the other undoing or undone: a legal log, and it resumes."""
    scene = Scene(join())
    scene.fail("b")
    scene.succeed("a")
    assert scene.are(a="UNDOING", b="FAILED", c="ABANDONED")
    resume_everywhere(scene)
    scene.undo("a")
    resume_everywhere(scene)


def test_steno_omicron_10581_what_can_not_be_recovered_does_not_run() -> None:
    """An illegal log is refused whole, its entry named; nothing of it is acted on, today or under a later release."""
    topology = join()
    log = [
        Stamped(1, 1, 0.0, SagaCreated(DIGEST)),
        Stamped(2, 1, 0.0, AttemptStarted("c", 1, "w")),
    ]
    with pytest.raises(IllegalEntry, match=r"entry 2, AttemptStarted") as caught:
        fold(topology, log)
    assert caught.value.seq == 2


def test_steno_26_an_undo_failure_is_a_state() -> None:
    """Stuck is a state of its own that is listed and resolved, not a crash."""
    scene = Scene(chain("a", "b"))
    scene.succeed("a")
    scene.fail("b")
    scene.undo_fails("a")
    assert scene.state() is SagaState.STUCK
    assert scene.saga.needs_operator
    resume_everywhere(scene)


def test_steno_32_an_unknown_ancestor_is_found_at_creation() -> None:
    """A name that no node has is a problem of the request; a field that is not there fails the node, definitely."""
    assert [p.reason for p in check_graph(graph(action("a", v=output_of("nobody"))))] == ["UNKNOWN_NODE"]
    scene = Scene(flat(action("a", v=params("missing"))))
    assert scene.are(a="FAILED")
    assert scene.state() is SagaState.UNWOUND


def test_steno_25_duplicate_names_are_found_at_creation() -> None:
    """Two nodes of one name are a problem of the request."""
    assert [p.reason for p in check_graph(graph(action("a"), action("a")))] == ["DUPLICATE_NODE"]


def test_steno_12_a_cycle_is_found_at_creation() -> None:
    """Nodes that wait for each other are a problem of the request."""
    assert [p.reason for p in check_graph(graph(action("a", "b"), action("b", "a")))] == ["CYCLE"]


def test_steno_18_a_turn_thrown_away_leaves_nothing() -> None:
    """Whatever stops a turn, the state is that of the last durable entry; dropping it is no event."""
    scene = Scene(join())
    before = snapshot(scene.saga)
    turn = scene.begin()
    turn.take(scene.result("a"))
    turn.take(scene.result("b", given=failure()))
    del turn
    assert snapshot(scene.saga) == before
    scene.succeed("a", "b", "c")
    assert scene.state() is SagaState.SUCCEEDED


def test_steno_omicron_5947_one_bad_log_leaves_the_others_alone() -> None:
    """A log that is refused raises one kind of error and touches no other saga, though they share their topology."""
    topology = join()
    good = Scene(topology)
    good.succeed("a")
    bad = [*good.log[:2], good.log[1]]
    recovered = []
    for log in (bad, good.log, bad[::-1], good.log):
        try:
            recovered.append(fold(topology, log))
        except IllegalEntry:
            continue
    assert [snapshot(saga) for saga in recovered] == [snapshot(good.saga)] * 2


def test_steno_omicron_5948_a_log_that_lost_rows_is_refused() -> None:
    """Every entry has its number; a hole is found before anything is decided on what is left."""
    scene = Scene(chain("a", "b"))
    scene.succeed("a", "b")
    for lost in range(len(scene.log) - 1):
        with pytest.raises(IllegalEntry):
            fold(scene.topology, scene.log[:lost] + scene.log[lost + 1 :])


def test_steno_omicron_6063_recovery_can_be_repeated_while_the_saga_runs() -> None:
    """Folding a log reads it, and changes neither it nor the saga that lives."""
    scene = Scene(join())
    for name in ("a", "b", "c"):
        assert snapshot(fold(scene.topology, scene.log)) == snapshot(scene.saga)
        scene.succeed(name)
    assert scene.state() is SagaState.SUCCEEDED


# ---- found by reading and modelling


def test_steno_model_last_undo_failure_is_the_last_thing_outstanding() -> None:
    """The second undo fails when nothing else is left to do: stuck, with both recorded."""
    scene = Scene(join())
    scene.succeed("a", "b")
    scene.fail("c")
    scene.turn(scene.result("a", UNDO, given=failure()), scene.result("b", UNDO, given=failure()))
    assert scene.state() is SagaState.STUCK
    assert scene.flying() == set()
    resume_everywhere(scene)


def test_steno_model_two_undo_failed_entries_resume() -> None:
    """A log with two of them is legal, at rest, and each is resolved by itself."""
    scene = Scene(join())
    scene.succeed("a", "b")
    scene.fail("c")
    scene.undo_fails("b", "a")
    scene.crash()
    assert scene.state() is SagaState.STUCK
    assert sum(isinstance(entry, UndoFailed) for entry in scene.entries()) == 2
    scene.order("a", Resolution.MARK_UNDONE)
    scene.crash()
    assert scene.state() is SagaState.STUCK
    scene.order("b", Resolution.MARK_UNDONE)
    assert scene.state() is SagaState.UNWOUND


def test_steno_model_child_of_stuck_parent_never_started() -> None:
    """A parent whose undo failed with a child that never ran: a legal log, and it resumes."""
    scene = Scene(join())
    scene.succeed("a")
    scene.fail("b")
    scene.undo_fails("a")
    assert scene.are(a="UNDO_FAILED", c="ABANDONED")
    resume_everywhere(scene)


def test_steno_model_resumed_stuck_saga_finishes_the_other_undos() -> None:
    """Rule 12: after a crash the undo in flight is sent again, and those that were pending are tried."""
    scene = Scene(flat(action("a"), action("x"), action("y", "x"), action("z", "a", "y")))
    scene.succeed("a", "x", "y")
    scene.fail("z")
    scene.undo_fails("a")
    assert scene.flying() == {"undo y"}
    scene.crash()
    scene.wait()
    assert scene.flying() == {"undo y"}
    scene.undo("y", "x")
    assert scene.are(a="UNDO_FAILED", x="UNDONE", y="UNDONE")


def test_steno_sec_start_twice_changes_nothing() -> None:
    """A second creation is refused, the first goes on; looking at a saga again starts nothing again."""
    scene = Scene(chain("a", "b"))
    with pytest.raises(IllegalEntry):
        apply(scene.saga, Stamped(scene.saga.seq + 1, 1, 0.0, SagaCreated(DIGEST)))
    sends = len(scene.sends)
    scene.turn(wake=[0, 1, 0])
    assert len(scene.sends) == sends
    scene.succeed("a", "b")
    assert scene.state() is SagaState.SUCCEEDED


def test_steno_sec_validates_first_and_finds_everything() -> None:
    """All problems are known from the request alone, before there is a state, a log or a record of it."""
    bad = graph(action("a", "nobody"), action("a"), result="nothing")
    assert {p.reason for p in check_graph(bad)} == {"UNKNOWN_NODE", "DUPLICATE_NODE"}


def test_steno_exec_status_is_whole_after_every_entry() -> None:
    """There is no gap between log and memory: after each entry every question has an answer."""
    scene = Scene(join())
    scene.lose("a")
    scene.fail("b")
    scene.wait()
    scene.succeed("a")
    scene.undo_fails("a")
    look(scene)


# ---- an action's error must be definite


def test_steno_66_an_error_after_an_unknown_attempt_is_undone() -> None:
    """The effect happened, the worker died, the next attempt fails: in doubt, and undone as unknown."""
    scene = Scene(beside("a"))
    scene.lose("a")
    scene.wait()
    scene.fail("a")
    assert scene.flying() == {"undo a"}


@pytest.mark.parametrize(
    ("disposition", "status"),
    [(Disposition.RETRY, "RETRYING"), (Disposition.FAIL, "FAILED"), (Disposition.HOLD, "HELD")],
)
def test_steno_66_a_worker_can_say_which_kind_of_error(disposition: Disposition, status: str) -> None:
    """Try again, failed with no effect, leave it to an operator: three kinds, three ends."""
    scene = Scene(beside("a"))
    scene.take(scene.result("a", given=failure(disposition)))
    assert scene.are(a=status)


def test_steno_omicron_1466_a_partial_effect_is_undone() -> None:
    """A worker that has done half and can't go on does not say FAIL; when its attempts run out the node is undone."""
    scene = Scene(flat(action("a", retry=ONCE)))
    scene.retry("a", failed=Failure("test.HalfDone"))
    assert scene.flying() == {"undo a"}
    assert scene.invocations("a", UNDO)[0].action_output is None


def test_steno_omicron_4259_retries_are_the_owners_and_survive_it() -> None:
    """Between attempts nothing runs anywhere, so a saga that waits for a dead peer can be handed off or unwound."""
    scene = Scene(chain("a", "b"))
    scene.retry("a")
    assert scene.flying() == set()
    scene.crash()
    assert scene.flying() == set()
    scene.unwind()
    scene.order("a", Resolution.MARK_FAILED)
    assert scene.state() is SagaState.UNWOUND


# ---- regression cases


@pytest.mark.parametrize("progress", ["undo started", "unwound"])
def test_steno_5e_1_crash_after_the_sibling_is_undone(progress: str) -> None:
    """a and b beside each other, then c; b fails, a succeeds and is undone; a crash at any point after that."""
    scene = Scene(join())
    scene.turn(scene.result("b", given=failure()), scene.result("a"))
    assert any(isinstance(entry, UndoAttemptStarted) for entry in scene.entries())
    if progress == "unwound":
        scene.undo("a")
    resume_everywhere(scene)
    scene.crash()
    if progress == "undo started":
        scene.wait()
        scene.undo("a")
    assert scene.state() is SagaState.UNWOUND


def test_steno_5e_2_the_second_failure_is_logged_before_the_first_is_seen() -> None:
    """Both failures in one append: unwound, no crash, whoever reads the log."""
    for first, second in itertools.permutations("ab"):
        scene = Scene(join())
        length = len(scene.log)
        scene.turn(scene.result(first, given=failure()), scene.result(second, given=failure()))
        assert [type(e).__name__ for e in scene.entries()[length:]] == ["NodeFailed", "NodeFailed", "SagaFinished"]
        resume_everywhere(scene)


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_steno_5e_3_both_undos_fail(order: str) -> None:
    """c fails, the undos of a and b both fail, in either order: stuck, two entries, resumable."""
    scene = Scene(join())
    scene.succeed("a", "b")
    scene.fail("c")
    scene.undo_fails(*order)
    assert scene.state() is SagaState.STUCK
    resume_everywhere(scene)


def test_steno_5e_4_the_other_undo_is_in_flight_at_the_crash() -> None:
    """a's undo has failed, b's is out: the new owner sends it again, and the saga stays stuck at a alone."""
    scene = Scene(join())
    scene.succeed("a", "b")
    scene.fail("c")
    scene.undo_fails("a")
    assert scene.flying() == {"undo b"}
    scene.crash()
    assert scene.state() is SagaState.STUCK
    scene.wait()
    scene.undo("b")
    assert scene.are(a="UNDO_FAILED", b="UNDONE")
    resume_everywhere(scene)


def test_steno_5e_5_a_status_query_at_every_instant() -> None:
    """Of cases 2 and 3, after every entry: never an error."""
    both = Scene(join())
    both.turn(both.result("a", given=failure()), both.result("b", given=failure()))
    look(both)
    stuck = Scene(join())
    stuck.succeed("a", "b")
    stuck.fail("c")
    stuck.undo_fails("b", "a")
    look(stuck)


def test_steno_5e_6_slips_are_answers_and_not_crashes() -> None:
    """A double start is refused, a bad graph never gets a state, a field that is not there fails its node."""
    saga = empty(join())
    apply(saga, Stamped(1, 1, 0.0, SagaCreated(DIGEST)))
    with pytest.raises(IllegalEntry):
        apply(saga, Stamped(2, 1, 0.0, SagaCreated(DIGEST)))
    assert check_graph(graph(action("")))
    scene = Scene(flat(action("a"), action("b", v=output_of("a", "missing"))))
    scene.succeed("a", output=Payload(json="{}"))
    assert scene.are(b="FAILED")


def test_steno_5e_7_an_error_of_the_second_run_is_not_definite() -> None:
    """The effect is done, the owner crashes before it is logged, the second run meets an error: undone as unknown."""
    scene = Scene(beside("a"))
    scene.crash()
    scene.wait()
    assert [sent.attempt for sent in scene.invocations("a")] == [1, 2]
    scene.fail("a", attempt=2)
    assert not any(isinstance(e, NodeFailed) and not e.effect_unknown for e in scene.entries())
    assert scene.flying() == {"undo a"}


def test_steno_5e_8_a_late_duplicate_of_an_action_stays_undone() -> None:
    """Attempt 1 was given up and runs after the undo: the barrier keeps it out, and its answer changes nothing."""
    scene, effects = Scene(flat(action("a"), action("b"), action("c", "a", "b"))), Effects()
    scene.lose("a")
    scene.wait()
    effects.act("a", OUTPUT)
    scene.succeed("a", attempt=2)
    scene.fail("b")
    effects.undo("a")
    scene.undo("a")
    assert scene.state() is SagaState.UNWOUND
    assert effects.act("a", NULL) is None
    assert scene.succeed("a", attempt=1).fate is ResultFate.SUPERSEDED
    assert effects.net("a") == 0
    assert sum(isinstance(entry, NodeSucceeded) for entry in scene.entries()) == 1
