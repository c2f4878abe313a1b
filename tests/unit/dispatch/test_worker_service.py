"""Worker streams over a real gRPC server: what a worker hears for what it says, and how streams end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import msgspec
import pytest
import structlog

from sagaline.v1 import failure_pb2, payload_pb2, saga_pb2
from sagaline.v1 import worker_service_pb2 as pb
from sagaline_server.core import limits
from sagaline_server.core.decide import ResultFate
from sagaline_server.core.entries import Kind
from sagaline_server.core.values import Disposition, Payload
from sagaline_server.ports.sagas import NotTaken
from tests.unit.dispatch.messages import ACT, hello, invocation, key, ref, report, work
from tests.unit.dispatch.serving import TIMES, Site, served

INVALID = grpc.StatusCode.INVALID_ARGUMENT
OUTPUT = payload_pb2.Payload(json='"done"')


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with served() as site:
        yield site


def start(site: Site, *nodes: str, payload_bytes: int = 0) -> None:
    """Start attempts on the worker "w", as the runtime does."""
    for node in nodes:
        assert site.dispatcher.reserve(ACT) == "w"
        site.dispatcher.send("s", work("w", node), invocation(key(node), payload_bytes))


def result(node: str) -> pb.InvocationResult:
    return pb.InvocationResult(ref=ref(key(node)), output=OUTPUT)


# ---- the first frame


async def test_a_worker_is_welcomed(site: Site) -> None:
    talk = site.open()
    await talk.say(hello=hello())
    frame = await talk.hear()
    assert frame.sequence == 1
    welcome = frame.welcome
    assert (welcome.protocol_version, welcome.sec_id, welcome.incarnation) == (1, "sec-1", 7)
    assert (welcome.max_frame_bytes, welcome.max_payload_bytes) == (limits.FRAME_BYTES, limits.PAYLOAD_BYTES)
    assert welcome.heartbeat_timeout.seconds == TIMES.heartbeat_timeout
    assert welcome.session_grace_timeout.seconds == site.dispatcher.grace
    assert [sec.address for sec in welcome.secs.secs] == ["sec-1:7070"]


def named(**fields: Any) -> pb.Hello:
    given = hello()
    for name, value in fields.items():
        setattr(given, name, value)
    return given


WRONG_HELLOS: dict[str, pb.ConnectRequest] = {
    "carries hello": pb.ConnectRequest(heartbeat=pb.Heartbeat(nonce=1)),
    "hello.worker_id": pb.ConnectRequest(hello=named(worker_id="a/b")),
    "hello.protocol_version": pb.ConnectRequest(hello=named(protocol_version=0)),
    "hello.stream_epoch": pb.ConnectRequest(hello=named(stream_epoch=0)),
    "hello.identity": pb.ConnectRequest(hello=named(identity="é" * 129)),
    "hello.build_id": pb.ConnectRequest(hello=named(build_id="b" * 129)),
    "hello.sdk": pb.ConnectRequest(hello=named(sdk="s" * 129)),
    "hello.actions": pb.ConnectRequest(hello=hello(actions=[pb.ActionSpec(action="a")] * 1_001)),
    "ref.kind": pb.ConnectRequest(
        hello=hello(in_flight=pb.InFlightReport(entries=[pb.InFlightEntry(ref=pb.InvocationRef(saga_id="s"))]))
    ),
    "the state of an attempt": pb.ConnectRequest(
        hello=hello(in_flight=pb.InFlightReport(entries=[pb.InFlightEntry(ref=ref(key("a")))]))
    ),
}


@pytest.mark.parametrize("said", WRONG_HELLOS)
async def test_a_first_frame_that_is_no_hello_is_refused(site: Site, said: str) -> None:
    talk = site.open()
    await talk.call.write(WRONG_HELLOS[said])
    code, details = await talk.refusal()
    assert code is INVALID
    assert said in details
    assert not site.dispatcher.sessions


async def test_a_stream_that_ends_before_its_first_frame(site: Site) -> None:
    talk = site.open()
    await talk.call.done_writing()
    assert (await talk.refusal())[0] is INVALID


async def test_a_stream_without_a_first_frame_is_not_waited_for(site: Site) -> None:
    talk = site.open()
    assert (await talk.refusal())[0] is grpc.StatusCode.DEADLINE_EXCEEDED


@pytest.mark.parametrize("why", ["leaving", "not ready"])
async def test_a_sec_that_leaves_or_is_not_ready_takes_no_workers(site: Site, why: str) -> None:
    site.service.leaving = why == "leaving"
    site.sagas.is_serving = why == "leaving"
    talk = site.open()
    await talk.say(hello=hello(in_flight=report([key("a")])))
    assert (await talk.refusal())[0] is grpc.StatusCode.UNAVAILABLE
    assert not site.dispatcher.sessions


async def test_actions_that_cannot_be_served_are_named_and_the_others_are_served(site: Site) -> None:
    actions = [
        pb.ActionSpec(action="good"),
        pb.ActionSpec(action="bad name"),
        pb.ActionSpec(action="bad-version", versions=["1", "a b"]),
        pb.ActionSpec(action="bad-side", kinds=[saga_pb2.INVOCATION_KIND_UNSPECIFIED]),
    ]
    talk = site.open()
    await talk.say(hello=hello(actions=actions))
    refused = (await talk.hear()).welcome.refused_actions
    assert set(refused) == {"bad name", "bad-version", "bad-side"}
    assert {action for action, _, _ in site.session().served} == {"good"}


async def test_work_that_waits_when_a_worker_connects_starts_at_once(site: Site) -> None:
    """The welcome is on its way first; no frame of the worker's has to come."""
    site.dispatcher.wait("s", 4, ACT)
    await site.connect()
    assert site.sagas.offers == [("s", 4, Kind.ACTION, "w")]


