"""Specs that tests of the api send."""

from __future__ import annotations

from sagaline.v1 import payload_pb2, saga_pb2

TRIP = ("pay", "hotel", "confirm")


def json_payload(text: str) -> payload_pb2.Payload:
    return payload_pb2.Payload(json=text)


def trip_graph(name: str = "trip") -> saga_pb2.Graph:
    """Return a graph of three actions, one after the other."""
    graph = saga_pb2.Graph(name=name, result="confirm")
    pay = graph.nodes.add(name="pay").action
    pay.action = "trip.pay"
    pay.inputs["order"].params.SetInParent()
    hotel = graph.nodes.add(name="hotel").action
    hotel.action = "trip.hotel"
    hotel.inputs["payment"].node = "pay"
    confirm = graph.nodes.add(name="confirm", after=["pay"]).action
    confirm.action = "trip.confirm"
    confirm.inputs["room"].node = "hotel"
    return graph


def trip(saga_id: str = "", **fields: object) -> saga_pb2.SagaSpec:
    """Return the spec of a trip."""
    spec = saga_pb2.SagaSpec(saga_id=saga_id, graph=trip_graph(), params=json_payload('{"city": "Rome"}'))
    for name, value in fields.items():
        if isinstance(value, dict):
            getattr(spec, name).update(value)
        else:
            setattr(spec, name, value)
    return spec
