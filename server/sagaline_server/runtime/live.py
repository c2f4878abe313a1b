"""A saga that this SEC runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from sagaline.v1 import log_pb2
from sagaline_server.core.decide import Decision, Input, Resolve, Result, Signal
from sagaline_server.core.entries import Kind, Stamped
from sagaline_server.core.gate import NO_POINTS, ActionPoints
from sagaline_server.core.state import Saga
from sagaline_server.core.turn import Pulse, Turn
from sagaline_server.core.validate import payload_bytes
from sagaline_server.core.values import Payload
from sagaline_server.dispatch.session import ActionKey
from sagaline_server.ports.store import Claim
from sagaline_server.wire.views import About

OnDecision = Callable[[Decision | None], None]
"""Called once: when what was decided is durable, or with None when this SEC runs the saga no longer."""
Observer = Callable[["LiveSaga", Sequence[Stamped]], None]
"""Called after entries have become durable; and with none when this SEC runs the saga no longer."""


Follower = Callable[["LiveSaga"], None]
"""Called once: when the saga has ended, or this SEC runs it no longer."""


class Offer(msgspec.Struct, frozen=True):
    """A reserved slot for a node that waited for one."""

    node: int
    kind: Kind
    worker_id: str


class Controlled(msgspec.Struct, frozen=True):
    """A request that another SEC accepted; consumed with its effect."""

    control_id: str
    given: Input


class Wake(msgspec.Struct, frozen=True):
    """A time has come for a node."""

    node: int


class HeldSend(msgspec.Struct, frozen=True):
    """An invocation that waits for the lease to be certain again."""

    live: LiveSaga
    node: int
    kind: Kind
    attempt: int
    worker_id: str
    revision: int


def size_of(given: Input) -> int:
    """Return the payload bytes of what comes in."""
    if isinstance(given, Signal):
        return payload_bytes(given.payload)
    output = given.output if isinstance(given, Result | Resolve) else None
    return 0 if output is None else payload_bytes(output)


Incoming = Input | Offer | Controlled | Wake


class LiveSaga:
    """One saga and what has come in for it since its last turn."""

    __slots__ = (
        "about",
        "ahead",
        "begun",
        "claim",
        "controls",
        "followers",
        "held_by",
        "inbox",
        "is_gone",
        "is_leaving",
        "is_queued",
        "is_writing",
        "observers",
        "on_idle",
        "pulses",
        "record",
        "saga_id",
        "state",
    )

    def __init__(self, saga_id: str, record: bytes, about: About, state: Saga, claim: Claim | None) -> None:
        """Make a saga at rest; `claim` is None until its creation is durable."""
        self.saga_id = saga_id
        self.record = record
        self.about = about
        self.state = state
        """As of the last durable entry."""
        self.ahead = state
        """As of the last turn, durable or not yet: its maps may have grown by nodes that `state` does not have."""
        self.claim = claim
        self.inbox: list[tuple[Incoming, OnDecision | None]] = []
        self.is_queued = False
        self.is_writing = False
        """True while an append is under way: what comes in waits for the turn after it."""
        self.is_gone = False
        """True once this SEC runs the saga no longer: it has ended, or was lost."""
        self.is_leaving = False
        """True while it is being handed off: it takes no turn."""
        self.on_idle: Callable[[], None] | None = None
        """Called once when the append under way has ended."""
        self.controls: frozenset[str] = frozenset()
        """Requests of other SECs that are in the inbox or being consumed."""
        self.observers: tuple[Observer, ...] = ()
        self.followers: tuple[Follower, ...] = ()
        self.held_by = ""
        """Why a limit on a scope holds its first start; empty: none does."""
        self.pulses: dict[tuple[int, Kind], Pulse] | None = None
        """What workers last told of attempts that they run. What matters of it is logged with their ends."""
        self.begun = 0.0
        """When this SEC took the saga over, and with it the watch over its attempts. Seconds since 1970; 0: never."""

    @property
    def epoch_told(self) -> int:
        """The epoch as workers are told it: the store's revision of the claim.

        It is higher for each owner, and for a later saga of the same id, too: a worker remembers the highest epoch of
        a saga by its id, and must not take a new saga's owner for an old one of the saga before.
        """
        assert self.claim is not None
        return self.claim.revision

    def turn(self, epoch: int, now: float, draw: Callable[[], float], points: ActionPoints = NO_POINTS) -> Turn:
        """Begin a turn."""
        turn = Turn(self.state, epoch, now, draw, self.feel, points)
        self.ahead = turn.saga
        return turn

    def action_key(self, node: int, kind: Kind) -> ActionKey:
        """Return what a worker has to serve to run one side of a node."""
        flat = self.ahead.topology.nodes[node]
        return flat.action_key if kind is Kind.ACTION else flat.undo_key

    def wake_startable(self) -> None:
        """Look at every node that could start."""
        saga = self.ahead
        nodes = range(len(saga.topology.nodes))
        self.inbox += [(Wake(node), None) for node in nodes if saga.startable(node) is not None]

    def consumed(self, control_ids: tuple[str, ...], decision: Decision | None) -> None:
        """Forget requests of other SECs whose effect is durable."""
        if decision is not None:
            self.controls -= frozenset(control_ids)

    def progressed(self, node: int, kind: Kind, attempt: int, time: float, details: Payload | None) -> None:
        """Note progress of an attempt; without details those before stay in force. Of any other attempt: ignored."""
        if self.state.run(node, kind).in_flight != attempt:
            return
        if self.pulses is None:
            self.pulses = {}
        before = self.pulses.get((node, kind))
        if details is None and before is not None and before.attempt == attempt:
            details = before.details
        self.pulses[node, kind] = Pulse(attempt, time, details)

    def feel(self, node: int, kind: Kind) -> Pulse | None:
        """Return what was last heard of the attempt in flight."""
        pulse = None if self.pulses is None else self.pulses.get((node, kind))
        attempt = self.state.run(node, kind).in_flight
        if pulse is not None and pulse.attempt == attempt:
            return pulse
        return Pulse(attempt, self.begun) if self.begun else None

    def parsed_record(self) -> log_pb2.SagaRecord:
        """Return the record."""
        return log_pb2.SagaRecord.FromString(self.record)

    def observe(self, observer: Observer) -> None:
        """Tell an observer of entries from now on."""
        self.observers += (observer,)

    def unobserve(self, observer: Observer) -> None:
        """Tell an observer nothing more."""
        self.observers = tuple(one for one in self.observers if one != observer)

    def follow(self, follower: Follower) -> None:
        """Tell a follower of the end."""
        self.followers += (follower,)

    def unfollow(self, follower: Follower) -> None:
        """Tell a follower nothing."""
        self.followers = tuple(one for one in self.followers if one != follower)

    def notify(self, entries: Sequence[Stamped]) -> None:
        """Tell the observers of entries that have become durable."""
        for observer in self.observers:
            observer(self, entries)

    def tell_gone(self) -> None:
        """Tell everybody that this SEC runs the saga no longer, because it has ended or for another reason."""
        self.notify(())
        followers, self.observers, self.followers = self.followers, (), ()
        for follower in followers:
            follower(self)
