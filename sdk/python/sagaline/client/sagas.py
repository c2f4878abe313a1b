"""A saga that is to be created: its graph, its parameters and its options as one spec; and many of them in batches."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Generic, Protocol, TypedDict, TypeVar, Unpack

from google.protobuf.duration_pb2 import Duration

from sagaline.graph import Graph
from sagaline.ids import new_uuid7
from sagaline.v1 import payload_pb2, saga_pb2
from sagaline.values import decode, encode

P = TypeVar("P")
R = TypeVar("R")

BATCH_SAGAS_MAX = 500
"""Most specs in one request or frame; the protocol allows 1,000."""

BATCH_BYTES_MAX = 768 * 1024
"""A batch is closed before it grows over this; one spec that is larger goes alone."""

BATCH_GRAPHS_MAX = 100
"""Most graphs that may go beside the specs of one CreateSagas; those beyond go inside their specs."""

STREAM_GRAPHS_MAX = 1_000
"""The same for one RunSagas stream."""


class SagaOptions(TypedDict, total=False):
    """What may be said of a saga beside its graph and parameters."""

    saga_id: str
    """Id, and the key under which creating it again is the same saga. Absent: a new UUIDv7."""
    labels: Mapping[str, str]
    """Searchable labels."""
    scopes: Sequence[str]
    """Scopes whose limits count it, such as "rack/17"."""
    deadline: timedelta
    """Time from creation after which it unwinds."""
    start_delay: timedelta
    """Time from creation before its first node starts."""
    start_paused: bool
    """True: nothing starts before it is resumed."""
    trace_context: Mapping[str, str]
    """W3C trace context that its invocations carry on."""


class GraphSource(Protocol):
    """What a graph is to the client."""

    def to_proto(self) -> saga_pb2.Graph:
        """Return the graph as the protocol has it."""
        raise NotImplementedError


class _RawGraph:
    """A graph that came as a message."""

    def __init__(self, graph: saga_pb2.Graph) -> None:
        self._graph = graph

    def to_proto(self) -> saga_pb2.Graph:
        return self._graph


class NewSaga(Generic[R]):
    """A saga to be created. It has its id already, so that creating it can be repeated.

    Args:
        graph: What to run.
        params: Its parameters, of the type that the graph was built for.
        options: See `SagaOptions`.

    Raises:
        ConversionError: `params` is no payload.
    """

    __slots__ = ("_result_type", "graph", "spec")

    graph: GraphSource | None
    spec: saga_pb2.SagaSpec

    def __init__(self, graph: Graph[P, R], params: P, **options: Unpack[SagaOptions]) -> None:
        self.graph = graph
        self.spec = _spec(encode(params, graph.params_type), options)
        self._result_type: Any = graph.result_type

    @classmethod
    def of_spec(cls, spec: saga_pb2.SagaSpec) -> NewSaga[Any]:
        """Return the saga that a message describes; its result is decoded as plain JSON."""
        new: NewSaga[Any] = NewSaga.__new__(NewSaga)
        new.spec = saga_pb2.SagaSpec()
        new.spec.CopyFrom(spec)
        new.spec.ClearField("graph")
        new.spec.saga_id = spec.saga_id or new_uuid7()
        new.graph = _RawGraph(spec.graph) if spec.HasField("graph") else None
        new._result_type = Any
        return new

    @property
    def saga_id(self) -> str:
        """Its id."""
        return self.spec.saga_id

    def full_spec(self) -> saga_pb2.SagaSpec:
        """Return the spec with the graph inside."""
        full = saga_pb2.SagaSpec()
        full.CopyFrom(self.spec)
        if self.graph is not None:
            full.graph.CopyFrom(self.graph.to_proto())
        return full

    def keyed_spec(self, key: str) -> saga_pb2.SagaSpec:
        """Return the spec with the key of a graph that goes beside it."""
        keyed = saga_pb2.SagaSpec()
        keyed.CopyFrom(self.spec)
        keyed.graph_key = key
        return keyed

    def decode(self, output: payload_pb2.Payload) -> R:
        """Return the saga's result.

        Raises:
            ConversionError: The output is not of the graph's result type.
        """
        result: R = decode(output, self._result_type)
        return result


def _spec(params: payload_pb2.Payload, options: SagaOptions) -> saga_pb2.SagaSpec:
    spec = saga_pb2.SagaSpec(
        saga_id=options.get("saga_id") or new_uuid7(),
        params=params,
        labels=options.get("labels"),
        scopes=options.get("scopes"),
        start_paused=options.get("start_paused", False),
        trace_context=options.get("trace_context"),
    )
    if "deadline" in options:
        spec.deadline.CopyFrom(duration(options["deadline"]))
    if "start_delay" in options:
        spec.start_delay.CopyFrom(duration(options["start_delay"]))
    return spec


def duration(length: timedelta) -> Duration:
    """Return a length of time as a message."""
    message = Duration()
    message.FromTimedelta(length)
    return message


# ---- batches ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Batch:
    """Specs that go together, and the graphs that they name by key."""

    specs: list[saga_pb2.SagaSpec]
    graphs: dict[str, saga_pb2.Graph]


class Batcher:
    """Cuts sagas into batches, and sends each graph once.

    Args:
        stream: True: a key of an earlier batch is still known in later ones, as on a RunSagas stream. False:
            every batch stands alone, as every CreateSagas does.
    """

    def __init__(self, *, stream: bool) -> None:
        self._stream = stream
        self._queue: deque[NewSaga[Any]] = deque()
        # Keyed by identity: graphs are immutable, and comparing them would cost more than it saves. The graph is
        # kept beside its key so that no other can come to have the same identity.
        self._keys: dict[int, tuple[str, GraphSource]] = {}

    def add(self, saga: NewSaga[Any]) -> None:
        """Take one more saga; batches have them in the order in which they were added."""
        self._queue.append(saga)

    def drop(self, saga: NewSaga[Any]) -> None:
        """Leave a saga out that is in no batch yet."""
        with contextlib.suppress(ValueError):
            self._queue.remove(saga)

    def next_batch(self) -> Batch | None:
        """Return the next batch; None if no saga is left."""
        if not self._queue:
            return None
        if not self._stream:
            self._keys.clear()
        batch = Batch([], {})
        size_bytes = 0
        while self._queue and len(batch.specs) < BATCH_SAGAS_MAX:
            saga = self._queue[0]
            spec, key, graph = self._cut(saga)
            size_bytes += spec.ByteSize() + (graph.ByteSize() if graph is not None else 0)
            if batch.specs and size_bytes > BATCH_BYTES_MAX:
                break
            self._queue.popleft()
            batch.specs.append(spec)
            if graph is not None and saga.graph is not None:
                self._keys[id(saga.graph)] = (key, saga.graph)
                batch.graphs[key] = graph
        return batch

    def _cut(self, saga: NewSaga[Any]) -> tuple[saga_pb2.SagaSpec, str, saga_pb2.Graph | None]:
        """Return the spec to send, its graph's key, and the graph if it has to go with it."""
        if saga.graph is None:
            return saga.spec, "", None
        known = self._keys.get(id(saga.graph))
        if known is not None:
            return saga.keyed_spec(known[0]), known[0], None
        if len(self._keys) >= (STREAM_GRAPHS_MAX if self._stream else BATCH_GRAPHS_MAX):
            return saga.full_spec(), "", None
        key = f"g{len(self._keys)}"
        return saga.keyed_spec(key), key, saga.graph.to_proto()
