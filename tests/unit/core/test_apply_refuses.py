"""`apply` refuses what no SEC writes, and changes nothing then (rule 9)."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import msgspec
import pytest
from hypothesis import given, settings

from sagaline_server.core.apply import IllegalEntry, apply
from sagaline_server.core.entries import (
    AttemptEnded,
    AttemptStarted,
    Entry,
    GateChanged,
    NodeFailed,
    NodeHeld,
    NodeSucceeded,
    NodeUndone,
    OperatorResolved,
    Outcome,
    OwnerChange,
    OwnerChanged,
    Resolution,
    SagaCreated,
    SagaFinished,
    SagaState,
    Stamped,
    UndoAttemptEnded,
    UndoAttemptStarted,
    UndoFailed,
    UndoneHow,
    UnwindCause,
    UnwindRequested,
)
from sagaline_server.core.graph import Graph
from sagaline_server.core.state import Saga
from sagaline_server.core.topology import Topology
from sagaline_server.core.values import NULL, Failure
from tests.unit.core.audit import Auditor, RuleBroken, check_consistent
from tests.unit.core.driver import DIGEST, empty, snapshot
from tests.unit.core.effects import Effects
from tests.unit.core.graphs import action, chain, constant, flat, flatten_valid
from tests.unit.core.scene import Scene
from tests.unit.core.strategies import GRAPHS, PARAMS, SEEDS, STEPS, TEMPERS
from tests.unit.core.world import Temper, World

MUTATIONS = 30
"""Of each log."""

Log = list[Stamped]


# ---- mutants of legal logs


def drop(log: Log, chance: random.Random) -> None:
    del log[chance.randrange(len(log))]


def duplicate(log: Log, chance: random.Random) -> None:
    log.insert(chance.randrange(len(log) + 1), chance.choice(log))


def swap(log: Log, chance: random.Random) -> None:
    i, j = chance.randrange(len(log)), chance.randrange(len(log))
    log[i], log[j] = log[j], log[i]


def move(log: Log, chance: random.Random) -> None:
    log.insert(chance.randrange(len(log)), log.pop(chance.randrange(len(log))))


def alter(log: Log, chance: random.Random) -> None:
    i = chance.randrange(len(log))
    log[i] = msgspec.structs.replace(log[i], entry=altered(log[i].entry, log, chance))


def replace(log: Log, chance: random.Random) -> None:
    i = chance.randrange(len(log))
    names = [s.entry.node for s in log if isinstance(s.entry, AttemptStarted)] or ["n0"]
    log[i] = msgspec.structs.replace(log[i], entry=any_entry(chance.choice(names), chance))


def altered(entry: Entry, log: Log, chance: random.Random) -> Entry:
    """Change one field of an entry to another value of its type."""
    field = chance.choice([f.name for f in msgspec.structs.fields(entry)])
    value = getattr(entry, field)
    others = [getattr(s.entry, field) for s in log if hasattr(s.entry, field)]
    new: object = value
    match value:
        case bool():
            new = not value
        case Outcome() | Resolution() | UndoneHow() | SagaState() | UnwindCause() | OwnerChange():
            new = chance.choice(list(type(value)))
        case int():
            new = value + chance.choice((-1, 1, 2))
        case float():
            new = value + 1.0
        case bytes():
            new = value + b"!"
        case str():
            new = chance.choice([*map(str, others), "nobody"])
        case None:
            new = chance.choice(others)
    return msgspec.structs.replace(entry, **{field: new})


def any_entry(node: str, chance: random.Random) -> Entry:
    """Return an entry of any kind about a node, with any values."""
    attempt, failure = chance.randint(-1, 3), Failure("test.Trouble")
    flags = [chance.random() < 0.5 for _ in range(3)]
    return chance.choice(
        (
            SagaCreated(DIGEST),
            AttemptStarted(node, attempt, "w"),
            AttemptEnded(
                node,
                attempt,
                chance.choice(list(Outcome)),
                failure,
                1.0,
                flags[0],
                flags[1],
                flags[2],
                overdue=chance.random() < 0.2,
            ),
            NodeSucceeded(node, attempt, NULL),
            NodeFailed(node, attempt, failure, flags[0]),
            NodeHeld(node, attempt, failure),
            UnwindRequested(UnwindCause.REQUESTED),
            UndoAttemptStarted(node, attempt, "w"),
            UndoAttemptEnded(node, attempt, chance.choice(list(Outcome)), failure, 1.0, flags[0]),
            NodeUndone(node, attempt, chance.choice(list(UndoneHow))),
            UndoFailed(node, attempt, failure),
            GateChanged(flags[0]),
            OwnerChanged("sec", 1, OwnerChange.ADOPTED),
            OperatorResolved(node, chance.choice(list(Resolution)), "me", "so", NULL if flags[0] else None),
            SagaFinished(chance.choice(list(SagaState))),
        )
    )


MUTATORS: Sequence[Callable[[Log, random.Random], None]] = (drop, duplicate, swap, move, alter, alter, replace)


def renumbered(log: Log) -> Log:
    return [msgspec.structs.replace(stamped, seq=seq) for seq, stamped in enumerate(log, start=1)]


def fold_while_legal(topology: Topology, log: Log) -> bool:
    """Fold; stop at the first entry that is refused, and see that it changed nothing."""
    saga = empty(topology, PARAMS)
    for stamped in log:
        refused = try_to_apply(saga, stamped)
        if refused is not None:
            assert (refused.seq, refused.entry) == (stamped.seq, stamped.entry)
            assert f"entry {stamped.seq}, {type(stamped.entry).__name__}: " in str(refused)
            return False
    return True


def try_to_apply(saga: Saga, stamped: Stamped) -> IllegalEntry | None:
    before, woken = snapshot(saga), saga.woken[:]
    refused = None
    try:
        apply(saga, stamped)
    except IllegalEntry as error:
        refused = error
    if refused is None:
        check_consistent(saga)
    else:
        assert snapshot(saga) == before
        assert saga.woken == woken
    return refused


def is_legal(topology: Topology, log: Log) -> bool:
    auditor = Auditor(topology, gate=False)
    try:
        for stamped in log:
            auditor.read(stamped)
    except (RuleBroken, KeyError):
        return False
    return True


@given(GRAPHS, TEMPERS, SEEDS, STEPS)
@settings(max_examples=max(settings().max_examples // 2, 1))
def test_mutated_logs_are_refused_or_legal(graph: Graph, temper: Temper, seed: int, steps: int) -> None:
    """Rule 9: a log with an entry lost, doubled, moved or altered is refused with the entry named and the state as
    before it, or it is a log that the rules allow, and then it resumes."""
    world = World(flatten_valid(graph), temper, PARAMS, seed=seed)
    world.rage(steps)
    chance = random.Random(seed)
    for _ in range(MUTATIONS):
        mutant = list(world.log)
        for _ in range(chance.choice((1, 1, 2))):
            if mutant:
                chance.choice(MUTATORS)(mutant, chance)
        mutant = renumbered(mutant)
        if mutant and fold_while_legal(world.graph_topology, mutant):
            assert is_legal(world.graph_topology, mutant), mutant
            heir = World(world.graph_topology, params=PARAMS, log=mutant, effects=Effects.told_by(mutant), seed=seed)
            heir.calm(operator=True)
            assert heir.saga.finished is not None


@given(GRAPHS, TEMPERS, SEEDS, STEPS)
def test_any_entry_on_any_state_is_applied_or_refused(graph: Graph, temper: Temper, seed: int, steps: int) -> None:
    """Rule 9: `apply` raises IllegalEntry or nothing, and what it refuses changes nothing."""
    world = World(flatten_valid(graph), temper, PARAMS, seed=seed)
    world.rage(steps)
    chance = random.Random(seed)
    names = [*[node.name for node in world.graph_topology.nodes], "nobody", ""]
    for _ in range(100):
        stamped = Stamped(world.saga.seq + 1, 1, world.now, any_entry(chance.choice(names), chance))
        try_to_apply(world.saga.copy(), stamped)


# ---- by hand


def started() -> Scene:
    return Scene(flat(constant("k"), action("a"), action("b", "a")))


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        (SagaCreated(DIGEST), "has one"),
        (AttemptStarted("nobody", 1, "w"), "no node"),
        (AttemptStarted("k", 1, "w"), "no kind that a worker runs"),
        (AttemptStarted("a", 2, "w"), "RUNNING"),
        (AttemptStarted("b", 1, "w"), "a parent has not succeeded"),
        (AttemptEnded("a", 2, Outcome.UNKNOWN), "never started"),
        (AttemptEnded("a", 1, Outcome.UNKNOWN, answered_late=True), "late are the answers"),
        (AttemptEnded("a", 1, Outcome.SUCCEEDED), "definite"),
        (AttemptEnded("b", 1, Outcome.UNKNOWN), "never started"),
        (NodeSucceeded("a", 0, NULL), "never started"),
        (NodeSucceeded("b", 1, NULL), "PENDING"),
        (NodeFailed("a", 0, Failure("x")), "without an attempt"),
        (NodeFailed("b", 0, Failure("x")), "without an attempt"),
        (NodeFailed("b", 0, Failure("x"), effect_unknown=True), "PENDING"),
        (UndoAttemptStarted("a", 1, "w"), "RUNNING"),
        (UndoAttemptEnded("a", 1, Outcome.UNKNOWN), "not in flight"),
        (NodeUndone("a", 1, UndoneHow.ACTION), "RUNNING"),
        (UndoFailed("a", 1, Failure("x")), "RUNNING"),
        (OperatorResolved("a", Resolution.RETRY, "me", "so"), "RUNNING"),
        (OperatorResolved("a", Resolution.RETRY, "me", "so", expected_log_length=1), "saw 1 entries"),
        (SagaFinished(SagaState.SUCCEEDED), "2 nodes"),
        (SagaFinished(SagaState.UNWOUND), "only end as SUCCEEDED"),
        (SagaFinished(SagaState.STUCK), "only end as SUCCEEDED"),
    ],
)
def test_entries_that_may_not_come_now(entry: Entry, why: str) -> None:
    """Rule 9: the error names the entry and says what is wrong with it; nothing has changed."""
    scene = started()
    before = snapshot(scene.saga)
    with pytest.raises(IllegalEntry, match=why):
        apply(scene.saga, Stamped(scene.saga.seq + 1, 1, 0.0, entry))
    assert snapshot(scene.saga) == before


@pytest.mark.parametrize("seq", [0, 1, 2, 4, 5])
def test_gaps_and_repeats_are_refused(seq: int) -> None:
    """Sequence numbers are gapless; a log that lost rows is found out."""
    scene = started()
    assert scene.saga.seq == 2
    with pytest.raises(IllegalEntry, match="goes on with entry 3"):
        apply(scene.saga, Stamped(seq, 1, 0.0, GateChanged(True)))


def test_a_log_begins_with_its_creation() -> None:
    """Rule 9: nothing comes before saga_created."""
    with pytest.raises(IllegalEntry, match="begins with saga_created"):
        apply(empty(chain("a")), Stamped(1, 1, 0.0, GateChanged(True)))


def test_a_log_belongs_to_its_record() -> None:
    """The digest in the log ties it to what the client asked for."""
    with pytest.raises(IllegalEntry, match="digests differ"):
        apply(empty(chain("a")), Stamped(1, 1, 0.0, SagaCreated(b"other")))


@pytest.mark.parametrize(
    "entry",
    [GateChanged(True), SagaFinished(SagaState.SUCCEEDED), UnwindRequested(UnwindCause.REQUESTED)],
)
def test_nothing_follows_the_end(entry: Entry) -> None:
    """A saga ends once, and its end absorbs."""
    scene = Scene(chain("a"))
    scene.succeed("a")
    assert scene.saga.finished is SagaState.SUCCEEDED
    with pytest.raises(IllegalEntry, match="has ended"):
        apply(scene.saga, Stamped(scene.saga.seq + 1, 1, 0.0, entry))


def test_undo_before_the_children_is_refused() -> None:
    """Rule 7 holds for logs as it does for decisions."""
    scene = Scene(chain("a", "b", "c"))
    scene.succeed("a", "b")
    scene.fail("c")
    for entry in (UndoAttemptStarted("a", 1, "w"), NodeUndone("a", 0, UndoneHow.NOOP)):
        with pytest.raises(IllegalEntry):
            apply(scene.saga, Stamped(scene.saga.seq + 1, 1, 0.0, entry))


def test_an_attempt_that_was_given_up_can_not_be_rejected_later() -> None:
    """Rule 4: it may have had an effect since, so nobody can say that it never started."""
    scene = Scene(chain("a"))
    scene.lose("a")
    late = AttemptEnded("a", 1, Outcome.REJECTED, answered_late=True)
    with pytest.raises(IllegalEntry, match="can't be rejected any more"):
        apply(scene.saga, Stamped(scene.saga.seq + 1, 1, 0.0, late))


def test_a_definite_failure_with_an_unanswered_attempt_is_refused() -> None:
    """Rule 4 holds for logs as it does for decisions."""
    scene = Scene(chain("a"))
    scene.lose("a")
    scene.wait()
    with pytest.raises(IllegalEntry, match="not definite"):
        apply(scene.saga, Stamped(scene.saga.seq + 1, 1, 0.0, NodeFailed("a", 2, Failure("x"))))
