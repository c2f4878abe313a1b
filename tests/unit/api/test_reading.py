"""GetSaga, GetSagaLog and WatchSaga."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from sagaline.v1 import log_pb2, saga_pb2
from sagaline.v1 import saga_service_pb2 as pb
from sagaline_server.api import reading
from sagaline_server.api.runtime_port import SagaRuntime
from sagaline_server.core.entries import NodeSucceeded, SagaState, Stamped
from sagaline_server.core.values import Payload
from sagaline_server.ownership.cluster_runtime import ClusterRuntime
from tests.unit.api.conftest import Served
from tests.unit.api.fake_runtime import FakeRuntime
from tests.unit.api.refusals import refused
from tests.unit.api.specs import TRIP, trip
from tests.unit.api.waiting import SECONDS, until


async def create(served: Served, saga_id: str = "s1", *, ended: bool = False) -> None:
    await served.sagas.CreateSaga(pb.CreateSagaRequest(saga=trip(saga_id)))
    if ended:
        for node in TRIP:
            served.runtime.finish(saga_id, node)


def test_the_runtime_keeps_what_the_api_relies_on() -> None:
    """mypy checks here that the real runtime fits the contract, which the fake of these tests keeps too."""
    real: type[SagaRuntime] = ClusterRuntime
    fake: type[SagaRuntime] = FakeRuntime
    assert real is not fake


# ---- GetSaga


async def test_a_saga_is_returned_in_full_unless_told_otherwise(served: Served) -> None:
    await create(served)
    full = (await served.sagas.GetSaga(pb.GetSagaRequest(saga_id="s1"))).saga
    assert [node.name for node in full.nodes] == list(TRIP)
    assert full.params == trip().params
    assert full.graph == trip().graph
    asked = (await served.sagas.GetSaga(pb.GetSagaRequest(saga_id="s1", view=saga_pb2.SAGA_VIEW_FULL))).saga
    assert asked == full
    basic = (await served.sagas.GetSaga(pb.GetSagaRequest(saga_id="s1", view=saga_pb2.SAGA_VIEW_BASIC))).saga
    assert basic.log_length == full.log_length
    assert not basic.nodes
    assert not basic.HasField("graph")


async def test_a_saga_too_large_for_a_message_is_refused_in_full_and_told_in_brief(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    await create(served)
    monkeypatch.setattr(reading, "RESPONSE_BYTES", 300)
    told = await refused(served.sagas.GetSaga(pb.GetSagaRequest(saga_id="s1")))
    assert (told.code, told.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "RESPONSE_TOO_LARGE")
    assert told.metadata["limit"] == "300"
    brief = await served.sagas.GetSaga(pb.GetSagaRequest(saga_id="s1", view=saga_pb2.SAGA_VIEW_BASIC))
    assert brief.saga.saga_id == "s1"


# ---- GetSagaLog


async def test_a_log_is_read_in_pages(served: Served) -> None:
    await create(served, ended=True)
    length = len(served.runtime.log("s1"))
    entries: list[log_pb2.LogEntry] = []
    next_seq = 0
    pages = 0
    while next_seq or not pages:
        request = pb.GetSagaLogRequest(saga_id="s1", from_seq=next_seq, page_size=3)
        response = await served.sagas.GetSagaLog(request)
        entries += response.entries
        next_seq = response.next_seq
        pages += 1
    assert [entry.seq for entry in entries] == list(range(1, length + 1))
    assert pages == -(-length // 3)
    assert entries[0].WhichOneof("entry") == "saga_created"
    assert entries[-1].saga_finished.state == saga_pb2.SAGA_STATE_SUCCEEDED
    beyond = await served.sagas.GetSagaLog(pb.GetSagaLogRequest(saga_id="s1", from_seq=length + 1))
    assert (list(beyond.entries), beyond.next_seq) == ([], 0)


async def test_the_page_that_begins_with_entry_1_tells_what_the_saga_is(served: Served) -> None:
    spec = trip("s1")
    spec.deadline.FromSeconds(60)
    spec.labels["team"] = "a"
    spec.trace_context["traceparent"] = "00-1-2-01"
    given = saga_pb2.SagaSpec()
    given.CopyFrom(spec)
    await served.sagas.CreateSaga(pb.CreateSagaRequest(saga=spec))
    for from_seq in (0, 1):
        record = (await served.sagas.GetSagaLog(pb.GetSagaLogRequest(saga_id="s1", from_seq=from_seq))).record
        assert record.spec == given
        assert record.digest == served.runtime.sagas["s1"].saga.digest
    later = await served.sagas.GetSagaLog(pb.GetSagaLogRequest(saga_id="s1", from_seq=2))
    assert not later.HasField("record")


async def test_a_page_of_a_log_is_bounded_by_its_bytes(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    await create(served, ended=True)
    monkeypatch.setattr(reading, "LOG_PAGE_BYTES", 10)
    response = await served.sagas.GetSagaLog(pb.GetSagaLogRequest(saga_id="s1"))
    assert [entry.seq for entry in response.entries] == [1], "one entry always fits"
    assert response.next_seq == 2


# ---- WatchSaga


async def test_a_watch_tells_the_log_then_what_is_new_and_ends_with_the_saga(served: Served) -> None:
    await create(served)
    stream = served.sagas.WatchSaga(pb.WatchSagaRequest(saga_id="s1"))
    seqs: list[int] = []
    nodes = iter(TRIP)
    async with asyncio.timeout(SECONDS):
        async for frame in stream:
            seqs += [entry.seq for entry in frame.entries]
            if frame.state == saga_pb2.SAGA_STATE_RUNNING:
                served.runtime.finish("s1", next(nodes))
    assert seqs == list(range(1, len(served.runtime.log("s1")) + 1))
    assert frame.state == saga_pb2.SAGA_STATE_SUCCEEDED


async def test_a_watch_begins_where_it_is_told(served: Served) -> None:
    await create(served, ended=True)
    length = len(served.runtime.log("s1"))
    for from_seq in (length, length + 1):
        stream = served.sagas.WatchSaga(pb.WatchSagaRequest(saga_id="s1", from_seq=from_seq))
        frames = [frame async for frame in stream]
        assert [entry.seq for frame in frames for entry in frame.entries] == list(range(from_seq, length + 1))


async def test_a_watch_cant_begin_beyond_the_next_entry(served: Served) -> None:
    await create(served)
    length = len(served.runtime.log("s1"))
    stream = served.sagas.WatchSaga(pb.WatchSagaRequest(saga_id="s1", from_seq=length + 2))
    told = await refused(stream.read())
    assert (told.code, told.fields) == (grpc.StatusCode.INVALID_ARGUMENT, [("from_seq", "OUT_OF_RANGE")])


async def test_a_watcher_that_goes_away_is_forgotten(served: Served) -> None:
    await create(served)
    stream = served.sagas.WatchSaga(pb.WatchSagaRequest(saga_id="s1"))
    await stream.read()
    assert served.runtime.watching == 1
    stream.cancel()
    await until(lambda: not served.runtime.watching)


async def test_a_watcher_that_reads_nothing_and_goes_away_is_forgotten(served: Served) -> None:
    """It is cancelled while the server waits to write to it, which is another place than above."""
    await create(served)
    stream = served.sagas.WatchSaga(pb.WatchSagaRequest(saga_id="s1"))
    await stream.read()
    large = Payload(json='"' + "x" * 200_000 + '"')
    for _ in range(100):
        served.runtime.write("s1", NodeSucceeded("pay", 1, large))
        await asyncio.sleep(0)
    assert served.runtime.watching == 1
    stream.cancel()
    await until(lambda: not served.runtime.watching)


def test_large_entries_are_cut_into_frames_and_only_the_last_says_that_the_saga_ended() -> None:
    large = Payload(json='"' + "x" * 400_000 + '"')
    entries = [Stamped(seq, 1, 0.0, NodeSucceeded(f"n{seq}", 1, large)) for seq in range(1, 6)]
    for state, before in (
        (SagaState.SUCCEEDED, saga_pb2.SAGA_STATE_RUNNING),
        (SagaState.UNWOUND, saga_pb2.SAGA_STATE_UNWINDING),
        (SagaState.STUCK, saga_pb2.SAGA_STATE_STUCK),
    ):
        frames = list(reading._frames(entries, state))
        assert [entry.seq for frame in frames for entry in frame.entries] == [1, 2, 3, 4, 5]
        assert all(frame.ByteSize() <= 1024 * 1024 for frame in frames)
        assert [frame.state for frame in frames] == [before, before, int(state)]
