"""How a spec becomes a creation: once for each graph, and with a record that is put together by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagaline.v1 import log_pb2, saga_pb2
from sagaline_server.api.creation import CreationMaker
from sagaline_server.api.errors import Refused, batch_error, plain, status
from sagaline_server.api.graphs import GraphCache, PreparedGraph
from sagaline_server.api.ids import uuid7
from sagaline_server.core import limits
from sagaline_server.core.validate import Problem
from sagaline_server.wire.varints import varint
from tests.unit.api.conftest import counting_bytes
from tests.unit.api.fake_runtime import ManualClock
from tests.unit.api.specs import trip, trip_graph


@given(st.integers(0, 2**40))
def test_lengths_are_encoded_as_protobuf_does(number: int) -> None:
    expected = log_pb2.LogBatch(epoch=number).SerializeToString()
    assert expected == (b"\x10" + varint(number) if number else b"")


@given(
    st.text(max_size=300),
    st.floats(0, 4e9),
    st.dictionaries(st.text(min_size=1, max_size=30), st.text(max_size=30), max_size=5),
)
def test_a_record_decodes_to_what_it_was_made_of(params: str, now: float, labels: dict[str, str]) -> None:
    spec = trip("s1", labels=labels)
    spec.params.json = params
    sent = saga_pb2.SagaSpec.FromString(spec.SerializeToString())
    maker = CreationMaker(ManualClock(now), counting_bytes())
    creation = maker.make(spec, maker.moment())
    record = log_pb2.SagaRecord.FromString(creation.record)
    assert record.spec == sent
    assert record.digest == creation.digest
    assert record.create_time.seconds + record.create_time.nanos / 1e9 == creation.create_time
    assert creation.create_time == pytest.approx(now, abs=1e-6)
    assert creation.spec.saga_id == "s1"


def test_many_sagas_of_one_graph_share_what_was_made_of_it() -> None:
    maker = CreationMaker(ManualClock(), counting_bytes())
    made = [maker.make(trip(f"s{number}"), maker.moment()) for number in range(3)]
    assert len({id(creation.topology) for creation in made}) == 1
    turned = trip("s4")
    nodes = list(turned.graph.nodes)[::-1]
    turned.graph.ClearField("nodes")
    turned.graph.nodes.extend(nodes)
    other = maker.make(turned, maker.moment())
    assert other.digest == made[0].digest, "another order of nodes is the same content"


def test_a_cache_forgets_what_was_used_longest_ago() -> None:
    cache = GraphCache(kept_graphs=2)
    first = cache.prepare(trip_graph("one"))
    cache.prepare(trip_graph("two"))
    assert cache.prepare(trip_graph("one")) is first
    cache.prepare(trip_graph("three"))
    assert cache.prepare(trip_graph("one")) is first
    assert len(cache._kept) == 2


def test_a_cache_is_bounded_by_bytes() -> None:
    size = len(trip_graph("g0").SerializeToString())
    cache = GraphCache(kept_bytes=3 * size)
    for number in range(10):
        cache.prepare(trip_graph(f"g{number}"))
    assert len(cache._kept) == 3
    assert cache._bytes == 3 * size


def test_a_bad_graph_is_not_kept() -> None:
    cache = GraphCache()
    found = cache.prepare(saga_pb2.Graph(name="g"))
    assert not isinstance(found, PreparedGraph)
    assert not cache._kept


def test_a_graph_larger_than_a_record_is_refused_unread() -> None:
    graph = saga_pb2.Graph(name="g")
    graph.nodes.add(name="a" * (limits.RECORD_BYTES + 1))
    (problem,) = GraphCache().prepare(graph)  # type: ignore[misc]
    assert (problem.field, problem.reason) == ("", "RECORD_TOO_LARGE")


def test_ids_sort_by_time_and_differ_at_the_same_time() -> None:
    random = counting_bytes()
    made = [uuid7(1_800_000_000 + number // 2, random) for number in range(10)]
    assert sorted(made) == made
    assert len(set(made)) == 10
    assert uuid7(-5.0, random)
    assert uuid7(2.0**60, random)


# ---- how refusals are told


@given(st.text(max_size=400), st.integers(10, 100))
def test_shown_text_is_printable_and_bounded(text: str, limit: int) -> None:
    shown = plain(text, limit)
    assert len(shown.encode()) <= limit
    assert shown.isprintable()
    if text.isprintable() and len(text.encode()) <= limit:
        assert shown == text


@given(
    st.lists(
        st.builds(
            Problem, st.text(max_size=500), st.sampled_from(["A", "B"]), st.text(max_size=900), st.text(max_size=90)
        ),
        min_size=1,
        max_size=60,
    )
)
def test_no_error_is_larger_than_trailers_may_be(problems: list[Problem]) -> None:
    refused = Refused("INVALID_REQUEST", problems=problems, subject="s" * 10_000)
    told = status(refused)
    assert told.ByteSize() < 5_500
    listed = batch_error(refused)
    assert 1 <= len(listed.problems) <= 20


def test_a_reason_that_the_table_does_not_know_is_about_the_state_of_the_saga() -> None:
    told = status(Refused("LOG_COMPACTED", "the log is gone", subject="s1"))
    assert told.code == 9
    assert [each.type_url.rpartition(".")[2] for each in told.details] == ["ErrorInfo", "PreconditionFailure"]
