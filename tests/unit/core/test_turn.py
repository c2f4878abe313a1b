"""A turn: what happens between two appends, and what is left behind by one that did not happen."""

from __future__ import annotations

from hypothesis import given

from sagaline_server.core.entries import AttemptStarted, Kind, NodeSucceeded, SagaFinished, SagaState
from sagaline_server.core.graph import Graph, RetryPolicy
from sagaline_server.core.invocation import idempotency_key, invocation
from sagaline_server.core.turn import Turn
from tests.unit.core.driver import snapshot
from tests.unit.core.graphs import action, beside, chain, flat, flatten_valid, join
from tests.unit.core.scene import UNDO, Scene, failure
from tests.unit.core.strategies import GRAPHS, PARAMS, SEEDS, STEPS, TEMPERS
from tests.unit.core.world import Temper, World


def test_starts_are_announced_with_their_entries() -> None:
    """Rule 2: every send of a turn has its entry in the same turn, with attempt and worker."""
    scene = Scene(join())
    turn = scene.begin()
    turn.take(scene.result("a"))
    turn.take(scene.result("b"))
    turn.go_on(lambda _node, _kind: "worker-7")
    assert turn.starts == [(scene.topology.index["c"], Kind.ACTION)]
    assert turn.entries[-1].entry == AttemptStarted("c", 1, "worker-7")
    sent = invocation(turn.saga, *turn.starts[0])
    assert (sent.node, sent.attempt, sent.worker_id) == ("c", 1, "worker-7")


def test_entries_are_numbered_and_stamped() -> None:
    """The sequence goes on without a gap; epoch and time are those of the turn."""
    scene = Scene(chain("a", "b"))
    turn = Turn(scene.saga, 9, 77.0, lambda: 0.5)
    turn.take(scene.result("a"))
    turn.go_on(lambda _node, _kind: "worker-1")
    assert [(s.seq, s.epoch, s.time) for s in turn.entries] == [(3, 9, 77.0), (4, 9, 77.0)]


def test_many_results_in_one_turn() -> None:
    """Group commit: a frame of results is one append, and everything that follows is in it."""
    scene = Scene(join())
    length = len(scene.log)
    scene.turn(scene.result("a"), scene.result("b"))
    kinds = [type(entry) for entry in scene.entries()[length:]]
    assert kinds == [NodeSucceeded, NodeSucceeded, AttemptStarted]


def test_the_last_result_ends_the_saga_in_the_same_turn() -> None:
    """The end needs no turn of its own."""
    scene = Scene(beside("a"))
    scene.succeed("a")
    assert scene.entries()[-1] == SagaFinished(SagaState.SUCCEEDED)


def test_a_turn_that_is_thrown_away_never_was() -> None:
    """A fenced append: the state that the turn began with is untouched, whatever the turn did."""
    scene = Scene(flat(action("a"), action("b"), action("c", "a", "b")))
    before, woken = snapshot(scene.saga), scene.saga.woken[:]
    turn = scene.begin()
    turn.take(scene.result("a"))
    turn.take(scene.result("b", given=failure()))
    turn.go_on(lambda _node, _kind: "worker-1")
    assert turn.saga.unwinding
    assert snapshot(scene.saga) == before
    assert scene.saga.woken == woken


def test_no_slot_no_start() -> None:
    """A node that no worker has room for is told, and starts when there is room."""
    scene = Scene(chain("a", "b"))
    scene.room = False
    scene.succeed("a")
    assert scene.flying() == set()
    assert list(scene.unplaced) == [(1, Kind.ACTION)]
    scene.room = True
    scene.place_all()
    assert scene.flying() == {"b"}


def test_a_slot_for_what_may_not_start_any_more() -> None:
    """The node was decided while it waited for the slot; nothing starts, and nothing is written."""
    scene = Scene(flat(action("a"), action("b")))
    scene.room = False
    scene.lose("a")
    scene.wait()
    assert list(scene.unplaced) == [(0, Kind.ACTION)]
    scene.succeed("a", attempt=1)
    turn = scene.begin()
    assert turn.place(0, Kind.ACTION, "worker-1") is False
    assert turn.place(0, UNDO, "worker-1") is False
    assert not turn.entries
    assert not turn.starts


def test_a_slot_that_comes_too_late_gives_the_node_up() -> None:
    """The policy's time is over: the node is given up instead of started, and the saga goes on."""
    scene = Scene(flat(action("a", retry=RetryPolicy(total_timeout=10.0)), action("b", "a")))
    scene.room = False
    scene.retry("a")
    scene.wait()
    scene.now += 20.0
    scene.room = True
    scene.place_all()
    assert scene.are(b="ABANDONED")
    assert scene.flying() == {"undo a"}


def test_timers_are_told_with_their_time() -> None:
    """A node that waits is to be looked at again when its attempt is due, in seconds since 1970."""
    scene = Scene(beside("a"))
    scene.retry("a")
    assert scene.timers == {0: scene.now + 1.0}


def test_looking_early_or_twice_does_no_harm() -> None:
    """A timer that fires too soon, or again, starts nothing too soon and nothing twice."""
    scene = Scene(beside("a"))
    scene.retry("a")
    due = scene.timers[0]
    scene.turn(wake=[0, 0])
    assert scene.flying() == set()
    scene.now = due
    scene.turn(wake=[0, 0])
    scene.turn(wake=[0])
    assert len(scene.sends) == 2


def test_keys_name_saga_node_and_side() -> None:
    """Rule 10: the key never changes over attempts; the sides of a node have different ones."""
    assert idempotency_key("s-1", "sub/a", Kind.ACTION) == "s-1/sub/a/action"
    assert idempotency_key("s-1", "sub/a", UNDO) == "s-1/sub/a/undo"


@given(GRAPHS, TEMPERS, SEEDS, STEPS)
def test_every_send_follows_its_entry(graph: Graph, temper: Temper, seed: int, steps: int) -> None:
    """Rules 2, 3 and 10: what left was in the log before, with its attempt and worker, each attempt once; and inputs
    are the same on every attempt of either side."""
    world = World(flatten_valid(graph), temper, PARAMS, seed=seed)
    world.rage(steps)
    seen = set()
    inputs: dict[str, object] = {}
    for send in world.sends:
        sent = send.invocation
        durable = world.log[: send.after]
        starts = [
            s.entry
            for s in durable
            if type(s.entry).__name__ == ("AttemptStarted" if sent.kind is Kind.ACTION else "UndoAttemptStarted")
        ]
        assert any((e.node, e.attempt, e.worker_id) == (sent.node, sent.attempt, sent.worker_id) for e in starts)  # type: ignore[union-attr]
        assert (sent.node, sent.kind, sent.attempt) not in seen
        seen.add((sent.node, sent.kind, sent.attempt))
        assert inputs.setdefault(sent.node, sent.inputs) == sent.inputs
