"""What is sent of a saga, alone and in batches."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from google.protobuf.duration_pb2 import Duration

from sagaline.client.sagas import (
    BATCH_BYTES_MAX,
    BATCH_GRAPHS_MAX,
    BATCH_SAGAS_MAX,
    STREAM_GRAPHS_MAX,
    Batcher,
    NewSaga,
)
from sagaline.errors import ConversionError
from sagaline.v1 import payload_pb2, saga_pb2
from tests.unit.client.samples import TRIP, Booking, Trip, graph_proto, trip, trip_graph


def test_every_option_reaches_the_spec() -> None:
    new = NewSaga(
        TRIP,
        Trip("Oslo", 3),
        saga_id="t-1",
        labels={"team": "a"},
        scopes=["rack/17"],
        deadline=timedelta(minutes=2),
        start_delay=timedelta(milliseconds=1500),
        start_paused=True,
        trace_context={"traceparent": "00-1-2-01"},
    )
    assert new.full_spec() == saga_pb2.SagaSpec(
        saga_id="t-1",
        graph=graph_proto(),
        params=payload_pb2.Payload(json='{"city":"Oslo","days":3}'),
        labels={"team": "a"},
        scopes=["rack/17"],
        deadline=Duration(seconds=120),
        start_delay=Duration(seconds=1, nanos=500_000_000),
        start_paused=True,
        trace_context={"traceparent": "00-1-2-01"},
    )


def test_what_is_not_said_is_absent() -> None:
    spec = trip("t-1").full_spec()
    assert [field.name for field, _value in spec.ListFields()] == ["saga_id", "graph", "params"]


def test_a_saga_has_an_id_before_it_is_sent() -> None:
    first, second = NewSaga(TRIP, Trip("Oslo")), NewSaga(TRIP, Trip("Oslo"))
    assert uuid.UUID(first.saga_id).version == 7
    assert first.saga_id != second.saga_id
    assert first.full_spec().saga_id == first.saga_id


def test_parameters_of_another_type_are_refused_before_anything_is_sent() -> None:
    with pytest.raises(ConversionError):
        NewSaga(TRIP, "Oslo")  # type: ignore[misc]


def test_a_spec_keeps_what_it_says_and_gets_an_id() -> None:
    spec = saga_pb2.SagaSpec(graph=graph_proto(), labels={"a": "b"})
    new = NewSaga.of_spec(spec)
    full = new.full_spec()
    assert uuid.UUID(full.saga_id).version == 7
    full.ClearField("saga_id")
    assert full == spec
    assert new.decode(payload_pb2.Payload(json='{"number":1}')) == {"number": 1}


def test_a_spec_without_a_graph_is_left_for_the_server_to_refuse() -> None:
    assert not NewSaga.of_spec(saga_pb2.SagaSpec(saga_id="x")).full_spec().HasField("graph")


def test_the_result_is_decoded_as_the_graph_says() -> None:
    assert trip("t").decode(payload_pb2.Payload(json='{"number":4}')) == Booking(4)
    with pytest.raises(ConversionError):
        trip("t").decode(payload_pb2.Payload(json='"four"'))


# ---- batches


def batches(batcher: Batcher) -> list[tuple[list[str], int]]:
    found = []
    while (batch := batcher.next_batch()) is not None:
        found.append(([spec.saga_id for spec in batch.specs], len(batch.graphs)))
    return found


def test_batches_keep_the_order_and_the_bound_on_their_number() -> None:
    batcher = Batcher(stream=False)
    ids = [f"{number:04}" for number in range(BATCH_SAGAS_MAX + 1)]
    for saga_id in ids:
        batcher.add(trip(saga_id))
    assert batches(batcher) == [(ids[:-1], 1), (ids[-1:], 1)]
    assert batcher.next_batch() is None


def test_a_graph_is_sent_with_each_batch_or_once_a_stream() -> None:
    for stream, expected in ((False, [1, 1]), (True, [1, 0])):
        batcher = Batcher(stream=stream)
        for number in range(BATCH_SAGAS_MAX + 1):
            batcher.add(trip(str(number)))
        assert [graphs for _ids, graphs in batches(batcher)] == expected


def test_a_batch_is_closed_before_it_grows_too_large() -> None:
    batcher = Batcher(stream=True)
    size_bytes = BATCH_BYTES_MAX // 4
    for number in range(6):
        batcher.add(NewSaga(TRIP, Trip("x" * size_bytes), saga_id=str(number)))
    assert [len(ids) for ids, _graphs in batches(batcher)] == [3, 3]


def test_a_spec_that_is_larger_than_a_batch_goes_alone() -> None:
    batcher = Batcher(stream=True)
    large = saga_pb2.SagaSpec(saga_id="large", graph=graph_proto("x" * BATCH_BYTES_MAX))
    for new in (trip("before"), NewSaga.of_spec(large), trip("after")):
        batcher.add(new)
    assert [ids for ids, _graphs in batches(batcher)] == [["before"], ["large"], ["after"]]


@pytest.mark.parametrize(("stream", "most"), [(False, BATCH_GRAPHS_MAX), (True, STREAM_GRAPHS_MAX)])
def test_graphs_beyond_the_bound_go_inside_their_specs(stream: bool, most: int) -> None:
    batcher = Batcher(stream=stream)
    for number in range(most + 1):
        batcher.add(trip(str(number), trip_graph(f"g{number}")))
    specs: list[saga_pb2.SagaSpec] = []
    graphs: dict[str, saga_pb2.Graph] = {}
    while (batch := batcher.next_batch()) is not None:
        if not stream:
            assert len(batch.graphs) <= most
        specs += batch.specs
        graphs |= batch.graphs
    assert len(specs) == most + 1
    assert specs[-1].graph_key == ""
    assert specs[-1].graph.name == f"g{most}"
    assert all(graphs[spec.graph_key].name == f"g{spec.saga_id}" for spec in specs[:-1])


def test_a_spec_without_a_graph_is_batched_as_it_is() -> None:
    batcher = Batcher(stream=False)
    batcher.add(NewSaga.of_spec(saga_pb2.SagaSpec(saga_id="x")))
    batch = batcher.next_batch()
    assert batch is not None
    assert batch.specs == [saga_pb2.SagaSpec(saga_id="x")]
    assert not batch.graphs
