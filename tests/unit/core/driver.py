"""Drives one saga turn by turn, as a SEC does, and doubts everything it is told.

Every committed entry is folded into a second state and read by the auditor.
After every turn the two states are the same, whatever may start has started or
is known to wait, and the state that the turn began with has not been touched.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from sagaline_server.core import plain
from sagaline_server.core.apply import apply, by_reference
from sagaline_server.core.decide import (
    Cancel,
    Close,
    Decision,
    Input,
    Lost,
    NewOwner,
    Result,
    ResultFate,
    decide,
    look,
    may_start,
)
from sagaline_server.core.entries import Entry, Kind, OwnerChange, SagaCreated, SagaFinished, Stamped
from sagaline_server.core.gate import NO_POINTS, ActionPoint, ActionPoints, Verdict, gate
from sagaline_server.core.invocation import Invocation, invocation
from sagaline_server.core.state import Saga
from sagaline_server.core.timeouts import stop_at
from sagaline_server.core.topology import Topology
from sagaline_server.core.transitions import NodeStatus
from sagaline_server.core.turn import ENTRIES, Turn
from sagaline_server.core.values import NULL, Payload
from tests.unit.core.audit import Auditor, check_consistent, check_moves

DIGEST = b"\x5a" * 32
Attempt = tuple[str, Kind, int]
SLOTS = tuple(slot for slot in Saga.__struct_fields__ if slot not in ("topology", "woken"))


def snapshot(saga: Saga) -> dict[str, object]:
    """Return all that a state holds, but what its owner still has to look at."""
    values = {slot: getattr(saga, slot) for slot in SLOTS}
    return {slot: v.copy() if hasattr(v, "copy") else v for slot, v in values.items()}


def empty(topology: Topology, params: Payload = NULL) -> Saga:
    return Saga(topology, params, DIGEST)


def fold(topology: Topology, log: Iterable[Stamped], params: Payload = NULL) -> Saga:
    """Return the state that a log makes."""
    saga = empty(topology, params)
    for stamped in log:
        apply(saga, stamped)
    return saga


class Send(msgspec.Struct, frozen=True):
    """An invocation that left for a worker."""

    after: int
    """Number of durable entries at that moment."""
    invocation: Invocation


class Driver:
    """One saga and its owner."""

    def __init__(
        self,
        topology: Topology,
        params: Payload = NULL,
        *,
        paused: bool = False,
        log: Sequence[Stamped] = (),
        chance: random.Random | None = None,
    ) -> None:
        """Create a saga; with a log, adopt the saga that it tells of."""
        self.graph_topology = topology
        """As every saga of the graph begins: without the elements of its maps."""
        self.params = params
        self.chance = chance or random.Random(0)
        self.now = 1_000.0
        self.epoch = 1
        self.room = True
        """False: no worker has a slot."""
        self.reserved = 0
        """Slots reserved in this turn."""
        self.points = NO_POINTS
        """Breakpoints on actions."""
        self.log: list[Stamped] = []
        self.sends: list[Send] = []
        self.cancels: list[Cancel] = []
        self.timers: dict[int, float] = {}
        self.unplaced: dict[tuple[int, Kind], None] = {}
        self.auditor = Auditor(topology, gate=not log)
        self.shadow = empty(topology, params)
        for stamped in log:
            self._record(stamped)
            self.now = max(self.now, stamped.time)
            self.epoch = max(self.epoch, stamped.epoch)
        self.saga = fold(topology, log, params)
        if not log:
            turn = self.begin()
            turn.write(SagaCreated(DIGEST, paused))
            turn.go_on(self._place)
            self.finish(turn)

    @property
    def topology(self) -> Topology:
        """The topology as it stands: maps grow."""
        return self.saga.topology if hasattr(self, "saga") else self.graph_topology

    # ---- turns

    def turn(
        self,
        *inputs: Input,
        wake: Sequence[int] = (),
        place: Sequence[tuple[int, Kind]] = (),
    ) -> list[Decision]:
        """Give slots to nodes that wait for one, take inputs, and go on; all in one append."""
        before, woken = snapshot(self.saga), self.saga.woken[:]
        if len(inputs) == 1 and isinstance(inputs[0], Result) and not wake and not place:
            self._check_advance(inputs[0])
        turn = self.begin()
        for node, kind in place:
            self.unplaced.pop((node, kind), None)
            turn.place(node, kind, self.worker_for(node, kind))
        decisions = [self._taken(turn, given) for given in inputs]
        turn.saga.woken.extend(wake)
        offered, self.reserved = len(turn.starts), 0
        turn.go_on(self._place)
        assert len(turn.starts) - offered == self.reserved, "every slot that was reserved is used"
        assert snapshot(self.saga) == before, "a turn works on a copy"
        assert self.saga.woken == woken, "a turn works on a copy"
        self.finish(turn)
        return decisions

    def _taken(self, turn: Turn, given: Input) -> Decision:
        """Let a turn take an input; where it takes its plain course, as `decide` would have it."""
        entry = plain.ending(turn.saga, given) if isinstance(given, Result) else None
        if entry is not None:
            assert decide(turn.saga, given, self.now, 0.5) == Decision((entry,), fate=ResultFate.RECORDED)
        return turn.take(given)

    def _check_closing(self, turn: Turn) -> None:
        """Hold the plain end of a saga to what `decide` says of it before that end."""
        entries = (
            turn.entries[:-1] if turn.entries and isinstance(turn.entries[-1].entry, SagaFinished) else turn.entries
        )
        saga = fold(self.graph_topology, [*self.log, *entries], self.params)
        entry = plain.closing(saga)
        assert entry is None or decide(saga, Close(), self.now, 0.5) == Decision((entry,))

    def _check_advance(self, given: Result) -> None:
        """Let a turn take its plain course in one go, if it has one: it comes to what the steps come to."""

        def place(node: int, kind: Kind) -> str | None:
            return f"worker-{node}-{kind}" if (node + len(self.log)) % 3 else None

        plainly, by_steps = (Turn(self.saga, self.epoch, self.now, lambda: 0.5, points=self.points) for _ in range(2))
        if plainly.advance(given, place):
            by_steps.take(given)
            by_steps.go_on(place)
            for part in ("entries", "starts", "unplaced", "timers", "cancels", "crashes"):
                assert getattr(plainly, part) == getattr(by_steps, part), part
            assert plainly.saga == by_steps.saga
        else:
            assert snapshot(plainly.saga) == snapshot(self.saga), "it says that nothing has happened"

    def take(self, given: Input) -> Decision:
        """Take one input and go on."""
        return self.turn(given)[0]

    def set_points(self, points: Mapping[str, ActionPoint]) -> None:
        """Set the breakpoints on actions, and no others; the owner looks at what they held."""
        self.points = ActionPoints(points, self.now)
        self.turn(wake=[n for n in range(len(self.topology.nodes)) if self.saga.startable(n) is not None])

    def begin(self) -> Turn:
        self.current = Turn(self.saga, self.epoch, self.now, self.chance.random, points=self.points)
        return self.current

    def finish(self, turn: Turn) -> None:
        """Make a turn true: append, then send."""
        self._check_closing(turn)
        self.commit(turn)

    def commit(self, turn: Turn) -> None:
        for stamped in turn.entries:
            self._record(stamped)
        self.saga = turn.saga
        assert not self.saga.woken or len(turn.entries) >= ENTRIES, "a turn leaves nobody to look at"
        assert snapshot(self.saga) == snapshot(self.shadow), "the live state is the fold of the log"
        check_consistent(self.saga)
        self.timers.update(turn.timers)
        self.unplaced.update(dict.fromkeys(turn.unplaced))
        if not self.saga.woken:
            self._nothing_is_forgotten()
        self.cancels.extend(turn.cancels)
        for node, kind in turn.starts:
            sent = invocation(self.saga, node, kind)
            assert sent.attempt == self.saga.run(node, kind).attempt > 0
            self.sends.append(Send(len(self.log), sent))
            self.sent(sent)

    def sent(self, sent: Invocation) -> None:
        """Tell that an invocation leaves. For subclasses."""

    def _record(self, stamped: Stamped) -> None:
        statuses = self.shadow.statuses[:]
        outputs = dict(self.shadow.outputs)
        by_reference(self.shadow, stamped)
        check_moves(statuses, self.shadow.statuses)
        assert all(self.shadow.outputs[node] == output for node, output in outputs.items()), "immutable"
        self.auditor.read(stamped)
        self.log.append(stamped)

    def _nothing_is_forgotten(self) -> None:
        """Whatever may start has been started, or waits for a slot, a time or the gate."""
        for node, side, run in self.saga.in_flight():
            runs = self.saga.status(node) in (NodeStatus.RUNNING, NodeStatus.UNDOING)
            has_end = stop_at(self.saga, node, side, 0.0) is not None
            assert node in self.timers or not (runs and has_end), f"nobody watches {self.name(node)} {run.in_flight}"
        for node in range(len(self.topology.nodes)):
            if self.saga.is_waiting(node):
                ends = self.saga.wait_ends(node)
                assert node in self.timers or ends is None or ends <= self.now, f"{self.name(node)} waits for ever"
            kind = self.saga.startable(node)
            if kind is None or gate(self.saga, node, kind, self.points) is Verdict.HOLD:
                continue
            assert node in self.timers or (
                (node, kind) in self.unplaced and may_start(self.saga, node, kind, self.now, self.points)
            ), f"{self.name(node)} is forgotten"

    # ---- workers

    def worker_for(self, node: int, kind: Kind) -> str:
        return "worker-1"

    def _place(self, node: int, kind: Kind) -> str | None:
        self.check_start(node, kind)
        if not self.room:
            return None
        self.reserved += 1
        return self.worker_for(node, kind)

    def check_start(self, node: int, kind: Kind) -> None:
        """Check that what asks for a slot could start, and that there is nothing else to decide of it."""
        assert may_start(self.current.saga, node, kind, self.now, self.points)
        assert not look(self.current.saga, node, self.now, self.points).entries

    def place_all(self) -> None:
        """Every node that waits for a slot gets one."""
        self.turn(place=list(self.unplaced))

    def fire_next_timer(self) -> None:
        """Advance time to the next timer and look at its node."""
        node, due = min(self.timers.items(), key=lambda item: (item[1], item[0]))
        del self.timers[node]
        self.now = max(self.now, due)
        self.turn(wake=[node])

    # ---- owners

    def crash(self, known: Collection[Attempt] = ()) -> None:
        """The owner dies, and another adopts the saga from its log; workers know these attempts, and no others."""
        self.saga = fold(self.graph_topology, self.log, self.params)
        self.timers.clear()
        self.unplaced.clear()
        self.epoch += 1
        inputs: list[Input] = [NewOwner("sec-2", self.epoch, OwnerChange.ADOPTED, "sec-1")]
        inputs += [
            self.lost(node, kind, attempt, uncounted=True)
            for node, kind, attempt, _ in self.saga.outstanding()
            if (self.name(node), kind, attempt) not in known
        ]
        self.turn(*inputs)

    def lost(self, node: int, kind: Kind, attempt: int = 0, *, uncounted: bool = False) -> Lost:
        number = attempt or self.saga.run(node, kind).in_flight
        return Lost(self.name(node), kind, number, "the worker is gone", uncounted)

    # ---- reading

    def name(self, node: int) -> str:
        return self.topology.nodes[node].name

    def status(self, name: str) -> NodeStatus:
        return self.saga.status(self.topology.index[name])

    def statuses(self) -> dict[str, NodeStatus]:
        return {self.name(i): self.saga.status(i) for i in range(len(self.topology.nodes))}

    def entries(self) -> list[Entry]:
        return [stamped.entry for stamped in self.log]
