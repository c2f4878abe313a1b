"""The state of one saga: what `apply` has made of its log so far.

Plain data with no behaviour but reading and copying. A copy shares everything
immutable, so that a turn can work on a copy and throw it away if its append
fails.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec

from sagaline_server.core.entries import Breakpoint, FaultKind, Kind, SagaState
from sagaline_server.core.topology import Source, Topology
from sagaline_server.core.transitions import SETTLED, STATUSES, WITHOUT_EFFECT, NodeStatus
from sagaline_server.core.values import NULL, Failure, Payload, SelectionError, index_of, select


class Run(msgspec.Struct, frozen=True, gc=False):
    """The attempts of one side of a node."""

    attempt: int = 0
    """Number of the last attempt."""
    in_flight: int = 0
    """Attempt that is with a worker; 0: none."""
    worker_id: str = ""
    """Worker of the last attempt."""
    counted: int = 0
    """Attempts that count against the policy, since the start or an operator's order."""
    sent: int = 0
    """Attempts that were not rejected: they may have had an effect."""
    unanswered: tuple[int, ...] = ()
    """Attempts given up without an answer, which may still come."""
    lingering: tuple[tuple[int, str], ...] = ()
    """Those of `unanswered` whose time was over and whose worker is still heard from, with that worker: they may be
    running. No undo starts beside them. Of actions alone."""
    overlapped: bool = False
    """True: an earlier attempt ended, its effect unknown, after the last one had started. A failure of the last one
    says nothing of it."""
    first_start: float = 0.0
    """When the first attempt started. Seconds since 1970."""
    started: float = 0.0
    """When the last attempt started. Seconds since 1970."""
    due: float = 0.0
    """When the next attempt may start. Seconds since 1970."""
    rejections: int = 0
    """Rejections in a row."""
    failure: Failure | None = None
    """Last failure."""
    progress: Payload | None = None
    """Last progress of an earlier attempt."""


NO_RUN = Run()


class Ready(msgspec.Struct, frozen=True):
    """Since when a node could start."""

    kind: Kind
    attempt: int
    since: float
    """Seconds since 1970."""


_UNDO_FAILED, _HELD = int(NodeStatus.UNDO_FAILED), int(NodeStatus.HELD)


class MapRun(msgspec.Struct, frozen=True):
    """How far the elements of a map have come."""

    admitted: int = 0
    """Elements that may run or have: the first so many."""
    ended: int = 0
    """Those of them that have succeeded, or failed and are undone."""
    canaries: int = 0
    """Of the first ones, which must succeed before the rest may run: those that have not."""
    failures: int = 0


_EMPTY: Any = MappingProxyType({})
"""In place of a dictionary that most sagas never need: whoever needs one puts his own there."""