async def test_the_welcome_is_in_the_first_frame_however_much_else_there_is_to_say(site: Site) -> None:
    site.sagas.live, site.sagas.over = set(), {"s"}
    held = [key(f"n{number}") for number in range(6_000)]
    talk = site.open()
    await talk.say(hello=hello(in_flight=report(held)))
    first = await talk.hear()
    assert first.HasField("welcome")
    cancelled = len(first.cancellations)
    while cancelled < len(held):
        frame = await talk.hear()
        assert not frame.HasField("welcome")
        cancelled += len(frame.cancellations)


# ---- work and its end


async def test_an_invocation_and_the_acknowledgement_of_its_result(site: Site) -> None:
    talk = await site.connect(hello(window=1))
    start(site, "a")
    frame = await talk.hear_until(lambda frame: frame.invocations)
    assert [each.ref for each in frame.invocations] == [ref(key("a"))]
    await talk.say(results=[result("a")], ack_sequence=frame.sequence)
    await site.until(lambda: site.sagas.results)
    ((saga_id, given, on_fate),) = site.sagas.results
    assert (saga_id, given.node, given.attempt) == ("s", "a", 1)
    assert given.output is not None
    assert given.output.json == '"done"'
    assert site.session().has_room(ACT), "the slot is free with the result, before it is durable"
    assert not any(frame.result_acks for frame in talk.frames), "nothing is acknowledged before it is durable"
    on_fate(ResultFate.RECORDED)
    frame = await talk.hear_until(lambda frame: frame.result_acks)
    assert list(frame.result_acks) == [pb.ResultAck(ref=ref(key("a")), status=pb.RESULT_STATUS_RECORDED)]


