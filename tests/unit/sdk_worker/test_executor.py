"""User code: where it runs, and what outcome each way of ending is."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from datetime import timedelta
from typing import Any

import pytest

from sagaline.actions import Action, action
from sagaline.context import Context, current_context
from sagaline.errors import Failed, Hold, Retry
from sagaline.v1 import failure_pb2, payload_pb2
from sagaline.v1 import worker_service_pb2 as pb
from sagaline.worker import outcomes
from sagaline.worker.attempts import Attempt, CancelReason, Ref
from sagaline.worker.executor import Executor
from sagaline.worker.inbox import Inbox
from sagaline.worker.served import Catalog
from tests.unit.sdk_worker.driving import UNDO, invocation, ref

WAIT = 10.0
FAIL, HOLD, RETRY = (
    failure_pb2.FAILURE_DISPOSITION_FAIL,
    failure_pb2.FAILURE_DISPOSITION_HOLD,
    failure_pb2.FAILURE_DISPOSITION_RETRY,
)
APPLICATION, CANCELLED, CONVERSION, TIMEOUT = (
    failure_pb2.FAILURE_SOURCE_APPLICATION,
    failure_pb2.FAILURE_SOURCE_CANCELLED,
    failure_pb2.FAILURE_SOURCE_CONVERSION,
    failure_pb2.FAILURE_SOURCE_TIMEOUT,
)


class Bench:
    """An executor, and the I/O side of it."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.woken = asyncio.Event()
        self.wakes = 0
        self.inbox = Inbox(self._call_wake)
        self.ends: dict[Ref, object] = {}
        self.batches: list[int] = []
        self.progress: dict[Ref, payload_pb2.Payload | None] = {}
        self.executor: Executor

    def _call_wake(self) -> None:
        self.loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        self.wakes += 1
        progress, ends = self.inbox.take()
        self.progress.update(progress)
        self.batches.append(len(ends))
        for of, outcome in ends:
            self.executor.ended(of)
            self.ends[of] = outcome
        self.woken.set()

    def serve(self, *actions: Action[Any, Any], stack_traces: bool = False, threads: int = 4) -> None:
        catalog = Catalog(actions, [""])
        self.executor = Executor(catalog.runnables, self.inbox, threads_max=threads, stack_traces=stack_traces)

    def start(self, *messages: pb.Invocation) -> None:
        self.executor.start(Attempt(Ref.of(message.ref), message, "", "sec", message.epoch) for message in messages)

    async def wait_for(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT):
            while not condition():
                self.woken.clear()
                await self.woken.wait()

    async def outcome(self, of: Ref | None = None) -> Any:
        of = of or ref()
        await self.wait_for(lambda: of in self.ends)
        return self.ends[of]

    async def run(self, *served: Action[Any, Any], **inputs: str) -> Any:
        """Serve one action, run it once, return its outcome."""
        self.serve(*served)
        self.start(call(served[0], ref(), **inputs))
        return await self.outcome()


def call(of: Action[Any, Any], name: Ref | None = None, **inputs: str) -> pb.Invocation:
    message = invocation(name or ref(), action=of.name)
    for key, json in inputs.items():
        message.inputs[key].json = json
    return message


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    yield bench
    assert await asyncio.to_thread(bench.executor.close, WAIT) == 0


# ---- where it runs


async def test_a_coroutine_runs_on_the_users_loop_with_its_context(bench: Bench) -> None:
    seen: list[object] = []

    @action("double")
    async def double(context: Context, number: int) -> int:
        seen.extend([asyncio.get_running_loop(), current_context() is context, context.node])
        return number * 2

    assert await bench.run(double, number="21") == payload_pb2.Payload(json="42")
    assert seen == [bench.loop, True, "pay"]


async def test_a_function_runs_in_a_thread_with_its_context(bench: Bench) -> None:
    seen: list[object] = []

    @action("double")
    def double(number: int) -> int:
        seen.extend([threading.current_thread().name, current_context().node])
        return number * 2

    assert await bench.run(double, number="21") == payload_pb2.Payload(json="42")
    assert seen == ["sagaline-action-0", "pay"]