class Saga(msgspec.Struct):
    """One saga. Changed by `apply` alone."""

    topology: Topology
    params: Payload
    digest: bytes
    seq: int = 0
    """Number of entries applied."""
    created: float = 0.0
    """Time of the first entry."""
    updated: float = 0.0
    """Time of the last entry."""
    statuses: bytearray = msgspec.field(default_factory=bytearray)
    waiting: list[int] = msgspec.field(default_factory=list)
    """Forward: parents that have not succeeded. Unwinding: children that are not settled."""
    remaining: int = 0
    """Forward: nodes that have not succeeded. Unwinding: nodes that are not settled."""
    outputs: dict[int, Payload] = msgspec.field(default_factory=dict)
    runs: dict[int, Run] = msgspec.field(default_factory=dict)
    undo_runs: dict[int, Run] = msgspec.field(default_factory=dict)
    unwinding: bool = False
    paused: bool = False
    steps: int = 0
    """Starts that the gate lets pass although it holds them."""
    breakpoints: tuple[Breakpoint, ...] = ()
    quarantined: str | None = None
    """Set: an operator has set the saga aside, for this reason."""
    faults: dict[tuple[int, FaultKind], int] = _EMPTY
    """Injected faults that are left. Replaced, never changed."""
    gate_changed: float = 0.0
    """When the gate last changed. Seconds since 1970."""
    ready: dict[int, Ready] = msgspec.field(default_factory=dict)
    """Of nodes that may wait for a worker for a limited time only: since when they could start."""
    starts: float = 0.0
    """Before this no node starts. Seconds since 1970."""
    waits: dict[int, float] = msgspec.field(default_factory=dict)
    """Delay and signal nodes whose parents have succeeded: since when. Seconds since 1970."""
    signals: tuple[tuple[str, Payload], ...] = ()
    """Signals that no node waits for yet, in the order of their arrival."""
    signal_ids: frozenset[str] = frozenset()
    """Idempotency keys of the signals that have arrived."""
    finished: SagaState | None = None
    failure: Failure | None = None
    """Why it unwinds."""
    failed_node: int | None = None
    """Node that failed first."""
    maps: dict[int, MapRun] = _EMPTY
    """Map nodes that have grown."""
    items: Mapping[int, tuple[Payload, ...]] = _EMPTY
    """The elements of their lists. Replaced, never changed: copies share it, and the other mapping below."""
    fallen: Mapping[int, Failure] = _EMPTY
    """Elements that failed without failing their map, and why: each unwinds by itself."""
    falling: dict[int, int] = _EMPTY
    """Those of them that still do, with the number of their nodes that are not settled."""
    retreating: frozenset[int] = frozenset()
    """Nodes of all elements that have fallen."""
    woken: list[int] = msgspec.field(default_factory=list)
    """Nodes that may have become startable; drained by whoever starts nodes. Looking twice does no harm."""

    def __post_init__(self) -> None:
        """Begin where no node has run."""
        topology = self.topology
        self.statuses = bytearray(topology.pending)
        self.waiting = list(topology.parent_counts)
        self.remaining = len(topology.nodes)

    def copy(self) -> Saga:
        """Return a copy that `apply` can change without changing this one."""
        # Every turn makes one: the struct's own copy shares everything, and what can change inside is copied here.
        new: Saga = self.__copy__()  # type: ignore[attr-defined]  # `copy` would look it up
        new.statuses = self.statuses[:]
        new.waiting = self.waiting[:]
        new.outputs = self.outputs.copy()
        new.runs = self.runs.copy()
        # Most are empty nearly always.
        new.undo_runs = self.undo_runs.copy() if self.undo_runs else {}
        new.ready = self.ready.copy() if self.ready else {}
        new.waits = self.waits.copy() if self.waits else {}
        if self.maps:
            new.maps = self.maps.copy()
            new.falling = self.falling.copy()
        new.woken = self.woken[:]
        return new

    @property
    def state(self) -> SagaState:
        """Where the saga stands."""
        if self.finished is not None:
            return self.finished
        if self.quarantined is not None:
            return SagaState.QUARANTINED
        if (self.unwinding or self.fallen) and NodeStatus.UNDO_FAILED in self.statuses:
            return SagaState.STUCK
        return SagaState.UNWINDING if self.unwinding else SagaState.RUNNING

    @property
    def is_set_aside(self) -> bool:
        """True while an operator keeps the saga from starting anything."""
        return self.quarantined is not None and self.finished is None

    @property
    def needs_operator(self) -> bool:
        """True while a node waits for an operator."""
        statuses = self.statuses
        return _UNDO_FAILED in statuses or _HELD in statuses or (self.quarantined is not None and self.finished is None)

    @property
    def has_started(self) -> bool:
        """True once an attempt of the saga has started."""
        return bool(self.runs or self.undo_runs)

    def status(self, node: int) -> NodeStatus:
        """Return the status of a node."""
        return STATUSES[self.statuses[node]]

    def run(self, node: int, kind: Kind) -> Run:
        """Return the attempts of one side of a node."""
        return (self.runs if kind is Kind.ACTION else self.undo_runs).get(node, NO_RUN)

    def in_flight(self) -> Iterator[tuple[int, Kind, Run]]:
        """Yield every side of a node that has an attempt with a worker."""
        for node, run in self.runs.items():
            if run.in_flight:
                yield node, Kind.ACTION, run
        for node, run in self.undo_runs.items():
            if run.in_flight:
                yield node, Kind.UNDO, run

    def outstanding(self) -> Iterator[tuple[int, Kind, int, str]]:
        """Yield every attempt that a worker may be running, as far as is known: node, side, attempt, worker."""
        for kind, runs in ((Kind.ACTION, self.runs), (Kind.UNDO, self.undo_runs)):
            for node, run in runs.items():
                if run.in_flight:
                    yield node, kind, run.in_flight, run.worker_id
                for attempt, worker_id in run.lingering:
                    yield node, kind, attempt, worker_id

    def unwinds(self, node: int) -> bool:
        """True when what was done at a node is being undone: the saga unwinds, or the element that it is of."""
        return self.unwinding or node in self.retreating

    def is_committed(self, failing: int | None = None) -> bool:
        """True when the saga can only go forward: a pivot may have had its effect, or a node that can't be undone has.

        Args:
            failing: Node that would make it turn; itself it does not hinder.
        """
        if self.unwinding:
            return False
        return any(node != failing and self.statuses[node] not in WITHOUT_EFFECT for node in self.topology.committing)

    def output(self, node: int) -> Payload:
        """Return the output of a node that has succeeded.

        Raises:
            SelectionError: It is the list of a map, and more than a payload holds.
        """
        flat = self.topology.nodes[node]
        if flat.value is not None:
            return self.resolve(flat.value)
        output = self.outputs.get(node)
        if output is None:
            message = f"the list that {flat.name!r} gives is more than a payload holds; select elements of it"
            raise SelectionError(message)
        return output

    def resolve(self, source: Source) -> Payload:
        """Return the value that a source names; its node, if any, has succeeded.

        Raises:
            SelectionError: The path selects nothing, or the value is more than a payload holds.
        """
        if source.literal is not None:
            value = source.literal
        elif source.node is None:
            value = self.params
        elif source.item is not None:
            value = self.items[source.node][source.item]
        elif source.path and source.node in self.maps and source.node not in self.outputs:
            return self._from_long_list(source.node, source.path)
        else:
            value = self.output(source.node)
        return select(value, source.path) if source.path else value

    def _from_long_list(self, node: int, path: Sequence[str]) -> Payload:
        """Return a part of one element's output, of a list that is more than a payload holds."""
        elements = self.topology.grown[node]
        number = index_of(path[0])
        if number is None or number >= len(elements):
            raise SelectionError(f"the array has no element {path[0]!r}")
        element = elements[number]
        output = NULL if element in self.fallen else self.output(self.topology.elements[element].end)
        return select(output, path[1:])

    def result(self) -> Payload | None:
        """Return the output of the saga, which has succeeded; None: it is more than a payload holds."""
        return NULL if self.topology.result is None else self.known_output(self.topology.result)

    def known_output(self, node: int) -> Payload | None:
        """Return the output of a node that has succeeded; None: it can't be had as one payload."""
        try:
            return self.output(node)
        except SelectionError:
            return None

    def due(self, node: int, kind: Kind) -> float:
        """Return the time before which a side of a node that could start does not. Seconds since 1970; 0: none."""
        return max(self.run(node, kind).due, self.starts)

    def is_waiting(self, node: int) -> bool:
        """True while a node waits for a time or a signal, or is a map whose list is to be looked at."""
        return node in self.waits and self.statuses[node] == NodeStatus.PENDING and not self.unwinds(node)

    def wait_ends(self, node: int) -> float | None:
        """Return when the wait of such a node is over, in seconds since 1970; None: never."""
        flat = self.topology.nodes[node]
        if flat.map is not None:
            return max(self.waits[node], self.starts)
        length = flat.timeout if flat.delay is None else flat.delay
        return None if length is None else max(self.waits[node], self.starts) + length

    def startable(self, node: int) -> Kind | None:
        """Return which side of a node could start now but for time and the gate; None: neither."""
        status = self.statuses[node]
        if self.finished is not None or self.topology.nodes[node].action is None:
            return None
        if status == NodeStatus.RETRYING:
            return Kind.ACTION if not self.run(node, Kind.ACTION).in_flight else None
        if not self.unwinding and node not in self.retreating:
            return Kind.ACTION if status == NodeStatus.PENDING and not self.waiting[node] else None
        if status == NodeStatus.UNDO_RETRYING:
            return Kind.UNDO
        if status in (NodeStatus.SUCCEEDED, NodeStatus.IN_DOUBT) and not self.waiting[node]:
            # An undo never overtakes its own action on a worker that is heard from.
            run = self.run(node, Kind.ACTION)
            return Kind.UNDO if not run.in_flight and not run.lingering else None
        return None

    def is_settled(self, node: int) -> bool:
        """True when unwinding asks nothing more of the node."""
        return self.statuses[node] in SETTLED
