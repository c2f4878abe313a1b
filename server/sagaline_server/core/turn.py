"""A turn: everything that happens to one saga between two appends.

Works on a copy of the state. Inputs are decided and applied one after the
other, then every node that may go on does, until nothing more follows. The
entries then go into one append, so that `[succeeded(a), started(b)]` is one
atomic write. When it is durable the copy becomes the state and the turn's
sends may leave; when it is fenced, copy and sends are thrown away.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from sagaline_server.core import faults, plain
from sagaline_server.core.apply import apply
from sagaline_server.core.decide import (
    Cancel,
    Close,
    Decision,
    Input,
    Result,
    ResultFate,
    decide,
    look,
    may_start,
    overdue,
    placed,
)
from sagaline_server.core.entries import (
    AttemptEnded,
    Entry,
    Kind,
    NodeFailed,
    NodeHeld,
    Outcome,
    Stamped,
    UndoAttemptEnded,
    UndoFailed,
)
from sagaline_server.core.gate import NO_POINTS, ActionPoints, Verdict, gate
from sagaline_server.core.state import Saga
from sagaline_server.core.timeouts import GRACE_SECONDS, start_by, stop_at
from sagaline_server.core.values import Payload

ENTRIES = 512
"""Entries after which a turn lets nothing more go on, so that they fit into one append: the next turn does. Those with
a failure count as many."""
FAILURE_ENTRIES = 32

Place = Callable[[int, Kind], str | None]
"""Reserve a slot for one side of a node: the worker's id, or None when no worker has room."""


RECORDED = Decision(fate=ResultFate.RECORDED)
"""What became of a result on its plain course."""


class Pulse(msgspec.Struct, frozen=True):
    """What a worker last told of an attempt that it runs."""

    attempt: int
    time: float
    """Seconds since 1970."""
    details: Payload | None = None


Feel = Callable[[int, Kind], Pulse | None]
"""What was last heard of one side of a node; None: nothing."""


_WITH_FAILURE = (AttemptEnded, UndoAttemptEnded, NodeFailed, NodeHeld, UndoFailed)


def _nothing_heard(_node: int, _kind: Kind) -> Pulse | None:
    return None