async def test_an_undo_gets_inputs_and_output_and_its_return_is_ignored(bench: Bench) -> None:
    seen: list[object] = []

    @action("reserve")
    async def reserve(room: str) -> int:
        return 7

    @reserve.undo
    async def release(room: str, *, output: int | None) -> None:
        seen.append((room, output))

    message = call(reserve, ref(kind=UNDO), room='"12"')
    message.undo.action_outcome = pb.ACTION_OUTCOME_SUCCEEDED
    message.undo.action_output.json = "7"
    bench.serve(reserve)
    bench.start(message)
    assert await bench.outcome(ref(kind=UNDO)) == payload_pb2.Payload(json="null")
    assert seen == [("12", 7)]


async def test_the_users_context_variables_are_there_and_do_not_leak_between_attempts(bench: Bench) -> None:
    variable: ContextVar[str] = ContextVar("variable")
    variable.set("of the program")
    seen: list[str] = []

    @action("look")
    def look() -> None:
        seen.append(variable.get())
        variable.set("of the attempt")

    bench.serve(look, threads=1)
    bench.start(call(look, ref("s1")), call(look, ref("s2")))
    await bench.outcome(ref("s1"))
    await bench.outcome(ref("s2"))
    assert seen == ["of the program"] * 2


async def test_the_ends_of_one_turn_of_the_loop_are_one_batch(bench: Bench) -> None:
    @action("nothing")
    async def nothing() -> None:
        pass

    bench.serve(nothing)
    bench.start(*(call(nothing, ref(f"s{number}")) for number in range(50)))
    await bench.outcome(ref("s49"))
    assert bench.batches == [50]


async def test_threads_are_bounded_reused_and_more_calls_wait(bench: Bench) -> None:
    gate, names = threading.Event(), set()

    @action("wait")
    def wait() -> None:
        names.add(threading.current_thread().name)
        gate.wait(WAIT)

    bench.serve(wait, threads=2)
    bench.start(*(call(wait, ref(f"s{number}")) for number in range(6)))
    gate.set()
    for number in range(6):
        assert await bench.outcome(ref(f"s{number}"))
    assert names <= {"sagaline-action-0", "sagaline-action-1"}


# ---- how it ends: W1, W26


def raising(error: BaseException, *, is_async: bool) -> Action[Any, Any]:
    if is_async:

        @action("fails")
        async def fails() -> None:
            raise error

        return fails

    @action("fails")
    def fails_too() -> None:
        raise error

    return fails_too


both_sides = pytest.mark.parametrize("is_async", [True, False], ids=["async", "sync"])


@both_sides
async def test_failed_says_no_effect(bench: Bench, is_async: bool) -> None:
    failure = await bench.run(raising(Failed("Declined", "no funds", details=[{"code": 7}]), is_async=is_async))
    assert (failure.type, failure.message, failure.disposition, failure.source) == (
        "Declined",
        "no funds",
        FAIL,
        APPLICATION,
    )
    assert [detail.json for detail in failure.details] == ['{"code":7}']
    assert failure.stack_trace == ""


@both_sides
async def test_retry_says_when(bench: Bench, is_async: bool) -> None:
    failure = await bench.run(raising(Retry("Busy", delay=timedelta(seconds=2.5)), is_async=is_async))
    assert (failure.type, failure.disposition) == ("Busy", RETRY)
    assert failure.next_retry_delay.ToTimedelta() == timedelta(seconds=2.5)


@both_sides
async def test_hold_asks_for_an_operator(bench: Bench, is_async: bool) -> None:
    failure = await bench.run(raising(Hold("Odd"), is_async=is_async))
    assert (failure.type, failure.disposition) == ("Odd", HOLD)


@both_sides
async def test_any_other_exception_is_tried_again_under_its_class(
    bench: Bench, is_async: bool, caplog: pytest.LogCaptureFixture
) -> None:
    failure = await bench.run(raising(ZeroDivisionError("by zero"), is_async=is_async))
    assert (failure.type, failure.message, failure.disposition, failure.source) == (
        "ZeroDivisionError",
        "by zero",
        RETRY,
        APPLICATION,
    )
    assert failure.stack_trace == ""
    assert caplog.records[0].levelno == logging.WARNING
    assert caplog.records[0].exc_info is not None


@both_sides
async def test_exiting_does_not_take_the_worker_along(bench: Bench, is_async: bool) -> None:
    failure = await bench.run(raising(SystemExit(3), is_async=is_async))
    assert (failure.type, failure.disposition) == ("SystemExit", RETRY)