@pytest.mark.parametrize(
    ("fate", "status"),
    [
        (ResultFate.DUPLICATE, pb.RESULT_STATUS_DUPLICATE),
        (ResultFate.SUPERSEDED, pb.RESULT_STATUS_SUPERSEDED),
        (ResultFate.NOT_FOUND, pb.RESULT_STATUS_NOT_FOUND),
        (NotTaken.NOT_FOUND, pb.RESULT_STATUS_NOT_FOUND),
        (NotTaken.MOVED, pb.RESULT_STATUS_NOT_OWNER),
        (NotTaken.RETRY, pb.RESULT_STATUS_RETRY),
    ],
)
async def test_the_fates_of_results(site: Site, fate: ResultFate | NotTaken, status: int) -> None:
    site.sagas.owners["s"] = ("sec-2", "sec-2:7070")
    talk = await site.connect()
    await talk.say(results=[result("a")])
    await site.until(lambda: site.sagas.results)
    site.sagas.results[0][2](fate)
    (ack,) = (await talk.hear_until(lambda frame: frame.result_acks)).result_acks
    assert ack.status == status
    assert ack.HasField("retry_delay") is (fate is NotTaken.RETRY)
    assert ack.owner.address == ("sec-2:7070" if fate is NotTaken.MOVED else "")


async def test_an_output_over_the_limit_becomes_a_failure_that_an_operator_sees(site: Site) -> None:
    talk = await site.connect()
    large = payload_pb2.Payload(json='"' + "x" * limits.PAYLOAD_BYTES + '"')
    await talk.say(results=[pb.InvocationResult(ref=ref(key("a")), output=large)])
    await site.until(lambda: site.sagas.results)
    _, given, on_fate = site.sagas.results[0]
    assert given.failure is not None
    assert (given.failure.type, given.failure.disposition) == ("sagaline.PayloadTooLarge", Disposition.HOLD)
    on_fate(ResultFate.RECORDED)
    (ack,) = (await talk.hear_until(lambda frame: frame.result_acks)).result_acks
    assert ack.status == pb.RESULT_STATUS_INVALID


async def test_a_failure_reaches_the_saga_as_the_worker_says_it(site: Site) -> None:
    talk = await site.connect()
    failure = failure_pb2.Failure(type="Full", message="no room", disposition=failure_pb2.FAILURE_DISPOSITION_FAIL)
    await talk.say(results=[pb.InvocationResult(ref=ref(key("a")), failure=failure)])
    await site.until(lambda: site.sagas.results)
    given = site.sagas.results[0][1]
    assert given.failure is not None
    assert (given.failure.type, given.failure.message, given.failure.disposition) == (
        ("Full", "no room", Disposition.FAIL)
    )


async def test_a_rejection_frees_its_slot_and_one_that_is_for_good_is_remembered(site: Site) -> None:
    talk = await site.connect(hello(window=1))
    start(site, "a")
    await talk.hear_until(lambda frame: frame.invocations)
    full = pb.Rejection(ref=ref(key("a")), reason=pb.REJECTION_REASON_NO_CAPACITY)
    await talk.say(rejections=[full, full])
    await site.until(lambda: site.sagas.ends)
    assert site.sagas.rejected() == ["a"], "said twice it counts once"
    start(site, "b")
    unknown = pb.Rejection(ref=ref(key("b")), reason=pb.REJECTION_REASON_UNKNOWN_ACTION)
    await talk.say(rejections=[unknown])
    await site.until(lambda: len(site.sagas.ends) == 2)
    assert site.dispatcher.reserve(ACT) is None


async def test_a_frame_that_makes_room_is_used_at_once(site: Site) -> None:
    talk = await site.connect(hello(window=0))
    site.dispatcher.wait("s", 0, ACT)
    await talk.say(capacity=pb.Capacity(max_in_flight_by_pool={"": 1}))
    await site.until(lambda: site.sagas.offers)


async def test_heartbeats_are_sent_back_and_receipts_are_counted(site: Site) -> None:
    talk = await site.connect()
    await talk.say(heartbeat=pb.Heartbeat(nonce=41), ack_sequence=1)
    await talk.say(heartbeat=pb.Heartbeat(nonce=42), ack_sequence=1)
    await talk.hear_until(lambda frame: frame.heartbeat_nonce == 42)
    assert site.session().oldest_unreceived == 2


