"""A graph, sagas and entries for the tests of the client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sagaline.client.sagas import NewSaga
from sagaline.graph import Graph
from sagaline.v1 import log_pb2, payload_pb2, saga_pb2, saga_service_pb2

RUNNING = saga_pb2.SAGA_STATE_RUNNING
SUCCEEDED = saga_pb2.SAGA_STATE_SUCCEEDED
UNWOUND = saga_pb2.SAGA_STATE_UNWOUND


@dataclass(frozen=True)
class Trip:
    city: str
    days: int = 1


@dataclass(frozen=True)
class Booking:
    number: int


def graph_proto(name: str = "trip") -> saga_pb2.Graph:
    hotel = saga_pb2.Node(name="hotel", action=saga_pb2.ActionNode(action="hotels.book"))
    return saga_pb2.Graph(name=name, nodes=[hotel], result="hotel")


def trip_graph(name: str = "trip") -> Graph[Trip, Booking]:
    return Graph(graph_proto(name), Trip, Booking, nodes=1, depth=0)


TRIP = trip_graph()


def trip(saga_id: str, graph: Graph[Trip, Booking] = TRIP) -> NewSaga[Booking]:
    return NewSaga(graph, Trip("Oslo"), saga_id=saga_id)


def entry(seq: int) -> log_pb2.LogEntry:
    return log_pb2.LogEntry(seq=seq, attempt_started=log_pb2.AttemptStarted(node="hotel", attempt=seq))


def frame(*seqs: int, state: saga_pb2.SagaState.ValueType = RUNNING) -> saga_service_pb2.WatchSagaResponse:
    return saga_service_pb2.WatchSagaResponse(entries=[entry(seq) for seq in seqs], state=state)


def result(saga_id: str, **fields: Any) -> saga_service_pb2.CreateResult:
    return saga_service_pb2.CreateResult(saga_id=saga_id, **fields)


def end(saga_id: str, number: int = 7) -> saga_service_pb2.SagaEnd:
    return saga_service_pb2.SagaEnd(
        saga_id=saga_id, state=SUCCEEDED, output=payload_pb2.Payload(json=f'{{"number":{number}}}')
    )
