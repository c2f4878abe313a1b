"""The context: what it tells, what it can be asked, and latches that threads and coroutines wait for alike."""

from __future__ import annotations

import asyncio
import threading
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from sagaline.context import CancelReason, Context, Kind, current_context, enter_context
from sagaline.errors import AttemptCancelled, ConversionError, FailureInfo
from sagaline.latch import Latch
from sagaline.v1 import failure_pb2, payload_pb2
from sagaline.v1 import worker_service_pb2 as pb
from tests.unit.sdk_worker.driving import UNDO, invocation, ref

WAIT = 10.0


def context(message: pb.Invocation | None = None) -> tuple[Context, list[payload_pb2.Payload | None]]:
    told: list[payload_pb2.Payload | None] = []
    return Context(message or invocation(ref()), told.append), told


def test_it_tells_what_the_sec_sent() -> None:
    message = invocation(ref("s1", "server/pick", attempt=3), epoch=4)
    message.labels["tenant"] = "t1"
    message.trace_context["traceparent"] = "00-1-2-01"
    made, _ = context(message)
    assert (made.saga_id, made.node, made.kind, made.attempt) == ("s1", "server/pick", Kind.ACTION, 3)
    assert (made.action, made.version, made.epoch, made.fencing_token) == ("charge", "1", 4, 3)
    assert made.idempotency_key == "s1/server/pick/action"
    assert made.labels == {"tenant": "t1"}
    assert made.trace_context == {"traceparent": "00-1-2-01"}
    assert made.undo is None
    assert made.last_progress() is None
    assert (made.remaining, made.deadline, made.heartbeat_timeout) == (None, None, None)


def test_an_undo_is_told_of_its_action() -> None:
    message = invocation(ref(kind=UNDO))
    message.undo.action_outcome = pb.ACTION_OUTCOME_UNKNOWN
    message.undo.action_idempotency_key = "s1/pay/action"
    message.undo.saga_failure.CopyFrom(failure_pb2.Failure(type="Declined", message="no funds"))
    made, _ = context(message)
    assert made.kind is Kind.UNDO
    assert made.undo is not None
    assert not made.undo.action_succeeded
    assert made.undo.action_idempotency_key == "s1/pay/action"
    assert made.undo.saga_failure == FailureInfo("Declined", "no funds")


def test_time_left_never_goes_below_nothing() -> None:
    made, _ = context(invocation(ref(), start_to_close=60.0))
    assert made.remaining is not None
    assert timedelta(seconds=59) < made.remaining <= timedelta(seconds=60)
    assert made.deadline is not None
    assert timedelta(seconds=58) < made.deadline - datetime.now(UTC) <= timedelta(seconds=60)
    over, _ = context(invocation(ref(), start_to_close=0.0))
    assert over.remaining == timedelta(0)


def test_a_stable_id_is_that_of_the_node_whatever_side_and_attempt() -> None:
    action, _ = context(invocation(ref(attempt=1)))
    undo, _ = context(invocation(ref(kind=UNDO, attempt=5)))
    other, _ = context(invocation(ref(node="b")))
    assert action.stable_id("row") == undo.stable_id("row")
    assert len({action.stable_id("row"), action.stable_id("row2"), other.stable_id("row")}) == 3
    expected = uuid.uuid5(uuid.UUID("81a05ee2-a37c-5762-a96f-1edde0101c46"), "s1\npay\nrow")
    assert action.stable_id("row") == expected, "the same in every SDK, for ever"


def test_stable_ids_do_not_mix_up_node_and_name() -> None:
    outer, _ = context(invocation(ref(node="a/b")))
    inner, _ = context(invocation(ref(node="a")))
    assert outer.stable_id("c") != inner.stable_id("b/c")


def test_a_heartbeat_carries_details_as_a_payload() -> None:
    made, told = context()
    made.heartbeat({"done": 3})
    made.heartbeat()
    assert told == [payload_pb2.Payload(json='{"done":3}'), None]
    with pytest.raises(ConversionError):
        made.heartbeat(object())


def test_the_last_progress_is_what_an_earlier_attempt_reported() -> None:
    message = invocation(ref(attempt=2))
    message.last_progress.json = '{"done": 3}'
    made, _ = context(message)
    assert made.last_progress() == {"done": 3}
    assert made.last_progress(dict[str, int]) == {"done": 3}


def test_cancelled_says_why_and_the_first_reason_stands() -> None:
    made, _ = context()
    made.check_cancelled()
    assert not made.cancelled
    made.cancel(CancelReason.TIMED_OUT)
    made.cancel(CancelReason.SAGA_UNWINDING)
    assert made.cancelled
    assert made.cancel_reason is CancelReason.TIMED_OUT
    with pytest.raises(AttemptCancelled, match="timed_out"):
        made.check_cancelled()


def test_there_is_a_current_context_only_where_an_action_runs() -> None:
    made, _ = context()
    found: list[object] = []

    def look() -> None:
        with pytest.raises(LookupError, match="no action runs here"):
            current_context()
        enter_context(made)
        found.append(current_context())

    thread = threading.Thread(target=look)
    thread.start()
    thread.join(WAIT)
    assert found == [made]


# ---- latches


def test_a_thread_waits_until_the_latch_is_set() -> None:
    latch = Latch()
    assert latch.wait(0) is False
    assert latch.wait(0.001) is False
    waiting = threading.Thread(target=latch.wait, args=(WAIT,))
    waiting.start()
    latch.set()
    waiting.join(WAIT)
    assert not waiting.is_alive()
    assert latch.wait()
    assert latch.is_set()


async def test_a_coroutine_waits_until_a_thread_sets_the_latch() -> None:
    latch = Latch()

    async def wait() -> None:
        await latch

    waiting = [asyncio.create_task(wait()) for _ in range(3)]
    await asyncio.sleep(0)
    waiting.pop().cancel()
    await asyncio.to_thread(latch.set)
    await asyncio.wait_for(asyncio.gather(*waiting), WAIT)
    await asyncio.wait_for(wait(), WAIT)
    assert latch._waiters is None


async def test_waiters_that_give_up_are_forgotten() -> None:
    latch = Latch()

    async def wait() -> None:
        await latch

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task], timeout=WAIT)
    assert latch._waiters == []
