"""The worker over real streams: reconnecting, sending again, blocked user code, leaving."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import grpc
import pytest

from sagaline.actions import action
from sagaline.context import Context
from sagaline.errors import ActionError, DefinitionError, WorkerError
from sagaline.v1 import payload_pb2
from sagaline.v1 import worker_service_pb2 as pb
from sagaline.worker import limits
from sagaline.worker.attempts import Ref
from sagaline.worker.worker import Worker
from tests.unit.sdk_worker.driving import ack, in_flight, invocation, ref
from tests.unit.sdk_worker.scripted_sec import WAIT, ScriptedSec, ScriptedStream, running


@action("echo")
async def echo(context: Context) -> str:
    return context.saga_id


@pytest.fixture
def sec(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedSec]:
    """With the times of leaving cut short, for tests that leave in the middle of things."""
    monkeypatch.setattr(limits, "CANCEL_GRACE_SECONDS", 0.05)
    monkeypatch.setattr(limits, "HALF_CLOSE_SECONDS", 0.2)
    sec = ScriptedSec()
    yield sec
    sec.close()


def invoke(stream: ScriptedStream, *refs: Ref, action: str = "echo") -> None:
    stream.send(invocations=[invocation(of, action=action) for of in refs])


def results(stream: ScriptedStream, *refs: Ref) -> list[pb.InvocationResult]:
    """Read until there is a result of each of these."""
    found: dict[Ref, pb.InvocationResult] = {}
    while not set(refs) <= set(found):
        found |= {Ref.of(result.ref): result for result in stream.recv().results}
    return [found[of] for of in refs]


# ---- work


def test_it_introduces_itself_runs_what_it_is_sent_and_reports(sec: ScriptedSec) -> None:
    worker = Worker(sec.address, actions=[echo], slots=7, identity="me", build_id="b1", labels={"zone": "z"})
    with running(worker):
        stream = sec.accept()
        assert not worker.ready
        hello = stream.welcome()
        assert (hello.worker_id, hello.identity, hello.build_id, dict(hello.labels)) == (
            worker.worker_id,
            "me",
            "b1",
            {"zone": "z"},
        )
        assert hello.sdk.startswith("sagaline-python/")
        assert dict(hello.capacity.max_in_flight_by_pool) == {"": 7}
        assert [(spec.action, list(spec.versions)) for spec in hello.actions] == [("echo", ["1"])]
        assert worker.ready.wait(WAIT)
        assert worker.connected
        refs = [ref(f"s{number}") for number in range(5)]
        invoke(stream, *refs)
        assert [result.output.json for result in results(stream, *refs)] == [f'"s{number}"' for number in range(5)]


def test_synchronous_actions_run_beside_a_loop_that_is_blocked(sec: ScriptedSec) -> None:
    gate = threading.Event()

    @action("block")
    async def block() -> None:
        gate.wait(WAIT)  # as user code should not

    @action("sync")
    def sync() -> int:
        return 1

    with running(Worker(sec.address, actions=[block, sync])):
        stream = sec.accept()
        stream.welcome()
        invoke(stream, ref("s1"), action="block")
        invoke(stream, ref("s2"), action="sync")
        assert results(stream, ref("s2"))[0].output == payload_pb2.Payload(json="1")
        gate.set()
        results(stream, ref("s1"))


def test_user_code_that_blocks_its_loop_does_not_stop_heartbeats(sec: ScriptedSec) -> None:
    gate, entered = threading.Event(), threading.Event()

    @action("block")
    async def block() -> None:
        entered.set()
        gate.wait(WAIT)

    with running(Worker(sec.address, actions=[block])):
        stream = sec.accept()
        stream.welcome(interval=0.02, timeout=10.0)
        invoke(stream, ref(), action="block")
        assert entered.wait(WAIT)
        nonces, frame = [], pb.ConnectRequest()
        for _ in range(5):
            frame = stream.recv_until(lambda frame: frame.HasField("heartbeat"))
            nonces.append(frame.heartbeat.nonce)
            stream.send(heartbeat_nonce=frame.heartbeat.nonce)
        assert nonces == sorted(nonces)
        assert frame.ack_sequence >= 2
        assert frame.heartbeat.in_flight_count == 1
        gate.set()
        results(stream, ref())


def test_a_cancellation_reaches_user_code_and_its_result_comes_back(sec: ScriptedSec) -> None:
    entered = threading.Event()

    @action("endless")
    async def endless() -> None:
        entered.set()
        await asyncio.Event().wait()

    with running(Worker(sec.address, actions=[endless])):
        stream = sec.accept()
        stream.welcome()
        invoke(stream, ref(), action="endless")
        assert entered.wait(WAIT)
        stream.send(cancellations=[pb.Cancellation(ref=ref().message(), reason=pb.CANCELLATION_REASON_TIMED_OUT)])
        assert results(stream, ref())[0].failure.type == "sagaline.Cancelled"


def test_start_to_close_is_kept_by_the_worker_itself(sec: ScriptedSec) -> None:
    @action("endless")
    async def endless() -> None:
        await asyncio.Event().wait()

    with running(Worker(sec.address, actions=[endless])):
        stream = sec.accept()
        stream.welcome()
        stream.send(invocations=[invocation(ref(), action="endless", start_to_close=0.02)])
        assert results(stream, ref())[0].failure.type == "sagaline.StartToCloseTimeout"


def test_progress_is_told_while_user_code_runs(sec: ScriptedSec) -> None:
    gate = threading.Event()

    @action("long")
    def long(context: Context) -> None:
        context.heartbeat({"done": 1})
        gate.wait(WAIT)

    with running(Worker(sec.address, actions=[long])):
        stream = sec.accept()
        stream.welcome()
        invoke(stream, ref(), action="long")
        frame = stream.recv_until(lambda frame: frame.progress)
        assert frame.progress[0].details.json == '{"done":1}'
        gate.set()
        results(stream, ref())


# ---- streams that end: W27, W42, W54 to W57


@pytest.mark.parametrize("code", [grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.PERMISSION_DENIED])
def test_it_reconnects_whatever_ended_the_stream_and_sends_results_again(
    sec: ScriptedSec, code: grpc.StatusCode
) -> None:
    with running(Worker(sec.address, actions=[echo])):
        stream = sec.accept()
        assert stream.welcome().stream_epoch == 1
        invoke(stream, ref("s1"), ref("s2"))
        results(stream, ref("s1"), ref("s2"))
        stream.send(result_acks=[ack(ref("s1"))])
        stream.end(code)
        stream = sec.accept()
        hello = stream.welcome()
        assert hello.stream_epoch == 2
        assert in_flight(hello.in_flight) == {ref("s2"): pb.IN_FLIGHT_STATE_RESULT_PENDING}
        results(stream, ref("s2"))
        stream.send(result_acks=[ack(ref("s2"))])
        invoke(stream, ref("s3"))
        results(stream, ref("s3"))


def test_what_runs_goes_on_over_a_broken_stream_and_runs_once(sec: ScriptedSec) -> None:
    gate, runs = threading.Event(), []

    @action("slow")
    def slow(context: Context) -> int:
        runs.append(context.attempt)
        gate.wait(WAIT)
        return len(runs)

    with running(Worker(sec.address, actions=[slow])):
        stream = sec.accept()
        stream.welcome()
        invoke(stream, ref(), action="slow")
        stream.send(reconcile=pb.Reconcile())
        stream.recv_until(lambda frame: frame.HasField("in_flight"))
        stream.end(grpc.StatusCode.UNAVAILABLE)
        stream = sec.accept()
        assert in_flight(stream.welcome().in_flight) == {ref(): pb.IN_FLIGHT_STATE_RUNNING}
        invoke(stream, ref(), action="slow")
        gate.set()
        assert results(stream, ref())[0].output.json == "1"
        assert runs == [1]


def test_a_sec_that_stops_and_comes_back_is_found_again(sec: ScriptedSec) -> None:
    worker = Worker(sec.address, actions=[echo])
    with running(worker):
        sec.accept().welcome()
        assert worker.ready.wait(WAIT)
        sec.stop()
        sec.start()
        stream = sec.accept()
        stream.welcome()
        invoke(stream, ref())
        results(stream, ref())


def test_a_worker_waits_for_a_sec_that_is_not_there_yet(sec: ScriptedSec) -> None:
    sec.stop()
    worker = Worker(sec.address, actions=[echo])
    with running(worker):
        assert not worker.connected
        sec.start()
        sec.accept().welcome()
        assert worker.ready.wait(WAIT)


def test_a_silent_stream_is_given_up(sec: ScriptedSec) -> None:
    with running(Worker(sec.address, actions=[echo])):
        stream = sec.accept()
        stream.welcome(interval=0.02, timeout=0.1)
        assert stream.ended.wait(WAIT), "the call is cancelled, so nothing of it stays"
        assert sec.accept().welcome().stream_epoch == 2


def test_after_three_failures_in_a_row_the_channel_is_new(sec: ScriptedSec) -> None:
    with running(Worker(sec.address, actions=[echo])):
        peers = []
        for _ in range(4):
            stream = sec.accept()
            peers.append(stream.peer)
            stream.end(grpc.StatusCode.UNAVAILABLE)
        assert len(set(peers[:3])) == 1
        assert peers[3] != peers[0]
        sec.accept().welcome()


def test_a_sec_that_breaks_the_protocol_is_left_and_tried_again(
    sec: ScriptedSec, caplog: pytest.LogCaptureFixture
) -> None:
    with running(Worker(sec.address, actions=[echo])):
        stream = sec.accept()
        stream.send(demands=[pb.Demand(ready_count=1)])
        assert stream.ended.wait(WAIT)
        sec.accept().welcome()
    assert any("protocol error" in record.message for record in caplog.records)


def test_refused_actions_are_logged_loudly(sec: ScriptedSec, caplog: pytest.LogCaptureFixture) -> None:
    worker = Worker(sec.address, actions=[echo])
    with running(worker):
        sec.accept().welcome(refused_actions={"echo": "not permitted"})
        assert worker.ready.wait(WAIT)
        assert worker.refused_actions == {"echo": "not permitted"}
    assert [record.levelno for record in caplog.records if "not permitted" in record.message] == [logging.ERROR]


def test_another_process_with_its_id_ends_the_worker(sec: ScriptedSec) -> None:
    with running(Worker(sec.address, actions=[echo])) as ended:
        stream = sec.accept()
        stream.welcome()
        stream.send(go_away=pb.GoAway(reason=pb.GO_AWAY_REASON_REPLACED))
        error = ended.get(timeout=WAIT)
        assert isinstance(error, WorkerError)
        assert "another process" in str(error)


# ---- leaving: W49 to W53


def test_drain_finishes_what_runs_waits_for_its_acknowledgement_and_returns(sec: ScriptedSec) -> None:
    gate, entered = threading.Event(), threading.Event()

    @action("slow")
    async def slow() -> None:
        entered.set()
        await asyncio.to_thread(gate.wait, WAIT)

    worker = Worker(sec.address, actions=[slow])
    with running(worker) as ended:
        stream = sec.accept()
        stream.welcome()
        invoke(stream, ref("s1"), action="slow")
        assert entered.wait(WAIT)
        worker.drain()
        frame = stream.recv_until(lambda frame: frame.HasField("drain"))
        assert frame.drain.timeout.seconds in (24, 25)
        invoke(stream, ref("s2"), action="slow")
        frame = stream.recv_until(lambda frame: frame.rejections)
        assert frame.rejections[0].reason == pb.REJECTION_REASON_DRAINING
        stream.send(drained=True)
        gate.set()
        results(stream, ref("s1"))
        assert ended.empty()
        stream.send(result_acks=[ack(ref("s1"))])
        stream.recv_end()
        stream.end()
        assert ended.get(timeout=WAIT) is None


def test_what_does_not_end_in_the_drain_time_is_cancelled_and_reported(sec: ScriptedSec) -> None:
    entered = threading.Event()

    @action("endless")
    async def endless() -> None:
        entered.set()
        await asyncio.Event().wait()

    worker = Worker(sec.address, actions=[endless])
    with running(worker) as ended:
        stream = sec.accept()
        stream.welcome()
        invoke(stream, ref(), action="endless")
        assert entered.wait(WAIT)
        worker.drain(timedelta(milliseconds=20))
        failure = results(stream, ref())[0].failure
        assert (failure.type, failure.message) == ("sagaline.Cancelled", "cancelled: worker_stopping")
        stream.send(drained=True, result_acks=[ack(ref())])
        stream.recv_end()
        stream.end()
        assert ended.get(timeout=WAIT) is None


def test_user_code_that_never_ends_is_left_behind(sec: ScriptedSec, caplog: pytest.LogCaptureFixture) -> None:
    gate, entered = threading.Event(), threading.Event()

    @action("stuck")
    def stuck() -> None:
        entered.set()
        gate.wait(WAIT)

    worker = Worker(sec.address, actions=[stuck])
    with running(worker) as ended:
        stream = sec.accept()
        stream.welcome()
        invoke(stream, ref(), action="stuck")
        assert entered.wait(WAIT)
        worker.drain(timedelta(0))
        assert ended.get(timeout=WAIT) is None
    gate.set()
    assert any("left behind: attempt 1 of node pay" in record.message for record in caplog.records)


def test_a_worker_that_is_drained_before_it_runs_leaves_at_once() -> None:
    worker = Worker("127.0.0.1:1", actions=[echo])
    worker.drain(timedelta(seconds=10))
    with running(worker) as ended:
        assert ended.get(timeout=WAIT) is None


async def test_cancelling_run_cancels_what_runs_and_reports_it(sec: ScriptedSec) -> None:
    entered = asyncio.Event()

    @action("endless")
    async def endless() -> None:
        entered.set()
        await asyncio.Event().wait()

    worker = Worker(sec.address, actions=[endless])
    run = asyncio.create_task(worker.run(handle_signals=False))
    stream = await asyncio.to_thread(sec.accept)
    await asyncio.to_thread(stream.welcome)
    await worker.ready
    invoke(stream, ref(), action="endless")
    async with asyncio.timeout(WAIT):
        await entered.wait()
    run.cancel()
    [result] = await asyncio.to_thread(results, stream, ref())
    assert result.failure.type == "sagaline.Cancelled"
    with pytest.raises(asyncio.CancelledError):
        await run
    assert worker._engine is not None
    assert worker._engine.join(WAIT)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_drain_also_while_an_action_blocks_the_loop(sec: ScriptedSec, number: signal.Signals) -> None:
    """The handler runs in this thread, as signals do; the SEC is driven from another."""
    gate = threading.Event()

    @action("block")
    async def block() -> None:
        signal.raise_signal(number)
        gate.wait(WAIT)

    def script() -> None:
        stream = sec.accept()
        stream.welcome()
        invoke(stream, ref(), action="block")
        stream.recv_until(lambda frame: frame.HasField("drain"))
        gate.set()
        results(stream, ref())
        stream.send(drained=True, result_acks=[ack(ref())])
        stream.recv_end()
        stream.end()

    before = signal.getsignal(number)
    with ThreadPoolExecutor(1) as pool:
        scripted = pool.submit(script)
        Worker(sec.address, actions=[block]).run_forever()
        scripted.result(WAIT)
    assert signal.getsignal(number) == before


def test_a_second_signal_stops_at_once(sec: ScriptedSec) -> None:
    @action("endless")
    async def endless() -> None:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        await asyncio.Event().wait()

    def script() -> None:
        stream = sec.accept()
        stream.welcome()
        invoke(stream, ref(), action="endless")
        results(stream, ref())

    with ThreadPoolExecutor(1) as pool:
        scripted = pool.submit(script)
        Worker(sec.address, actions=[endless], drain_timeout=timedelta(hours=1)).run_forever()
        scripted.result(WAIT)


# ---- making one


async def test_a_worker_runs_once() -> None:
    worker = Worker("127.0.0.1:1", actions=[echo])
    worker.drain()
    await worker.run(handle_signals=False)
    with pytest.raises(WorkerError, match="run before"):
        await worker.run(handle_signals=False)


@pytest.mark.parametrize("address", ["", "host", "host:", ":7233", "host:0", "host:65536", "host:x", "host:-1"])
def test_an_address_needs_host_and_port(address: str) -> None:
    with pytest.raises(DefinitionError, match="host:port"):
        Worker(address, actions=[echo])


@pytest.mark.parametrize("slots", [0, -1, 100_001, {}, {"": 0}])
def test_slots_are_bounded(slots: int | dict[str, int]) -> None:
    with pytest.raises(DefinitionError, match="slots"):
        Worker("h:1", actions=[echo], slots=slots)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"identity": "x" * 257}, "identity"),
        ({"build_id": "ö" * 65}, "build_id"),
        ({"labels": {"key": "v" * 129}}, "label"),
        ({"labels": {str(number): "" for number in range(33)}}, "33 labels"),
    ],
)
def test_what_every_sec_would_refuse_is_refused_at_once(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(DefinitionError, match=problem):
        Worker("h:1", actions=[echo], **options)


def test_types_that_do_not_fit_into_a_hello_stay_out_of_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    whole = Worker("h:1", actions=[echo], identity="me")._hello.ByteSize()
    monkeypatch.setattr(limits, "HELLO_BYTES_MAX", whole - 1)
    worker = Worker("h:1", actions=[echo], identity="me")
    assert not worker._hello.actions[0].HasField("output_type")
    assert "types of the actions are too large" in caplog.text
    monkeypatch.setattr(limits, "HELLO_BYTES_MAX", 40)
    with pytest.raises(DefinitionError, match="serve fewer actions"):
        Worker("h:1", actions=[echo], identity="me")


def test_actions_must_fit_together() -> None:
    @action("gpu", pool="gpu")
    async def on_gpu() -> None: ...

    @action("far", elsewhere=True)
    async def far() -> None: ...

    with pytest.raises(DefinitionError, match="1 to 1000 actions"):
        Worker("h:1", actions=[])
    with pytest.raises(ActionError, match="given twice"):
        Worker("h:1", actions=[echo, echo])
    with pytest.raises(DefinitionError, match="slot pool 'gpu'"):
        Worker("h:1", actions=[on_gpu])
    with pytest.raises(ActionError, match="served elsewhere"):
        Worker("h:1", actions=[far])
    with pytest.raises(ActionError, match="is not an action"):
        Worker("h:1", actions=[len])  # type: ignore[list-item]
    Worker("h:1", actions=[echo, on_gpu], slots={"": 1, "gpu": 1})
