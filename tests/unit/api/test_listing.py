"""ListSagas: pages, filters, tokens."""

from __future__ import annotations

import base64
from typing import Any

import grpc
import pytest

from sagaline.v1 import saga_pb2
from sagaline.v1 import saga_service_pb2 as pb
from sagaline_server.api import listing
from sagaline_server.core import limits
from tests.unit.api.conftest import Served
from tests.unit.api.fake_runtime import NO_EFFECT
from tests.unit.api.refusals import refused
from tests.unit.api.specs import TRIP, trip, trip_graph


async def create(served: Served, *specs: saga_pb2.SagaSpec) -> None:
    response = await served.sagas.CreateSagas(pb.CreateSagasRequest(sagas=specs))
    assert not any(result.HasField("error") for result in response.results)


async def ids(served: Served, **request: Any) -> list[str]:
    """Return the ids of all pages."""
    found: list[str] = []
    token = ""
    while True:
        response = await served.sagas.ListSagas(pb.ListSagasRequest(page_token=token, **request))
        found += [saga.saga_id for saga in response.sagas]
        token = response.next_page_token
        if not token:
            return found


async def test_pages_have_the_size_asked_for_and_the_order_of_ids(served: Served) -> None:
    names = [f"s{number:03}" for number in range(250)]
    await create(served, *(trip(name) for name in reversed(names)))
    sizes = {0: 100, 1: 1, 7: 7, 249: 249, 250: 250, limits.PAGE_SIZE_MAX: 250, 2**31 - 1: 250}
    for size, expected in sizes.items():
        response = await served.sagas.ListSagas(pb.ListSagasRequest(page_size=size))
        assert [saga.saga_id for saga in response.sagas] == names[:expected]
        assert bool(response.next_page_token) is (expected < 250)
    assert await ids(served, page_size=33) == names
    assert await ids(served) == names


async def test_a_list_of_nothing_is_empty(served: Served) -> None:
    response = await served.sagas.ListSagas(pb.ListSagasRequest())
    assert not response.sagas
    assert not response.next_page_token


async def test_views(served: Served) -> None:
    await create(served, trip("s1"))
    basic = await served.sagas.ListSagas(pb.ListSagasRequest())
    full = await served.sagas.ListSagas(pb.ListSagasRequest(view=saga_pb2.SAGA_VIEW_FULL))
    assert not basic.sagas[0].nodes
    assert [node.name for node in full.sagas[0].nodes] == list(TRIP)


@pytest.fixture
async def various(served: Served) -> Served:
    """Sagas of all kinds: running, succeeded, unwound, stuck."""
    red = trip("red", labels={"team": "red", "tier": "1"})
    red.scopes.append("rack/17")
    other = trip("other", labels={"team": "blue"})
    other.graph.CopyFrom(trip_graph("errand"))
    await create(served, red, other, trip("ended"), trip("unwound"), trip("stuck"))
    for node in TRIP:
        served.runtime.finish("ended", node)
    served.runtime.finish("unwound", "pay", NO_EFFECT)
    served.runtime.ending = lambda node, _: NO_EFFECT if node == "pay" else None
    served.runtime.finish("stuck", "pay")
    served.runtime.finish("stuck", "hotel", NO_EFFECT)
    served.runtime.ending = lambda *_: None
    served.clock.now += 100
    await create(served, trip("young"))
    return served


S = saga_pb2
FILTERS: dict[str, tuple[pb.SagaFilter, list[str]]] = {
    "one state": (pb.SagaFilter(states=[S.SAGA_STATE_SUCCEEDED]), ["ended"]),
    "final states": (pb.SagaFilter(states=[S.SAGA_STATE_SUCCEEDED, S.SAGA_STATE_UNWOUND]), ["ended", "unwound"]),
    "mixed states": (pb.SagaFilter(states=[S.SAGA_STATE_SUCCEEDED, S.SAGA_STATE_STUCK]), ["ended", "stuck"]),
    "running": (pb.SagaFilter(states=[S.SAGA_STATE_RUNNING]), ["other", "red", "young"]),
    "graph": (pb.SagaFilter(graph_name="errand"), ["other"]),
    "label": (pb.SagaFilter(labels={"team": "red"}), ["red"]),
    "labels": (pb.SagaFilter(labels={"team": "red", "tier": "2"}), []),
    "scope": (pb.SagaFilter(scope="rack/17"), ["red"]),
    "operator": (pb.SagaFilter(needs_operator=True), ["stuck"]),
    "failed node": (pb.SagaFilter(failed_node="pay"), ["unwound"]),
    "operator and state": (pb.SagaFilter(needs_operator=True, states=[S.SAGA_STATE_UNWOUND]), []),
}


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("page_size", [1, 100])
async def test_a_filter_selects(various: Served, name: str, page_size: int) -> None:
    given, expected = FILTERS[name]
    assert await ids(various, filter=given, page_size=page_size) == expected