async def test_stack_traces_are_sent_where_that_is_wanted_and_cut_to_what_is_innermost(bench: Bench) -> None:
    @action("deep")
    async def deep() -> None:
        raise ValueError("x" * 100_000)

    bench.serve(deep, stack_traces=True)
    bench.start(call(deep))
    failure = await bench.outcome()
    assert failure.stack_trace.endswith("xxx\n")
    assert len(failure.stack_trace.encode()) == 16 * 1024
    assert len(failure.message.encode()) == 4 * 1024


async def test_an_exception_that_cannot_say_its_message_is_still_told(bench: Bench) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    failure = await bench.run(raising(Mute(), is_async=True))
    assert (failure.type, failure.message) == ("Mute", "(its message can't be had: RuntimeError)")


def test_text_that_no_message_may_carry_is_replaced() -> None:
    failure = outcomes.unexpected(ValueError("bad \ud800 text"), stack_trace=True)
    assert failure.message == "bad ? text"
    assert "bad" in failure.stack_trace


@both_sides
async def test_an_input_that_does_not_fit_is_held_and_user_code_does_not_run(bench: Bench, is_async: bool) -> None:
    ran: list[int] = []

    @action("a")
    async def of_coroutine(number: int) -> None:
        ran.append(number)

    @action("a")
    def of_function(number: int) -> None:
        ran.append(number)

    failure = await bench.run(of_coroutine if is_async else of_function, number='"text"')
    assert (failure.type, failure.disposition, failure.source) == ("sagaline.InputNotConvertible", HOLD, CONVERSION)
    assert "number" in failure.message
    assert not ran


@both_sides
async def test_an_output_that_does_not_fit_is_held(bench: Bench, is_async: bool) -> None:
    @action("a")
    async def of_coroutine() -> int:
        return "text"  # type: ignore[return-value]

    @action("a")
    def of_function() -> int:
        return "text"  # type: ignore[return-value]

    failure = await bench.run(of_coroutine if is_async else of_function)
    assert (failure.type, failure.disposition) == ("sagaline.OutputNotConvertible", HOLD)


async def test_an_output_that_is_too_large_is_held(bench: Bench) -> None:
    @action("a")
    async def large() -> str:
        return "x" * 300_000

    failure = await bench.run(large)
    assert (failure.type, failure.disposition, failure.source) == ("sagaline.PayloadTooLarge", HOLD, CONVERSION)


# ---- stopping: W46 to W48


async def test_a_coroutine_that_is_stopped_has_an_unknown_effect(bench: Bench) -> None:
    started = asyncio.Event()

    @action("a")
    async def endless() -> None:
        started.set()
        await asyncio.Event().wait()

    bench.serve(endless)
    bench.start(call(endless))
    await asyncio.wait_for(started.wait(), WAIT)
    bench.executor.stop(ref(), CancelReason.SUPERSEDED)
    failure = await bench.outcome()
    assert (failure.type, failure.disposition, failure.source) == ("sagaline.Cancelled", RETRY, CANCELLED)
    assert "superseded" in failure.message


@both_sides
async def test_that_the_saga_unwinds_is_told_and_the_attempt_may_finish(bench: Bench, is_async: bool) -> None:
    started = threading.Event()

    @action("a")
    async def of_coroutine(context: Context) -> str:
        started.set()
        await context.cancelled
        context.check_cancelled()
        return str(context.cancel_reason)

    @action("b")
    def of_function(context: Context) -> str:
        started.set()
        context.cancelled.wait(WAIT)
        context.check_cancelled()
        return str(context.cancel_reason)

    served = of_coroutine if is_async else of_function
    bench.serve(served)
    bench.start(call(served))
    await asyncio.to_thread(started.wait, WAIT)
    bench.executor.stop(ref(), CancelReason.SAGA_UNWINDING)
    assert await bench.outcome() == payload_pb2.Payload(json='"saga_unwinding"')


async def test_an_order_to_stop_after_that_advice_is_carried_out(bench: Bench) -> None:
    started, advised = asyncio.Event(), asyncio.Event()

    @action("a")
    async def endless(context: Context) -> None:
        started.set()
        await context.cancelled
        advised.set()
        await asyncio.Event().wait()

    bench.serve(endless)
    bench.start(call(endless))
    await asyncio.wait_for(started.wait(), WAIT)
    bench.executor.stop(ref(), CancelReason.SAGA_UNWINDING)
    await asyncio.wait_for(advised.wait(), WAIT)
    bench.executor.stop(ref(), CancelReason.TIMED_OUT)
    failure = await bench.outcome()
    assert (failure.type, failure.message) == ("sagaline.Cancelled", "cancelled: timed_out")


