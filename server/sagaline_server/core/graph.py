"""Graphs as clients describe them: the domain form of `Graph` and `SagaSpec`.

Nothing here is checked; `validate` does that. Defaults are already filled in,
so that equal meaning is equal content and has an equal digest. Fields are
left out of the canonical form while they have their default: a field that a
later release adds keeps the digests of the sagas that don't use it.
"""

from __future__ import annotations

import enum

import msgspec

from sagaline_server.core.values import Payload


class DataType(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an input or output is declared to be: at most one of both."""

    json_schema: str = ""
    """JSON Schema, as text."""
    message: str = ""
    """Full name of a protobuf message."""


class InputRef(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where an input's value comes from: exactly one of literal, node and params."""

    literal: Payload | None = None
    node: str | None = None
    params: bool = False
    path: tuple[str, ...] = ()


class RetryPolicy(msgspec.Struct, frozen=True, omit_defaults=True):
    """When an attempt is tried again. Times in seconds."""

    max_attempts: int = 0
    """Most attempts; 0 is no bound."""
    initial_backoff: float = 1.0
    max_backoff: float = 60.0
    multiplier: float = 2.0
    jitter: float = 0.2
    total_timeout: float | None = None
    non_retryable: tuple[str, ...] = ()


class Timeouts(msgspec.Struct, frozen=True, omit_defaults=True):
    """Limits in time of each attempt, in seconds. None: no limit."""

    schedule_to_start: float | None = None
    start_to_close: float | None = None
    heartbeat: float | None = None


class UnknownPolicy(enum.IntEnum):
    """What to do with a node whose outcome stays unknown. Values are the wire's."""

    RETRY_THEN_UNDO = 1
    UNDO = 2
    HOLD = 3


ACTION_RETRY = RetryPolicy(max_attempts=5)
UNDO_RETRY = RetryPolicy()


class UndoKind(enum.IntEnum):
    """What undoing a node means. Values are the wire's."""

    ACTION = 1
    NOOP = 2
    NONE = 3


class Irreversible(enum.IntEnum):
    """What unwinding does about a node of `UndoKind.NONE`. Values are the wire's."""

    HOLD = 1
    FORWARD_ONLY = 2


class ActionNode(msgspec.Struct, frozen=True, omit_defaults=True):
    """A node that a worker runs."""

    action: str
    version: str = "1"
    inputs: tuple[tuple[str, InputRef], ...] = ()
    undo: UndoKind = UndoKind.ACTION
    retry: RetryPolicy = ACTION_RETRY
    undo_retry: RetryPolicy = UNDO_RETRY
    timeouts: Timeouts | None = None
    """None: no limits."""
    undo_timeouts: Timeouts | None = None
    unknown: UnknownPolicy = UnknownPolicy.RETRY_THEN_UNDO
    pivot: bool = False
    """True: the point of no return. It can't be undone."""
    irreversible: Irreversible = Irreversible.HOLD
    """For `UndoKind.NONE` alone."""
    input_types: tuple[tuple[str, DataType], ...] = ()
    """By input. One that is not here is not checked."""
    output_type: DataType | None = None
    unserved: tuple[str, ...] = ()
    """Fields that the client set and this release does not serve; refused by `validate`."""

    @property
    def commits(self) -> bool:
        """True where the saga only goes forward from the moment at which this may have had its effect."""
        return self.pivot or (self.undo is UndoKind.NONE and self.irreversible is Irreversible.FORWARD_ONLY)


class ConstantNode(msgspec.Struct, frozen=True, omit_defaults=True):
    """A node that has its value from the start."""

    value: Payload


class SubsagaNode(msgspec.Struct, frozen=True, omit_defaults=True):
    """A node that is a graph."""

    graph: Graph
    params: InputRef | None = None


class MapNode(msgspec.Struct, frozen=True, omit_defaults=True):
    """A node that becomes one action or subsaga for each element of a list."""

    items: InputRef
    """The list."""
    each: ActionNode | SubsagaNode | None
    """What runs for each element. None: not said; refused by `validate`."""
    max_concurrency: int = 0
    """Elements that may run at once; 0 is no limit."""
    canary: int = 0
    """The first so many must succeed before the rest start."""
    max_failures: int = 0
    """Elements that may fail, and be undone by themselves, before the node fails."""
    item: str = "item"
    """Of an action: the input that is the element."""
    index: str = ""
    """Of an action: the input that is the element's place in the list. Empty: none is."""


class DelayNode(msgspec.Struct, frozen=True, omit_defaults=True):
    """A node that succeeds when a time has passed since it became ready."""

    duration: float
    """Seconds."""


class SignalNode(msgspec.Struct, frozen=True, omit_defaults=True):
    """A node that waits for a signal; its output is the signal's payload."""

    signal: str = ""
    """Empty: the node's name."""
    timeout: float | None = None
    """Seconds after which it fails. None: it waits for ever."""


class UnservedNode(msgspec.Struct, frozen=True):
    """A kind of node that this release does not serve, or none at all; refused by `validate`."""

    kind: str


class Node(msgspec.Struct, frozen=True, omit_defaults=True):
    """A vertex."""

    name: str
    body: ActionNode | ConstantNode | SubsagaNode | MapNode | DelayNode | SignalNode | UnservedNode
    after: tuple[str, ...] = ()


class Graph(msgspec.Struct, frozen=True, omit_defaults=True):
    """A DAG of nodes."""

    name: str
    nodes: tuple[Node, ...]
    result: str = ""


class SagaSpec(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What a client asks to run. Times in seconds."""

    saga_id: str
    graph: Graph
    params: Payload
    labels: tuple[tuple[str, str], ...] = ()
    scopes: tuple[str, ...] = ()
    deadline: float | None = None
    start_delay: float | None = None
    start_paused: bool = False
    trace_context: tuple[tuple[str, str], ...] = ()
    unserved: tuple[str, ...] = ()
