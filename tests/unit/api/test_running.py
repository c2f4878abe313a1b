"""RunSagas: one stream that creates many sagas and tells of their ends, bounded in everything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import grpc
import pytest

from sagaline.v1 import saga_pb2, saga_service_pb2
from sagaline_server.api import outbox, running
from sagaline_server.api.creation import CreationMaker
from sagaline_server.api.running import SagaRun
from sagaline_server.core import limits
from sagaline_server.core.entries import Resolution
from sagaline_server.core.inputs import Resolve
from sagaline_server.core.values import Payload
from sagaline_server.runtime.requests import NotServing, Overloaded
from tests.unit.api.conftest import Served, counting_bytes
from tests.unit.api.fake_runtime import NO_EFFECT, FakeRuntime, ManualClock, everything_succeeds, only_pay_succeeds
from tests.unit.api.refusals import told
from tests.unit.api.specs import trip, trip_graph
from tests.unit.api.waiting import SECONDS, until

Frame = saga_service_pb2.RunSagasRequest
Stream = grpc.aio.StreamStreamCall[Frame, saga_service_pb2.RunSagasResponse]


class Seen:
    """What a stream has told so far."""

    def __init__(self) -> None:
        self.results: list[saga_service_pb2.CreateResult] = []
        self.ends: list[saga_service_pb2.SagaEnd] = []
        self.frames: list[saga_service_pb2.RunSagasResponse] = []

    def take(self, frame: saga_service_pb2.RunSagasResponse) -> None:
        assert frame.results or frame.ends, "no frame is empty"
        self.frames.append(frame)
        self.results += frame.results
        self.ends += frame.ends

    async def read(self, stream: Stream, until: Callable[[Seen], bool] = lambda _: False) -> None:
        """Read until something is true, or the stream ends."""
        async with asyncio.timeout(SECONDS):
            while not until(self):
                frame = await stream.read()
                if not isinstance(frame, saga_service_pb2.RunSagasResponse):
                    return
                self.take(frame)


def created(count: int) -> Callable[[Seen], bool]:
    return lambda seen: len(seen.results) >= count


async def test_sagas_are_created_in_order_and_their_ends_are_told(served: Served) -> None:
    stream, seen = served.sagas.RunSagas(), Seen()
    await stream.write(Frame(sagas=[trip(f"s{number}") for number in range(5)]))
    await seen.read(stream, created(5))
    assert [result.saga_id for result in seen.results] == [f"s{number}" for number in range(5)]
    assert not seen.ends
    served.runtime.finish("s3", "pay", NO_EFFECT)
    await stream.done_writing()
    served.runtime.run_on()
    await seen.read(stream)
    assert await stream.code() is grpc.StatusCode.OK
    assert {end.saga_id for end in seen.ends} == {f"s{number}" for number in range(5)}
    assert seen.ends[0].saga_id == "s3"
    assert seen.ends[0].state == saga_pb2.SAGA_STATE_UNWOUND
    assert seen.ends[0].failure.type == "NoRoom"
    assert {end.state for end in seen.ends[1:]} == {saga_pb2.SAGA_STATE_SUCCEEDED}
    assert seen.ends[1].output.json == '"done"'
    assert not any(kept.followers for kept in served.runtime.sagas.values())


async def test_the_stream_ends_only_when_the_client_is_done_and_every_saga_has_ended(served: Served) -> None:
    stream, seen = served.sagas.RunSagas(), Seen()
    served.runtime.ending = everything_succeeds
    await stream.write(Frame(sagas=[trip("s1")]))
    await seen.read(stream, lambda seen: bool(seen.ends))
    assert not stream.done()
    await stream.write(Frame(sagas=[trip("s2")]))
    await stream.done_writing()
    await seen.read(stream)
    assert [end.saga_id for end in seen.ends] == ["s1", "s2"]


async def test_a_stream_of_nothing_ends_at_once(served: Served) -> None:
    stream = served.sagas.RunSagas()
    await stream.done_writing()
    assert await stream.read() is grpc.aio.EOF
    assert await stream.code() is grpc.StatusCode.OK


async def test_results_keep_their_order_though_some_are_refused_at_once(served: Served) -> None:
    served.runtime.slow = asyncio.Event()
    stream, seen = served.sagas.RunSagas(), Seen()
    await stream.write(Frame(sagas=[trip("s1"), trip("a/b"), trip("s2"), trip("s1"), trip("s1", start_paused=True)]))
    await stream.write(Frame(sagas=[trip()]))
    served.runtime.slow.set()
    await seen.read(stream, created(6))
    assert [result.saga_id for result in seen.results[:5]] == ["s1", "a/b", "s2", "s1", "s1"]
    assert [result.existed for result in seen.results] == [False, False, False, True, False, False]
    reasons = [result.error.reason for result in seen.results]
    assert reasons == ["", "INVALID_REQUEST", "", "", "SAGA_ALREADY_EXISTS", ""]
    assert seen.results[5].saga_id in served.runtime.sagas
    stream.cancel()


async def test_a_saga_sent_twice_ends_once(served: Served) -> None:
    stream, seen = served.sagas.RunSagas(), Seen()
    await stream.write(Frame(sagas=[trip("s1"), trip("s1")], follow_ids=["s1"]))
    await stream.done_writing()
    await seen.read(stream, created(2))
    served.runtime.run_on()
    await seen.read(stream)
    assert [end.saga_id for end in seen.ends] == ["s1"]


async def test_graphs_are_sent_once_for_many_sagas_and_may_be_replaced(served: Served) -> None:
    stream, seen = served.sagas.RunSagas(), Seen()
    first = Frame(sagas=[saga_pb2.SagaSpec(saga_id="s1", graph_key="g")])
    first.graphs["g"].CopyFrom(trip_graph())
    await stream.write(first)
    await stream.write(Frame(sagas=[saga_pb2.SagaSpec(saga_id="s2", graph_key="g")]))
    second = Frame(sagas=[saga_pb2.SagaSpec(saga_id="s3", graph_key="g")])
    second.graphs["g"].CopyFrom(trip_graph("other"))
    await stream.write(second)
    await stream.write(Frame(sagas=[saga_pb2.SagaSpec(saga_id="s4", graph_key="h")]))
    await seen.read(stream, created(4))
    names = [served.runtime.sagas[f"s{number}"].saga.topology.graph_name for number in (1, 2, 3)]
    assert names == ["trip", "trip", "other"]
    assert seen.results[3].error.problems[0].reason == "UNKNOWN_GRAPH_KEY"
    stream.cancel()


async def test_sagas_that_exist_are_followed_by_their_ids(served: Served) -> None:
    for saga_id in ("running", "ended"):
        await served.sagas.CreateSaga(saga_service_pb2.CreateSagaRequest(saga=trip(saga_id)))
    for node in ("pay", "hotel", "confirm"):
        served.runtime.finish("ended", node)
    stream, seen = served.sagas.RunSagas(), Seen()
    await stream.write(Frame(follow_ids=["running", "ended", "unknown", "a/b", "x" * 1000]))
    await stream.done_writing()
    await seen.read(stream, lambda seen: len(seen.ends) == 4)
    told_of = {end.saga_id: end.error.reason or end.state for end in seen.ends}
    assert told_of == {
        "ended": saga_pb2.SAGA_STATE_SUCCEEDED,
        "unknown": "SAGA_NOT_FOUND",
        "a/b": "INVALID_REQUEST",
        "x" * limits.SAGA_ID_CHARS: "INVALID_REQUEST",
    }
    served.runtime.run_on()
    await seen.read(stream)
    assert seen.ends[-1].saga_id == "running"


async def test_the_need_of_an_operator_is_an_end_where_that_was_asked_for(served: Served) -> None:
    """And once is enough: the saga is followed no more, and may be followed again."""
    served.runtime.ending = only_pay_succeeds
    stream, seen = served.sagas.RunSagas(), Seen()
    await stream.write(Frame(sagas=[trip("stuck")], or_needs_operator=True))
    await seen.read(stream, lambda seen: len(seen.ends) == 1)
    await stream.write(Frame(follow_ids=["stuck"], or_needs_operator=True))
    await seen.read(stream, lambda seen: len(seen.ends) == 2)
    for end in seen.ends:
        assert (end.saga_id, end.state, end.needs_operator) == ("stuck", saga_pb2.SAGA_STATE_STUCK, True)
        assert (end.failed_node, end.failure.type) == ("hotel", "NoRoom")
    await stream.write(Frame(sagas=[trip("patient")], follow_ids=["stuck"]))
    await seen.read(stream, created(2))
    served.runtime.run_on(everything_succeeds)
    order = Resolve("pay", Resolution.MARK_UNDONE, "ann", "by hand")
    for saga_id in ("patient", "stuck"):
        await served.runtime.request(saga_id, order)
    await stream.done_writing()
    await seen.read(stream)
    assert [(end.saga_id, end.state, end.needs_operator) for end in seen.ends[2:]] == [
        ("patient", saga_pb2.SAGA_STATE_UNWOUND, False),
        ("stuck", saga_pb2.SAGA_STATE_UNWOUND, False),
    ]
    assert {end.failed_node for end in seen.ends} == {"hotel"}


async def test_a_saga_that_comes_to_need_an_operator_while_it_is_followed_is_told_of_then(served: Served) -> None:
    stream, seen = served.sagas.RunSagas(), Seen()
    await stream.write(Frame(sagas=[trip("s1")], or_needs_operator=True))
    await stream.done_writing()
    await seen.read(stream, created(1))
    served.runtime.run_on(only_pay_succeeds)
    await seen.read(stream)
    assert [(end.saga_id, end.needs_operator) for end in seen.ends] == [("s1", True)]


async def test_a_saga_that_ends_before_it_can_be_followed_is_told_of_after_its_result(served: Served) -> None:
    served.runtime.ending = everything_succeeds
    stream, seen = served.sagas.RunSagas(), Seen()
    await stream.write(Frame(sagas=[trip("s1")]))
    await stream.done_writing()
    await seen.read(stream)
    assert served.runtime.follow_calls == [["s1"]]
    order = [kind for frame in seen.frames for kind, items in (("result", frame.results), ("end", frame.ends)) if items]
    assert order == ["result", "end"]


@pytest.mark.parametrize(
    ("trouble", "reason", "code"), [(Overloaded(), "OVERLOADED", 8), (NotServing(), "NOT_SERVING", 14)]
)
async def test_a_runtime_that_takes_nothing_refuses_each_saga_and_the_stream_goes_on(
    served: Served, monkeypatch: pytest.MonkeyPatch, trouble: Exception, reason: str, code: int
) -> None:
    monkeypatch.setattr(running, "OVERLOAD_PATIENCE", 0.0)
    stream, seen = served.sagas.RunSagas(), Seen()
    served.runtime.trouble = trouble
    await stream.write(Frame(sagas=[trip("s1"), trip("s2")]))
    await seen.read(stream, created(2))
    assert [(result.error.reason, result.error.code) for result in seen.results] == [(reason, code)] * 2
    served.runtime.trouble = None
    await stream.write(Frame(sagas=[trip("s1")]))
    await seen.read(stream, created(3))
    assert not seen.results[2].HasField("error")
    stream.cancel()


async def test_a_stream_waits_for_an_overloaded_runtime(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Overloaded, "retry_delay", 0.001)
    stream, seen = served.sagas.RunSagas(), Seen()
    served.runtime.overloads = 3
    await stream.write(Frame(sagas=[trip("s1"), trip("s2")]))
    await seen.read(stream, created(2))
    assert not any(result.HasField("error") for result in seen.results)
    assert served.runtime.overloads == 0
    stream.cancel()


BAD_FRAMES = {
    "too many sagas": (Frame(sagas=[saga_pb2.SagaSpec()] * (limits.CREATE_BATCH + 1)), "sagas", "TOO_MANY"),
    "too many ids": (Frame(follow_ids=["a"] * (limits.CREATE_BATCH + 1)), "follow_ids", "TOO_MANY"),
    "an empty key": (Frame(graphs={"": trip_graph()}), "graphs[]", "BAD_GRAPH_KEY"),
}


@pytest.mark.parametrize("name", BAD_FRAMES)
async def test_a_frame_that_breaks_the_rules_ends_the_stream(served: Served, name: str) -> None:
    frame, field, reason = BAD_FRAMES[name]
    stream = served.sagas.RunSagas()
    await stream.write(frame)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await Seen().read(stream)
    error = told(caught.value)
    assert (error.code, error.fields) == (grpc.StatusCode.INVALID_ARGUMENT, [(field, reason)])
    assert not served.runtime.creations


async def test_graphs_of_a_stream_are_bounded(served: Served) -> None:
    stream = served.sagas.RunSagas()
    for number in range(limits.GRAPHS_PER_STREAM + 1):
        frame = Frame()
        frame.graphs[str(number)].name = "empty"
        await stream.write(frame)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await Seen().read(stream)
    error = told(caught.value)
    assert (error.code, error.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_GRAPHS")


async def test_an_unexpected_exception_ends_the_stream_and_its_text_stays_here(served: Served) -> None:
    stream = served.sagas.RunSagas()
    served.runtime.trouble = ValueError("secret")
    await stream.write(Frame(sagas=[trip("s1")]))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await Seen().read(stream)
    assert told(caught.value).reason == "INTERNAL_ERROR"
    assert "secret" not in repr(caught.value)


async def test_a_client_that_goes_away_is_followed_no_further(served: Served) -> None:
    served.runtime.not_live.add("s2")
    stream, seen = served.sagas.RunSagas(), Seen()
    await stream.write(Frame(sagas=[trip("s1"), trip("s2")]))
    await seen.read(stream, created(2))
    await until(lambda: bool(served.runtime.follow_calls))
    stream.cancel()
    await until(lambda: served.runtime.followers_stopped == 1)
    served.runtime.run_on()
    assert served.runtime.sagas["s1"].saga.finished, "sagas go on without their client"


# ---- bounds, with a client that is a queue


class Run:
    """A SagaRun whose client is this test."""

    def __init__(self, runtime: FakeRuntime, followed_max: int = 1000) -> None:
        self._requests: asyncio.Queue[Frame | None] = asyncio.Queue()
        self.taken = 0
        """Frames that the run has asked for and got."""
        self.run = SagaRun(runtime, CreationMaker(runtime.clock, counting_bytes()), followed_max)
        self.frames = self.run.frames(self._client())
        self.seen = Seen()

    async def _client(self) -> AsyncIterator[Frame]:
        while (frame := await self._requests.get()) is not None:
            self.taken += 1
            yield frame

    def send(self, frame: Frame | None) -> None:
        self._requests.put_nowait(frame)

    async def next(self) -> saga_service_pb2.RunSagasResponse:
        async with asyncio.timeout(SECONDS):
            frame = await anext(self.frames)
        self.seen.take(frame)
        return frame

    async def rest(self) -> None:
        async with asyncio.timeout(SECONDS):
            async for frame in self.frames:
                self.seen.take(frame)


@pytest.fixture
def runtime() -> FakeRuntime:
    return FakeRuntime(ManualClock())


async def test_sagas_beyond_the_bound_of_a_stream_are_refused(runtime: FakeRuntime) -> None:
    run = Run(runtime, followed_max=3)
    run.send(Frame(sagas=[trip(f"s{number}") for number in range(5)], follow_ids=["other"]))
    await run.next()
    reasons = [result.error.reason for result in run.seen.results]
    assert reasons == ["", "", "", "TOO_MANY_FOLLOWED", "TOO_MANY_FOLLOWED"]
    assert run.seen.results[4].error.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
    assert set(runtime.sagas) == {"s0", "s1", "s2"}
    if not run.seen.ends:
        await run.next()
    assert [end.error.reason for end in run.seen.ends] == ["TOO_MANY_FOLLOWED"]
    runtime.run_on()
    run.send(Frame(sagas=[trip("s4")]))
    run.send(None)
    await run.rest()
    assert "s4" in runtime.sagas, "sagas that ended make room"


async def test_the_client_is_read_no_further_while_too_much_is_being_created(
    runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "CREATING_MAX", 50)
    runtime.slow = asyncio.Event()
    run = Run(runtime)
    for number in range(5):
        run.send(Frame(sagas=[trip(f"{number}-{each}") for each in range(20)]))
    run.send(None)
    first = asyncio.ensure_future(run.next())
    await until(lambda: len(runtime._waiting) >= 50)
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(runtime._waiting) == 50
    assert run.taken == 3, "two frames and a half; the rest is not asked for"
    runtime.slow.set()
    await first
    runtime.ending = everything_succeeds
    runtime.run_on()
    await run.rest()
    assert len(run.seen.ends) == 100


async def test_ids_are_read_no_further_while_ends_wait_to_be_written(
    runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "ENDS_BYTES", 100)
    run = Run(runtime)
    run.send(Frame(follow_ids=[f"a/{number}" for number in range(50)]))
    run.send(None)
    await run.next()
    assert len(run.seen.ends) < 10
    await run.rest()
    assert len(run.seen.ends) == 50


async def test_a_runtime_that_cant_follow_ends_each_saga_with_an_error(runtime: FakeRuntime) -> None:
    run = Run(runtime)
    runtime.trouble = NotServing()
    run.send(Frame(follow_ids=["s1", "s2"]))
    run.send(None)
    await run.rest()
    assert [(end.saga_id, end.error.reason, end.error.code) for end in run.seen.ends] == [
        ("s1", "NOT_SERVING", 14),
        ("s2", "NOT_SERVING", 14),
    ]


async def test_the_client_is_read_no_further_while_results_wait_to_be_written(
    runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "RESULTS_BYTES", 200)
    run = Run(runtime)
    run.send(Frame(sagas=[trip(f"s{number}") for number in range(100)]))
    run.send(Frame(sagas=[trip("last")]))
    run.send(None)
    await run.next()
    assert len(run.seen.results) < 50
    runtime.ending = everything_succeeds
    runtime.run_on()
    await run.rest()
    assert len(run.seen.results) == len(run.seen.ends) == 101


async def test_frames_are_bounded_and_nothing_is_lost(runtime: FakeRuntime) -> None:
    large = Payload(json='"' + "x" * (limits.PAYLOAD_BYTES - 100) + '"')
    run = Run(runtime)
    run.send(Frame(sagas=[trip(f"s{number}") for number in range(20)]))
    run.send(None)
    await run.next()
    runtime.run_on(lambda *_: large)
    await run.rest()
    assert len(run.seen.ends) == 20
    assert all(frame.ByteSize() <= limits.FRAME_BYTES for frame in run.seen.frames)
    assert len(run.seen.frames) > 5, "as many as needed"


async def test_ends_that_a_slow_client_does_not_take_are_asked_for_again(
    runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "ENDS_BYTES", 300)
    run = Run(runtime)
    run.send(Frame(sagas=[trip(f"s{number}") for number in range(50)]))
    run.send(None)
    await run.next()
    runtime.run_on()
    held = run.run._outbox._ends_bytes
    assert held < 400, "what waits is bounded, whatever ends"
    await run.rest()
    assert sorted(end.saga_id for end in run.seen.ends) == sorted(f"s{number}" for number in range(50))
    assert runtime.follow_calls


async def test_closing_a_run_stops_everything_it_has_begun(runtime: FakeRuntime) -> None:
    runtime.slow = asyncio.Event()
    before = asyncio.all_tasks()
    run = Run(runtime)
    run.send(Frame(follow_ids=["unknown"], sagas=[trip("s1")]))
    await run.next()
    await run.frames.aclose()
    runtime.slow.set()
    await until(lambda: "s1" in runtime.sagas)
    runtime.run_on()
    await until(lambda: asyncio.all_tasks() <= before)
    assert run.run._outbox.is_empty


async def test_closing_a_run_stops_following(runtime: FakeRuntime) -> None:
    creation = CreationMaker(runtime.clock, counting_bytes())
    await runtime.create([creation.make(trip("s1"), creation.moment())])
    run = Run(runtime)
    runtime.not_live.add("s1")
    run.send(Frame(follow_ids=["s1", "unknown"]))
    await run.next()
    assert runtime.sagas["s1"].followers
    await run.frames.aclose()
    assert runtime.followers_stopped == 1
    assert not runtime.sagas["s1"].followers