async def test_what_user_code_says_on_being_stopped_counts(bench: Bench) -> None:
    started = asyncio.Event()

    @action("a")
    async def clean() -> None:
        try:
            started.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise Failed("Stopped", "nothing was done") from None

    bench.serve(clean)
    bench.start(call(clean))
    await asyncio.wait_for(started.wait(), WAIT)
    bench.executor.stop(ref(), CancelReason.SUPERSEDED)
    failure = await bench.outcome()
    assert (failure.type, failure.disposition) == ("Stopped", FAIL)


async def test_a_coroutine_may_end_well_although_it_was_stopped(bench: Bench) -> None:
    started = asyncio.Event()

    @action("a")
    async def stubborn() -> str:
        try:
            started.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass
        return "done"

    bench.serve(stubborn)
    bench.start(call(stubborn))
    await asyncio.wait_for(started.wait(), WAIT)
    bench.executor.stop(ref(), CancelReason.TIMED_OUT)
    assert await bench.outcome() == payload_pb2.Payload(json='"done"')


async def test_running_out_of_start_to_close_is_told_as_a_timeout(bench: Bench) -> None:
    started = asyncio.Event()

    @action("a")
    async def endless() -> None:
        started.set()
        await asyncio.Event().wait()

    bench.serve(endless)
    message = call(endless)
    message.start_to_close.nanos = 1
    bench.start(message)
    await asyncio.wait_for(started.wait(), WAIT)
    bench.executor.stop(ref(), CancelReason.TIMED_OUT)
    failure = await bench.outcome()
    assert (failure.type, failure.disposition, failure.source) == ("sagaline.StartToCloseTimeout", RETRY, TIMEOUT)


async def test_a_function_sees_that_it_is_to_stop(bench: Bench) -> None:
    started = threading.Event()

    @action("a")
    def patient(context: Context) -> None:
        started.set()
        context.cancelled.wait(WAIT)
        context.check_cancelled()

    bench.serve(patient)
    bench.start(call(patient))
    await asyncio.to_thread(started.wait, WAIT)
    bench.executor.stop(ref(), CancelReason.WORKER_STOPPING)
    failure = await bench.outcome()
    assert (failure.type, failure.disposition, failure.source) == ("sagaline.Cancelled", RETRY, CANCELLED)


@both_sides
async def test_what_is_stopped_before_user_code_had_it_was_never_started(bench: Bench, is_async: bool) -> None:
    ran: list[str] = []
    gate = threading.Event()

    @action("a")
    async def of_coroutine() -> None:
        ran.append("coroutine")

    @action("b")
    def of_function() -> None:
        ran.append("function")
        gate.wait(WAIT)

    bench.serve(of_coroutine, of_function, threads=1)
    if is_async:
        bench.start(call(of_coroutine))
    else:
        bench.start(call(of_function, ref("first")), call(of_function))
    bench.executor.stop(ref(), CancelReason.SAGA_UNWINDING)
    gate.set()
    assert await bench.outcome() is None
    assert ran == ([] if is_async else ["function"])


async def test_progress_is_coalesced_until_it_is_taken(bench: Bench) -> None:
    @action("a")
    async def busy(context: Context) -> None:
        for number in range(1000):
            context.heartbeat(number)
        context.heartbeat()

    await bench.run(busy)
    assert bench.progress == {ref(): payload_pb2.Payload(json="999")}
    assert bench.wakes <= 2


async def test_a_closed_loop_starts_nothing_and_says_so() -> None:
    inbox = Inbox(lambda: None)

    @action("a")
    async def nothing() -> None:
        pass

    runnables = Catalog([nothing], [""]).runnables

    async def make() -> Executor:
        return Executor(runnables, inbox, threads_max=1, stack_traces=False)

    loop = asyncio.new_event_loop()
    executor = await asyncio.to_thread(loop.run_until_complete, make())
    loop.close()
    message = call(nothing)
    executor.start([Attempt(ref(), message, "", "sec", 1)])
    assert list(inbox.take()[1]) == [(ref(), None)]
