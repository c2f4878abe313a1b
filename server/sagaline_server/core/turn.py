"""A turn: everything that happens to one saga between two appends.

Works on a copy of the state. Inputs are decided and applied one after the
other, then every node that may go on does, until nothing more follows. The
entries then go into one append, so that `[succeeded(a), started(b)]` is one
atomic write. When it is durable the copy becomes the state and the turn's
sends may leave; when it is fenced, copy and sends are thrown away.
"""

from __future__ import annotations

from collections.abc import Callable

from sagaline_server.core.apply import apply
from sagaline_server.core.decide import Cancel, Close, Decision, Input, decide, look, placed
from sagaline_server.core.entries import Entry, Kind, Stamped
from sagaline_server.core.gate import Verdict, gate
from sagaline_server.core.state import Saga

Place = Callable[[int, Kind], str | None]
"""Reserve a slot for one side of a node: the worker's id, or None when no worker has room."""


class Turn:
    """One turn of one saga."""

    __slots__ = ("_draw", "_epoch", "_now", "cancels", "entries", "saga", "starts", "timers", "unplaced")

    def __init__(self, saga: Saga, epoch: int, now: float, draw: Callable[[], float]) -> None:
        """Begin a turn.

        Args:
            saga: State as of the last durable entry; it is not changed.
            epoch: Of the ownership.
            now: Seconds since 1970; the time of every entry of the turn.
            draw: Gives random numbers in [0, 1).
        """
        self.saga = saga.copy()
        self._epoch = epoch
        self._now = now
        self._draw = draw
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

    def take(self, given: Input) -> Decision:
        """Decide an input and apply its entries."""
        return self._carry_out(decide(self.saga, given, self._now, self._draw()))

    def _carry_out(self, decision: Decision) -> Decision:
        for entry in decision.entries:
            self.write(entry)
        if decision.cancels:
            self.cancels.extend(decision.cancels)
        return decision

    def go_on(self, place: Place, *, may_close: bool = True) -> None:
        """Let every node go on that may, until nothing more follows.

        Args:
            place: Finds workers.
            may_close: False keeps the saga open even if nothing is left to do, for the append that creates it.
        """
        saga = self.saga
        while saga.woken:
            woken, saga.woken = dict.fromkeys(saga.woken), []
            for node in woken:
                self._go_on_with(node, place)
        if may_close and not saga.remaining:
            self.take(Close())

    def _go_on_with(self, node: int, place: Place) -> None:
        saga = self.saga
        kind = saga.startable(node)
        if kind is None or self._carry_out(look(saga, node, self._now)).entries:
            return
        due = saga.run(node, kind).due
        if due > self._now:
            self.timers.append((node, due))
        elif gate(saga, node, kind) is Verdict.GO:
            self._start(node, kind, place)

    def _start(self, node: int, kind: Kind, place: Place) -> None:
        worker_id = place(node, kind)
        if worker_id is None:
            self.unplaced.append((node, kind))
        else:
            self._started(node, kind, worker_id)

    def place(self, node: int, kind: Kind, worker_id: str) -> bool:
        """Start one side of a node on a worker that has a slot for it; False when it may not start any more.

        It has waited for the slot, perhaps beyond the time that its policy allows. Let the saga `go_on` afterwards.
        """
        return not self._carry_out(look(self.saga, node, self._now)).entries and self._started(node, kind, worker_id)

    def _started(self, node: int, kind: Kind, worker_id: str) -> bool:
        if not self._carry_out(placed(self.saga, node, kind, worker_id, self._now)).entries:
            return False
        self.starts.append((node, kind))
        return True