async def test_filters_of_time(various: Served) -> None:
    begin = int(various.clock.now) - 100
    young, old = pb.SagaFilter(), pb.SagaFilter()
    young.create_time_from.seconds = begin + 100
    old.create_time_before.seconds = begin + 100
    idle = pb.SagaFilter()
    idle.idle_for.seconds = 100
    assert await ids(various, filter=young) == ["young"]
    assert await ids(various, filter=old) == ["ended", "other", "red", "stuck", "unwound"]
    assert await ids(various, filter=idle) == ["other", "red", "stuck"]


async def test_a_page_looks_at_a_bounded_number_of_sagas(various: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "SCANNED_MAX", 2)
    monkeypatch.setattr(listing, "SCANNED_AT_ONCE", 2)
    given = pb.SagaFilter(labels={"team": "red"})
    first = await various.sagas.ListSagas(pb.ListSagasRequest(filter=given))
    assert not first.sagas
    assert first.next_page_token
    assert await ids(various, filter=given) == ["red"]


async def test_a_page_is_bounded_by_its_bytes(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    await create(served, *(trip(f"s{number}") for number in range(5)))
    monkeypatch.setattr(listing, "PAGE_BYTES", 10)
    first = await served.sagas.ListSagas(pb.ListSagasRequest(view=saga_pb2.SAGA_VIEW_FULL))
    assert len(first.sagas) == 1
    assert await ids(served, view=saga_pb2.SAGA_VIEW_FULL) == [f"s{number}" for number in range(5)]


async def test_a_saga_too_large_in_full_is_listed_in_brief(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    await create(served, trip("s1"))
    monkeypatch.setattr(listing, "RESPONSE_BYTES", 10)
    response = await served.sagas.ListSagas(pb.ListSagasRequest(view=saga_pb2.SAGA_VIEW_FULL))
    assert not response.sagas[0].nodes


async def test_a_saga_that_is_removed_while_it_is_listed_is_left_out(served: Served) -> None:
    await create(served, trip("s1"), trip("s2"), trip("s3"))
    served.runtime.vanished.add("s2")
    assert await ids(served, view=saga_pb2.SAGA_VIEW_FULL) == ["s1", "s3"]


async def test_a_list_goes_on_while_sagas_come_and_go(served: Served) -> None:
    """What stands from the first page to the last is told once, whatever else changes."""
    names = [f"s{number:03}" for number in range(0, 100, 2)]
    await create(served, *(trip(name) for name in names))
    found: list[str] = []
    token = ""
    for turn in range(100):
        response = await served.sagas.ListSagas(pb.ListSagasRequest(page_size=4, page_token=token))
        found += [saga.saga_id for saga in response.sagas]
        await create(served, trip(f"s{2 * turn + 1:03}"))
        token = response.next_page_token
        if not token:
            break
    assert [name for name in found if name in names] == names
    assert len(found) == len(set(found))


async def test_tokens_are_opaque_and_belong_to_their_filter(various: Served) -> None:
    first = await various.sagas.ListSagas(pb.ListSagasRequest(page_size=2))
    token = first.next_page_token
    other = pb.SagaFilter(graph_name="trip")
    told = await refused(various.sagas.ListSagas(pb.ListSagasRequest(page_token=token, filter=other)))
    assert told.fields == [("page_token", "BAD_PAGE_TOKEN")]
    assert "another filter" in told.message
    second = await various.sagas.ListSagas(pb.ListSagasRequest(page_token=token, page_size=1, view=S.SAGA_VIEW_FULL))
    assert second.sagas[0].saga_id > first.sagas[-1].saga_id, "size and view may change from page to page"


BAD_TOKENS = [
    "garbage",
    "s1",
    "🚀",
    "=" * 40,
    "A" * 100_000,
    base64.urlsafe_b64encode(b"\x02" + bytes(8) + b"s1").decode(),
    base64.urlsafe_b64encode(b"\x01" + bytes(8)).decode(),
    base64.urlsafe_b64encode(b"\x01" + bytes(8) + b"a/b").decode(),
    base64.urlsafe_b64encode(b"\x01" + bytes(8) + b"\xff\xfe").decode(),
]


@pytest.mark.parametrize("token", BAD_TOKENS, ids=range(len(BAD_TOKENS)))
async def test_what_is_no_token_is_refused(served: Served, token: str) -> None:
    told = await refused(served.sagas.ListSagas(pb.ListSagasRequest(page_token=token)))
    assert (told.code, told.fields) == (grpc.StatusCode.INVALID_ARGUMENT, [("page_token", "BAD_PAGE_TOKEN")])
