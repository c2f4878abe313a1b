"""The worker over real streams to two SECs: membership, sagas that move, calls, leaving."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import grpc
import pytest

from sagaline.actions import action
from sagaline.context import Context
from sagaline.errors import DefinitionError, WorkerError
from sagaline.v1 import worker_service_pb2 as pb
from sagaline.worker import limits
from sagaline.worker.attempts import Ref
from sagaline.worker.worker import Worker
from tests.unit.sdk_worker.driving import ack, in_flight, invocation, ref
from tests.unit.sdk_worker.scripted_sec import WAIT, ScriptedSec, ScriptedStream, running

RUNNING = pb.IN_FLIGHT_STATE_RUNNING


@action("echo")
async def echo(context: Context) -> str:
    return context.saga_id


class Gate:
    """An action that ends when the test lets it."""

    def __init__(self) -> None:
        self.entered, self.opened, self.runs = threading.Event(), threading.Event(), 0

        @action("slow")
        def slow() -> int:
            self.runs += 1
            self.entered.set()
            self.opened.wait(WAIT)
            return self.runs

        self.action = slow


@pytest.fixture
def secs(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[ScriptedSec, ScriptedSec]]:
    monkeypatch.setattr(limits, "ASTRAY_SECONDS", 0.05)
    monkeypatch.setattr(limits, "CANCEL_GRACE_SECONDS", 0.05)
    monkeypatch.setattr(limits, "HALF_CLOSE_SECONDS", 0.2)
    pair = ScriptedSec("a"), ScriptedSec("b")
    yield pair
    for sec in pair:
        sec.close()


def members(*secs: ScriptedSec, revision: int = 1) -> pb.SecSet:
    return pb.SecSet(revision=revision, secs=[sec.named() for sec in secs])


@contextmanager
def connected(worker: Worker, a: ScriptedSec, b: ScriptedSec) -> Iterator[tuple[ScriptedStream, ScriptedStream]]:
    """A worker that began with `a` and has learnt of `b`."""
    with running(worker):
        first = a.accept()
        first.welcome(secs=members(a, b))
        second = b.accept()
        second.welcome(secs=members(a, b))
        yield first, second


def until_result(stream: ScriptedStream, of: Ref) -> pb.InvocationResult:
    frame = stream.recv_until(lambda frame: any(Ref.of(result.ref) == of for result in frame.results))
    return next(result for result in frame.results if Ref.of(result.ref) == of)


def capacity(frame: pb.ConnectRequest) -> int | None:
    return frame.capacity.max_in_flight_by_pool[""] if frame.HasField("capacity") else None


def test_it_learns_of_the_others_and_serves_them_all_with_one_pool_of_slots(
    secs: tuple[ScriptedSec, ScriptedSec],
) -> None:
    a, b = secs
    with running(Worker(a.address, actions=[echo], slots=10)):
        first = a.accept()
        hello = first.welcome(secs=members(a, b))
        assert pb.WORKER_CAPABILITY_SEVERAL_SECS in hello.capabilities
        assert hello.capacity.max_in_flight_by_pool[""] == 10
        second = b.accept()
        assert second.welcome().capacity.max_in_flight_by_pool[""] == 0
        first.recv_until(lambda frame: capacity(frame) == 5)
        second.recv_until(lambda frame: capacity(frame) == 5)
        for stream, saga in ((first, "s1"), (second, "s2")):
            stream.send(invocations=[invocation(ref(saga), action="echo")])
            assert until_result(stream, ref(saga)).output.json == f'"{saga}"'


def test_a_sec_that_joins_later_is_dialled_and_one_that_left_is_let_go(
    secs: tuple[ScriptedSec, ScriptedSec],
) -> None:
    a, b = secs
    worker = Worker(a.address, actions=[echo])
    with running(worker):
        first = a.accept()
        first.welcome(secs=members(a))
        first.send(secs=members(a, b, revision=2))
        second = b.accept()
        second.welcome()
        second.send(secs=members(b, revision=3))
        first.end(grpc.StatusCode.OK)
        second.send(invocations=[invocation(ref(), action="echo")])
        until_result(second, ref())
        assert worker.connected
        assert a.streams.empty()


def test_what_runs_is_reported_to_the_sec_that_adopts_it_and_runs_once(secs: tuple[ScriptedSec, ScriptedSec]) -> None:
    gate = Gate()
    with connected(Worker(secs[0].address, actions=[gate.action]), *secs) as (first, second):
        first.send(invocations=[invocation(ref(), action="slow")])
        assert gate.entered.wait(WAIT)
        first.send(saga_moves=[pb.SagaMoved(saga_id="s1", owner=secs[1].named(), epoch=2)])
        second.send(adoptions=[pb.Adoption(saga_id="s1", epoch=2, refs=[ref().message()])])
        frame = second.recv_until(lambda frame: frame.HasField("in_flight"))
        assert in_flight(frame.in_flight) == {ref(): RUNNING}
        second.send(invocations=[invocation(ref(), action="slow", epoch=2)])
        gate.opened.set()
        assert until_result(second, ref()).epoch == 2
        assert gate.runs == 1


def test_when_a_sec_dies_its_result_is_offered_to_the_other(secs: tuple[ScriptedSec, ScriptedSec]) -> None:
    gate = Gate()
    with connected(Worker(secs[0].address, actions=[gate.action]), *secs) as (first, second):
        first.send(invocations=[invocation(ref(), action="slow")])
        assert gate.entered.wait(WAIT)
        secs[0].stop()
        gate.opened.set()
        until_result(second, ref())
        second.send(result_acks=[pb.ResultAck(ref=ref().message(), status=pb.RESULT_STATUS_RETRY)])
        second.send(adoptions=[pb.Adoption(saga_id="s1", epoch=2, refs=[ref().message()])])
        assert until_result(second, ref()).epoch == 2


def test_a_stream_that_breaks_is_opened_again_beside_the_other(secs: tuple[ScriptedSec, ScriptedSec]) -> None:
    gate = Gate()
    with connected(Worker(secs[0].address, actions=[gate.action]), *secs) as (first, second):
        second.send(invocations=[invocation(ref(), action="slow")])
        assert gate.entered.wait(WAIT)
        second.end(grpc.StatusCode.UNAVAILABLE)
        third = secs[1].accept()
        assert in_flight(third.welcome().in_flight) == {ref(): RUNNING}
        gate.opened.set()
        until_result(third, ref())
        first.send(invocations=[invocation(ref("s2"), action="slow")])
        until_result(first, ref("s2"))


def test_an_owner_without_a_stream_is_called(secs: tuple[ScriptedSec, ScriptedSec]) -> None:
    a, b = secs
    worker = Worker(a.address, actions=[echo])
    with running(worker) as ended:
        first = a.accept()
        first.welcome(secs=members(a))
        first.send(invocations=[invocation(ref(), action="echo")])
        until_result(first, ref())
        first.send(result_acks=[pb.ResultAck(ref=ref().message(), status=pb.RESULT_STATUS_NOT_OWNER, owner=b.named())])
        request = b.reports.get(timeout=WAIT)
        assert request.worker_id == worker.worker_id
        assert [Ref.of(result.ref) for result in request.results] == [ref()]
        worker.drain()
        first.send(drained=True)
        first.recv_end()
        first.end()
        assert ended.get(timeout=WAIT) is None


def test_where_the_owner_cannot_be_called_the_search_goes_on(secs: tuple[ScriptedSec, ScriptedSec]) -> None:
    a, b = secs
    b.stop()
    with running(Worker(a.address, actions=[echo])):
        first = a.accept()
        first.welcome(secs=members(a))
        first.send(invocations=[invocation(ref(), action="echo")])
        for _ in range(3):
            until_result(first, ref())
            elsewhere = pb.ResultAck(ref=ref().message(), status=pb.RESULT_STATUS_NOT_OWNER, owner=b.named())
            first.send(result_acks=[elsewhere])
        until_result(first, ref())
        first.send(result_acks=[ack(ref())])


def test_drain_says_so_on_every_stream_and_returns_when_each_has_ended(secs: tuple[ScriptedSec, ScriptedSec]) -> None:
    gate = Gate()
    worker = Worker(secs[0].address, actions=[gate.action, echo])
    with running(worker) as ended:
        first = secs[0].accept()
        first.welcome(secs=members(*secs))
        second = secs[1].accept()
        second.welcome()
        first.send(invocations=[invocation(ref(), action="slow")])
        assert gate.entered.wait(WAIT)
        worker.drain()
        for stream in (first, second):
            stream.recv_until(lambda frame: frame.HasField("drain"))
            stream.send(drained=True)
        gate.opened.set()
        until_result(first, ref())
        assert ended.empty()
        first.send(result_acks=[ack(ref())])
        for stream in (first, second):
            stream.recv_end()
            stream.end()
        assert ended.get(timeout=WAIT) is None


def test_a_sec_that_dies_does_not_hold_the_drain_up(secs: tuple[ScriptedSec, ScriptedSec]) -> None:
    worker = Worker(secs[0].address, actions=[echo])
    with running(worker) as ended:
        first = secs[0].accept()
        first.welcome(secs=members(*secs))
        secs[1].accept().welcome()
        secs[1].stop()
        worker.drain(timedelta(seconds=30))
        first.recv_until(lambda frame: frame.HasField("drain"))
        first.send(drained=True)
        first.recv_end()
        first.end()
        assert ended.get(timeout=WAIT) is None


def test_a_worker_that_leaves_at_once_leaves_every_sec(secs: tuple[ScriptedSec, ScriptedSec]) -> None:
    gate = Gate()
    worker = Worker(secs[0].address, actions=[gate.action])
    with running(worker) as ended:
        first = secs[0].accept()
        first.welcome(secs=members(*secs))
        second = secs[1].accept()
        second.welcome()
        first.send(invocations=[invocation(ref(), action="slow")])
        assert gate.entered.wait(WAIT)
        worker.drain(timedelta(0))
        for stream in (first, second):
            assert stream.ended.wait(WAIT)
        assert ended.get(timeout=WAIT) is None
    gate.opened.set()


def test_another_process_with_its_id_ends_the_worker_on_every_stream(secs: tuple[ScriptedSec, ScriptedSec]) -> None:
    worker = Worker(secs[0].address, actions=[echo])
    with running(worker) as ended:
        first = secs[0].accept()
        first.welcome(secs=members(*secs))
        second = secs[1].accept()
        second.welcome()
        second.recv_until(capacity)
        first.send(go_away=pb.GoAway(reason=pb.GO_AWAY_REASON_REPLACED))
        second.recv_until(lambda frame: frame.HasField("drain"))
        second.send(drained=True)
        second.recv_end()
        second.end()
        assert isinstance(ended.get(timeout=WAIT), WorkerError)


def test_of_several_addresses_one_that_answers_is_enough(secs: tuple[ScriptedSec, ScriptedSec]) -> None:
    a, b = secs
    b.stop()
    with running(Worker(f"{b.address}, {a.address}", actions=[echo])):
        stream = a.accept()
        stream.welcome()
        stream.send(invocations=[invocation(ref(), action="echo")])
        until_result(stream, ref())


def test_addresses_come_as_a_list_too() -> None:
    worker = Worker(["h:1", "h:2,h:1"], actions=[echo])
    assert worker._addresses == ["h:1", "h:2"]
    with pytest.raises(DefinitionError, match="'h' is not the address"):
        Worker("h:1,h", actions=[echo])
    with pytest.raises(DefinitionError, match="host:port"):
        Worker([], actions=[echo])


def test_refused_actions_are_those_of_every_sec(secs: tuple[ScriptedSec, ScriptedSec]) -> None:
    a, b = secs
    worker = Worker(a.address, actions=[echo])
    with running(worker):
        first = a.accept()
        first.welcome(secs=members(a, b))
        second = b.accept()
        second.welcome(refused_actions={"echo": "not here"})
        second.send(reconcile=pb.Reconcile())
        second.recv_until(lambda frame: frame.HasField("in_flight"))
        assert worker.refused_actions == {"echo": "not here"}