async def test_a_worker_that_drains_is_told_when_nothing_more_will_come(site: Site) -> None:
    talk = await site.connect(hello(window=5))
    start(site, "a")
    await talk.say(drain=pb.Drain(reason="deploy"))
    drained = await talk.hear_until(lambda frame: frame.drained)
    assert site.session().draining
    assert site.dispatcher.reserve(ACT) is None
    assert [each.ref.node for frame in talk.frames for each in frame.invocations] == ["a"]
    await talk.say(results=[result("a")], ack_sequence=drained.sequence)
    await site.until(lambda: site.sagas.results)
    site.sagas.results[0][2](ResultFate.RECORDED)
    await talk.hear_until(lambda frame: frame.result_acks)
    await talk.call.done_writing()
    assert await talk.end() is grpc.StatusCode.OK
    await site.until(lambda: not site.dispatcher.sessions)


def window_of(site: Site) -> int:
    return site.session().capacity().max_in_flight_by_pool[""]


# ---- streams that end


async def test_a_newer_stream_replaces_the_older_one(site: Site) -> None:
    older = await site.connect(hello(window=5))
    start(site, "a")
    await older.hear_until(lambda frame: frame.invocations)
    newer = await site.connect(hello(epoch=2, window=5, in_flight=report([key("a")])))
    assert await older.end() is grpc.StatusCode.OK
    assert older.go_away.reason == pb.GO_AWAY_REASON_REPLACED
    assert [frame.sequence for frame in older.frames] == list(range(1, len(older.frames) + 1))
    assert site.session().attached
    assert not site.sagas.ends
    start(site, "b")
    assert [each.ref.node for each in (await newer.hear_until(lambda frame: frame.invocations)).invocations] == ["b"]


async def test_the_end_of_a_stream_does_not_end_the_newer_one(site: Site) -> None:
    for epoch in range(1, 30):
        talk = await site.connect(hello(epoch=epoch))
        talk.call.cancel()
    await site.connect(hello(epoch=30))
    assert site.session().attached
    assert site.session().stream_epoch == 30


@pytest.mark.parametrize("ended", [False, True])
async def test_an_older_hello_is_refused_even_when_the_newer_stream_has_ended(site: Site, ended: bool) -> None:
    """What it lists was true before the newer stream: attempts sent on that one would count as never sent."""
    newer = await site.connect(hello(epoch=5))
    start(site, "a")
    if ended:
        newer.call.cancel()
        await site.until(lambda: not site.session().attached)
    for epoch in (4, 5):
        late = site.open()
        await late.say(hello=hello(epoch=epoch))
        assert (await late.refusal())[0] is grpc.StatusCode.ABORTED
    assert not site.sagas.ends
    assert site.session().attached is not ended


BROKEN: dict[str, pb.ConnectRequest] = {
    "hello is for the first frame": pb.ConnectRequest(hello=hello(epoch=2)),
    "ref.kind": pb.ConnectRequest(results=[pb.InvocationResult(ref=pb.InvocationRef(saga_id="s", node="a"))]),
    "ack_sequence 99": pb.ConnectRequest(ack_sequence=99),
    "state": pb.ConnectRequest(in_flight=pb.InFlightReport(entries=[pb.InFlightEntry(ref=ref(key("a")))])),
}


@pytest.mark.parametrize("said", BROKEN)
async def test_a_frame_that_breaks_the_protocol_ends_the_stream_and_says_why(site: Site, said: str) -> None:
    talk = await site.connect()
    with structlog.testing.capture_logs() as logs:
        await talk.call.write(BROKEN[said])
        assert await talk.end() is grpc.StatusCode.OK
    assert talk.go_away.reason == pb.GO_AWAY_REASON_PROTOCOL_ERROR
    assert said in talk.go_away.message
    assert "worker_broke_protocol" in [entry["event"] for entry in logs]
    await site.until(lambda: not site.session().attached)