class Turn:
    """One turn of one saga."""

    __slots__ = (
        "_draw",
        "_epoch",
        "_feel",
        "_now",
        "_room",
        "cancels",
        "crashes",
        "entries",
        "points",
        "saga",
        "starts",
        "timers",
        "unplaced",
    )

    def __init__(
        self,
        saga: Saga,
        epoch: int,
        now: float,
        draw: Callable[[], float],
        feel: Feel = _nothing_heard,
        points: ActionPoints = NO_POINTS,
    ) -> None:
        """Begin a turn.

        Args:
            saga: State as of the last durable entry; it is not changed.
            epoch: Of the ownership.
            now: Seconds since 1970; the time of every entry of the turn.
            draw: Gives random numbers in [0, 1).
            feel: Tells of progress.
            points: The breakpoints on actions.
        """
        self.saga = saga.copy()
        self._epoch = epoch
        self._now = now
        self._draw = draw
        self.crashes = False
        """True: an injected fault. The SEC dies once the entries are durable."""
        self._feel = feel
        self.points = points
        self._room = ENTRIES
        self.entries: list[Stamped] = []
        self.starts: list[tuple[int, Kind]] = []
        """Attempts to send once the entries are durable. `Saga.run` has their number and worker."""
        self.cancels: list[Cancel] = []
        self.timers: list[tuple[int, float]] = []
        """Nodes to look at again at a time, in seconds since 1970."""
        self.unplaced: list[tuple[int, Kind]] = []
        """Nodes that could start now, if a worker had room."""

    def write(self, entry: Entry) -> None:
        """Add an entry and apply it."""
        stamped = Stamped(self.saga.seq + 1, self._epoch, self._now, entry)
        apply(self.saga, stamped)
        self.entries.append(stamped)

    def _stamp(self, entry: Entry) -> None:
        """Add an entry whose effects the saga has already."""
        saga, now = self.saga, self._now
        saga.seq = seq = saga.seq + 1
        saga.updated = now
        self.entries.append(Stamped(seq, self._epoch, now, entry))

    def take(self, given: Input) -> Decision:
        """Decide an input and apply its entries."""
        if type(given) is Result:
            entry = plain.ending(self.saga, given)
            if entry is not None:
                self.write(entry)
                return RECORDED
        return self._carry_out(decide(self.saga, given, self._now, self._draw(), self.points))

    def advance(self, given: Result, place: Place) -> bool:
        """Take a result and go on, as `take` and `go_on` would, where all of it takes its plain course.

        Returns:
            False: nothing has happened; do those.
        """
        saga = self.saga
        if saga.woken or self.points.by_action:
            return False
        entry = plain.ended(saga, given)
        if entry is None:
            return False
        self._stamp(entry)
        woken = saga.woken
        if len(woken) == 1 and self._go_on_plainly(woken[0], place):
            woken.clear()
        if woken or not saga.remaining:
            self.go_on(place)
        return True

    def _carry_out(self, decision: Decision) -> Decision:
        for entry in decision.entries:
            self.write(self._with_progress(entry))
            self._room -= FAILURE_ENTRIES if isinstance(entry, _WITH_FAILURE) else 1
        self.crashes |= decision.crashes
        if decision.cancels:
            self.cancels.extend(decision.cancels)
        return decision

    def _with_progress(self, entry: Entry) -> Entry:
        """Keep what an attempt that has not succeeded told last, for the one after it."""
        if not isinstance(entry, AttemptEnded | UndoAttemptEnded) or entry.outcome is not Outcome.UNKNOWN:
            return entry
        kind = Kind.ACTION if isinstance(entry, AttemptEnded) else Kind.UNDO
        pulse = self._feel(self.saga.topology.index[entry.node], kind)
        if pulse is None or pulse.attempt != entry.attempt or pulse.details is None:
            return entry
        return msgspec.structs.replace(entry, last_progress=pulse.details)

    def go_on(self, place: Place, *, may_close: bool = True) -> None:
        """Let every node go on that may, until nothing more follows, or as much as one append has room for.

        What is left is in `Saga.woken`, for another turn.

        Args:
            place: Finds workers.
            may_close: False keeps the saga open even if nothing is left to do, for the append that creates it.
        """
        saga = self.saga
        self._room = ENTRIES
        while saga.woken and self._room > 0:
            woken, saga.woken = list(dict.fromkeys(saga.woken)), []
            for i, node in enumerate(woken):
                if self._room <= 0:
                    saga.woken.extend(woken[i:])
                    break
                self._go_on_with(node, place)
        if may_close and not saga.remaining:
            end = plain.closing(saga)
            if end is not None:
                self.write(end)
            else:
                self.take(Close())

    def _go_on_with(self, node: int, place: Place) -> None:
        saga = self.saga
        if not self.points.by_action and self._go_on_plainly(node, place):
            return
        if saga.is_waiting(node):
            self._wait(node)
            return
        kind = saga.startable(node)
        if kind is None:
            self._watch_attempts(node)
            return
        if self._carry_out(look(saga, node, self._now, self.points)).entries:
            return
        due = saga.due(node, kind)
        if due > self._now:
            self.timers.append((node, due))
        elif gate(saga, node, kind, self.points) is Verdict.GO:
            self._start(node, kind, place)

    def _go_on_plainly(self, node: int, place: Place) -> bool:
        """Start a node's first attempt, or note that no worker has room, where nothing else can come of it."""
        if plain.may_start(self.saga, node, self._now):
            kind = Kind.ACTION
        elif plain.may_undo(self.saga, node, self._now):
            kind = Kind.UNDO
        else:
            return False
        worker_id = place(node, kind)
        if worker_id is None:
            self.unplaced.append((node, kind))
            return True
        self._stamp(plain.started(self.saga, node, kind, worker_id, self._now))
        self.starts.append((node, kind))
        self._room -= 1
        return True

    def _wait(self, node: int) -> None:
        """Let a node go on whose time has come, or note when that will be."""
        if self._carry_out(look(self.saga, node, self._now, self.points)).entries:
            return
        ends = self.saga.wait_ends(node)
        if ends is not None and ends > self._now:
            self.timers.append((node, ends))

    def _struck(self, node: int, kind: Kind) -> bool:
        """Let an injected fault take the place of an attempt that may start; False: there is none."""
        fault = faults.at_start(self.saga, node, kind)
        if fault is None:
            return False
        self._carry_out(fault[0])
        self.take(fault[1])
        return True

    def _start(self, node: int, kind: Kind, place: Place) -> None:
        if self.saga.faults and self._struck(node, kind):
            return
        worker_id = place(node, kind)
        if worker_id is not None:
            self._started(node, kind, worker_id)
            return
        self.unplaced.append((node, kind))
        limit = start_by(self.saga, node, kind, self.points)
        if limit is not None and limit > self._now:
            self.timers.append((node, limit))

    def _watch_attempts(self, node: int) -> None:
        """Stop or give up an attempt in flight whose time is over, or note when to look at it again."""
        for kind in Kind:
            if self.saga.run(node, kind).in_flight and not self._carry_out(self._overdue(node, kind)).entries:
                self._note_end(node, kind)

    def _overdue(self, node: int, kind: Kind) -> Decision:
        return overdue(self.saga, node, kind, self._now, self._draw(), self._heard(node, kind))

    def _heard(self, node: int, kind: Kind) -> float:
        pulse = self._feel(node, kind)
        return 0.0 if pulse is None else pulse.time

    def _note_end(self, node: int, kind: Kind) -> None:
        stop = stop_at(self.saga, node, kind, self._heard(node, kind))
        if stop is not None:
            due = stop if stop > self._now else stop + GRACE_SECONDS
            if due > self._now:
                self.timers.append((node, due))

    def place(self, node: int, kind: Kind, worker_id: str) -> bool:
        """Start one side of a node on a worker that has a slot for it; False when it may not start any more.

        It has waited for the slot, perhaps beyond the time that its policy allows. Let the saga `go_on` afterwards.
        """
        if self._carry_out(look(self.saga, node, self._now, self.points)).entries:
            return False
        if self.saga.faults and may_start(self.saga, node, kind, self._now, self.points) and self._struck(node, kind):
            return False
        return self._started(node, kind, worker_id)

    def _started(self, node: int, kind: Kind, worker_id: str) -> bool:
        if not self._carry_out(placed(self.saga, node, kind, worker_id, self._now, self.points)).entries:
            return False
        self.starts.append((node, kind))
        self._note_end(node, kind)
        return True