async def test_a_stream_that_breaks_leaves_its_attempts_to_the_grace_time(site: Site) -> None:
    talk = await site.connect()
    start(site, "a")
    talk.call.cancel()
    await site.until(lambda: not site.session().attached)
    assert set(site.session().in_flight) == {key("a")}
    site.clock.now += site.dispatcher.grace
    await site.until(lambda: site.sagas.ends)
    assert site.sagas.lost() == [("a", False)]


async def test_an_idle_stream_is_kept_alive(site: Site) -> None:
    talk = await site.connect()
    site.clock.now += TIMES.heartbeat_interval
    frame = await talk.hear()
    assert frame == pb.ConnectResponse(sequence=2)


async def test_a_worker_is_asked_now_and_then_what_it_holds(site: Site) -> None:
    talk = await site.connect()
    start(site, "a")
    sent = await talk.hear_until(lambda frame: frame.invocations)
    await talk.say(ack_sequence=sent.sequence, heartbeat=pb.Heartbeat(nonce=1))
    await talk.hear_until(lambda frame: frame.heartbeat_nonce)
    for _ in range(6):
        site.clock.now += TIMES.reconcile_interval / 6
        await talk.say(ack_sequence=talk.frames[-1].sequence, heartbeat=pb.Heartbeat(nonce=2))
        await talk.hear_until(lambda frame: frame.heartbeat_nonce or frame.HasField("reconcile"))
    if not talk.frames[-1].HasField("reconcile"):
        await talk.hear_until(lambda frame: frame.HasField("reconcile"))
    await talk.say(in_flight=report())
    await site.until(lambda: site.sagas.ends)
    assert site.sagas.lost() == [("a", True)]


async def test_a_silent_worker_is_given_up(site: Site) -> None:
    talk = await site.connect()
    start(site, "a")
    await talk.hear_until(lambda frame: frame.invocations)
    await site.until(lambda: not any(stream._is_sending for stream in site.service._streams))  # else it would be cut
    with structlog.testing.capture_logs() as logs:
        site.clock.now += TIMES.heartbeat_timeout + 1
        await site.until(lambda: not site.session().attached)
    assert "worker_silent" in [entry["event"] for entry in logs]
    assert await talk.end() is grpc.StatusCode.OK, "it hears of it, if it hears anything"
    assert set(site.session().in_flight) == {key("a")}


@pytest.mark.parametrize("payload_bytes", [0, 400_000], ids=["and frames fit", "and the connection is full"])
async def test_a_worker_that_reads_nothing_is_given_up(site: Site, payload_bytes: int) -> None:
    """Also where the writer is stuck, and nothing but a cancellation reaches it."""
    talk = await site.connect(hello(window=9))
    start(site, *(f"n{number}" for number in range(9)), payload_bytes=payload_bytes)
    with structlog.testing.capture_logs() as logs:
        window = 9
        while site.session().attached:
            site.clock.now += TIMES.heartbeat_timeout / 4
            window += 1
            await talk.say(capacity=pb.Capacity(max_in_flight_by_pool={"": window}))
            await site.until(lambda: not site.session().attached or window_of(site) == window)  # noqa: B023
    assert "worker_reads_nothing" in [entry["event"] for entry in logs]
    assert len(site.session().in_flight) == 9


async def test_a_sec_that_leaves_tells_its_workers(site: Site) -> None:
    talk = await site.connect()
    await site.service.leave()
    assert await talk.end() is grpc.StatusCode.OK
    assert talk.go_away.reason == pb.GO_AWAY_REASON_SHUTDOWN
    assert not site.session().attached


async def test_a_sec_that_leaves_takes_what_is_in_flight_and_dispatches_nothing_more(site: Site) -> None:
    """Its streams end when the last result is acknowledged (W54)."""
    talk = await site.connect(hello(window=5))
    start(site, "a")
    await talk.hear_until(lambda frame: frame.invocations)
    leaving = asyncio.create_task(site.service.leave())
    frame = await talk.hear_until(lambda frame: frame.HasField("go_away"))
    assert frame.go_away.timeout.ToTimedelta().total_seconds() == TIMES.leave
    assert not site.session().has_room(ACT)
    await talk.say(results=[result("a")])
    await site.until(lambda: site.sagas.results)
    assert site.session().is_idle
    assert not leaving.done(), "it is not durable yet"
    site.sagas.results[0][2](ResultFate.RECORDED)
    assert await talk.end() is grpc.StatusCode.OK
    assert [ack.status for frame in talk.frames for ack in frame.result_acks] == [pb.RESULT_STATUS_RECORDED]
    await leaving


async def test_a_sec_that_leaves_waits_no_longer_than_it_says() -> None:
    async with served(msgspec.structs.replace(TIMES, leave=0.1)) as site:
        talk = await site.connect(hello(window=5))
        start(site, "a")
        await talk.hear_until(lambda frame: frame.invocations)
        await site.service.leave()
        assert await talk.end() is grpc.StatusCode.OK
        assert set(site.session().in_flight) == {key("a")}, "it is with the worker still, and nobody says otherwise"


async def test_workers_hear_of_changes_among_the_secs(site: Site) -> None:
    talk = await site.connect()
    site.service.push_members()
    frame = await talk.hear_until(lambda frame: frame.HasField("secs"))
    assert frame.secs.revision == 3
    response = await site.stub.GetMembership(pb.GetMembershipRequest())
    assert response.secs == frame.secs


# ---- results without a stream


async def test_results_are_taken_without_a_stream(site: Site) -> None:
    talk = await site.connect(hello(window=1))
    start(site, "a")
    site.dispatcher.wait("s", 1, ACT)
    call = site.stub.ReportResults(pb.ReportResultsRequest(worker_id="w", results=[result("a"), result("b")]))
    await site.until(lambda: len(site.sagas.results) == 2)
    assert site.sagas.offers == [("s", 1, Kind.ACTION, "w")], "the slot is used again"
    site.sagas.results[0][2](ResultFate.RECORDED)
    site.sagas.results[1][2](NotTaken.NOT_FOUND)
    acks = (await call).result_acks
    assert [(ack.ref.node, ack.status) for ack in acks] == [
        ("a", pb.RESULT_STATUS_RECORDED),
        ("b", pb.RESULT_STATUS_NOT_FOUND),
    ]
    assert not any(frame.result_acks for frame in talk.frames)


@pytest.mark.parametrize(
    "request_",
    [
        pb.ReportResultsRequest(worker_id="w"),
        pb.ReportResultsRequest(results=[result("a")]),
        pb.ReportResultsRequest(worker_id="w", results=[result("a")] * 1_001),
        pb.ReportResultsRequest(worker_id="w", results=[result("a"), pb.InvocationResult()]),
    ],
    ids=["none", "of nobody", "too many", "one without a kind"],
)
async def test_wrong_reports_are_refused_whole(site: Site, request_: pb.ReportResultsRequest) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await site.stub.ReportResults(request_)
    assert caught.value.code() is INVALID
    assert not site.sagas.results


async def test_progress_reaches_the_owner_of_the_saga(site: Site) -> None:
    """Only of what the worker holds; details that are too large say that the attempt is alive, and no more."""
    talk = await site.connect()
    site.session().adopt(key("a"), ACT)
    large = payload_pb2.Payload(json='"' + "x" * limits.PROGRESS_BYTES + '"')
    told = [
        pb.Progress(ref=ref(key("a")), details=payload_pb2.Payload(json="1")),
        pb.Progress(ref=ref(key("a"))),
        pb.Progress(ref=ref(key("a")), details=large),
        pb.Progress(ref=ref(key("b"))),
    ]
    await talk.say(progress=told, heartbeat=pb.Heartbeat(nonce=7))
    await talk.hear_until(lambda frame: frame.heartbeat_nonce == 7)
    assert site.sagas.progress == [
        ("s", "a", Kind.ACTION, 1, Payload(json="1")),
        ("s", "a", Kind.ACTION, 1, None),
        ("s", "a", Kind.ACTION, 1, None),
    ]
