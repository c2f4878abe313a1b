"""A day of delays and backoff passes in milliseconds, and what waits for the world outside gets its time."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest

from sagaline import Context, Failed, Graph, GraphBuilder, Retry, RetryPolicy, Timeouts, action
from sagaline.errors import DefinitionError, InvalidRequest, SagaStuck, SagaUnwound
from sagaline.testing import CheckFailed, InProcessSec, NoEnd, NotHappening, SecMaker, loop
from sagaline.v1 import saga_pb2

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
CPU_SECONDS_MAX = 1.0


@contextmanager
def cheap() -> Iterator[None]:
    """The processor's time: the machine is shared."""
    began = time.process_time()
    yield
    assert time.process_time() - began < CPU_SECONDS_MAX


@action
async def greet(name: str) -> str:
    return f"hello {name}"


@greet.undo
async def forget(name: str) -> None: ...


def greeting(*, after_days: int = 0) -> Graph[str, str]:
    g = GraphBuilder("greeting", params=str)
    after = [g.delay("wait", after_days * DAY)] if after_days else []
    return g.build(result=g.add("greet", greet, g.params, after=after))


def test_a_saga_runs(sagaline_sec: SecMaker) -> None:
    assert sagaline_sec([greet]).run(greeting(), "Ann") == "hello Ann"


def test_days_of_delays_take_no_time(sagaline_sec: SecMaker) -> None:
    sec = sagaline_sec([greet])
    began = sec.now
    with cheap():
        assert sec.run(greeting(after_days=30), "Ann") == "hello Ann"
    assert 30 * DAY <= sec.now - began < 30 * DAY + HOUR


def test_days_of_backoff_take_no_time(sagaline_sec: SecMaker) -> None:
    @action
    async def flaky(context: Context) -> int:
        if context.attempt < 4:
            raise Retry("Busy", "later")
        return context.attempt

    @flaky.undo
    async def nothing() -> None: ...

    g = GraphBuilder("flaky")
    policy = RetryPolicy(max_attempts=10, initial_backoff=DAY, max_backoff=10 * DAY, multiplier=2, jitter=0)
    graph = g.build(result=g.add("flaky", flaky, retry=policy))
    sec = sagaline_sec([flaky])
    began = sec.now
    with cheap():
        assert sec.run(graph, None) == 4
    assert sec.now - began >= 7 * DAY


def test_what_an_action_sleeps_takes_no_time(sagaline_sec: SecMaker) -> None:
    @action
    async def ponder(context: Context) -> str:
        for hour in range(24):
            context.heartbeat(hour)
            await asyncio.sleep(HOUR.total_seconds())  # virtual
        return "done"

    @ponder.undo
    async def nothing() -> None: ...

    g = GraphBuilder("slow")
    graph = g.build(result=g.add("slow", ponder, timeouts=Timeouts(heartbeat=2 * HOUR)))
    with cheap():
        assert sagaline_sec([ponder]).run(graph, None) == "done"


def test_an_attempt_that_takes_too_long_is_stopped(sagaline_sec: SecMaker) -> None:
    @action
    async def hang_at_first(context: Context) -> int:
        if context.attempt == 1:
            await asyncio.Event().wait()
        return context.attempt

    @hang_at_first.undo
    async def nothing() -> None: ...

    g = GraphBuilder("hanging")
    graph = g.build(result=g.add("hang", hang_at_first, timeouts=Timeouts(start_to_close=HOUR)))
    sec = sagaline_sec([hang_at_first])
    began = sec.now
    assert sec.run(graph, None) == 2
    assert HOUR <= sec.now - began < DAY


def test_time_stands_still_while_a_thread_runs(sagaline_sec: SecMaker) -> None:
    """Neither a synchronous action nor `asyncio.to_thread` is timed out by virtual time."""
    gate = threading.Event()

    @action
    def blocking() -> str:
        threading.Timer(0.2, gate.set).start()
        assert gate.wait(10)
        return "opened"

    @blocking.undo
    def nothing() -> None: ...

    @action
    async def in_thread(before: str) -> str:
        return await asyncio.to_thread(blocking.forward.function)

    @in_thread.undo
    async def nothing_else() -> None: ...

    g = GraphBuilder("threads")
    limits = Timeouts(start_to_close=timedelta(milliseconds=10))
    opened = g.add("one", blocking, timeouts=limits)
    graph = g.build(result=g.add("two", in_thread, opened, timeouts=limits))
    sec = sagaline_sec([blocking, in_thread])
    assert sec.run(graph, None) == "opened"


def test_a_thread_that_does_not_end_is_told(sagaline_sec: SecMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "THREAD_SECONDS", 0.05)
    gate = threading.Event()

    @action
    def hang() -> None:
        gate.wait(10)

    @hang.undo
    def nothing() -> None: ...

    g = GraphBuilder("hanging")
    sec = sagaline_sec([hang])
    with pytest.raises(CheckFailed, match=r"a function in a thread has run for .*\n  node hang of saga"):
        sec.run(g.build(result=g.add("hang", hang)), None)
    gate.set()


def test_what_the_world_outside_answers_soon_comes_in_time(sagaline_sec: SecMaker) -> None:
    """A coroutine that waits for something that is no timer, as for a socket, gets it before an hour has passed."""

    @action
    async def ask() -> str:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[str] = loop.create_future()
        threading.Timer(0.005, loop.call_soon_threadsafe, [answer.set_result, "soon"]).start()
        async with asyncio.timeout(HOUR.total_seconds()):
            return await answer

    @ask.undo
    async def nothing() -> None: ...

    g = GraphBuilder("asking")
    assert sagaline_sec([ask]).run(g.build(result=g.add("ask", ask)), None) == "soon"


def test_a_saga_is_looked_at_while_time_passes(sagaline_sec: SecMaker) -> None:
    sec = sagaline_sec([greet])
    saga = sec.create(greeting(after_days=1), "Ann")
    sec.advance(23 * HOUR)
    assert saga.get().state == saga_pb2.SAGA_STATE_RUNNING
    sec.advance(2 * HOUR)
    assert saga.get().state == saga_pb2.SAGA_STATE_SUCCEEDED
    assert saga.result() == "hello Ann"
    assert [entry.seq for entry in saga.log()] == list(range(1, len(saga.log()) + 1))


def test_a_saga_is_unwound_on_request(sagaline_sec: SecMaker) -> None:
    saga = sagaline_sec([greet]).create(greeting(after_days=1), "Ann")
    saga.unwind("enough")
    with pytest.raises(SagaUnwound):
        saga.result()


def signalled() -> Graph[str, str]:
    g = GraphBuilder("signalled", params=str)
    name = g.signal("approval", str)
    return g.build(result=g.add("greet", greet, name))


def test_a_signal_is_waited_for(sagaline_sec: SecMaker) -> None:
    sec = sagaline_sec([greet])
    saga = sec.create(signalled(), "Ann")
    with pytest.raises(NotHappening, match="node approval of saga"):
        saga.wait()
    saga.signal("approval", "Bob")
    assert saga.result() == "hello Bob"


def test_checks_send_signals(sagaline_sec: SecMaker) -> None:
    sec = sagaline_sec([greet], snapshot=lambda: None)
    sec.assert_unwinds(signalled(), lambda: "Ann", signals={"approval": "Bob"})


def test_a_coroutine_that_waits_for_nothing_is_told(sagaline_sec: SecMaker) -> None:
    sec = sagaline_sec([greet])

    async def wait() -> None:
        await asyncio.Event().wait()

    with pytest.raises(NotHappening):
        sec.complete(wait())


def test_an_undo_that_never_works_has_an_end(sagaline_sec: SecMaker) -> None:
    @action
    async def act() -> int:
        return 1

    @act.undo
    async def broken() -> None:
        raise ValueError("a mistake in the undo")

    @action
    async def fail(number: int) -> None:
        raise Failed("No", "no")

    @fail.undo
    async def nothing() -> None: ...

    g = GraphBuilder("broken")
    graph = g.build(result=g.add("fail", fail, g.add("act", act)))
    with pytest.raises(NoEnd, match=r"undo of node act \(action act\) was tried 20 times.*ValueError: a mistake"):
        sagaline_sec([act, fail], attempts_max=20).run(graph, None)


def test_a_saga_that_is_stuck_is_told(sagaline_sec: SecMaker) -> None:
    @action
    async def act() -> int:
        return 1

    @act.undo
    async def impossible() -> None:
        raise Failed("Gone", "there is no way")

    g = GraphBuilder("stuck")
    number = g.add("act", act)
    g.delay("wait", DAY, after=[number])
    sec = sagaline_sec([act])
    saga = sec.create(g.build(result=number), None)
    sec.advance(HOUR)
    saga.unwind()
    with pytest.raises(SagaStuck):
        saga.result()


def test_the_same_seed_is_the_same_run(sagaline_sec: SecMaker) -> None:
    @action
    async def flaky(context: Context) -> int:
        if context.attempt < 5:
            raise Retry("Busy")
        return 1

    @flaky.undo
    async def nothing() -> None: ...

    g = GraphBuilder("flaky")
    graph = g.build(result=g.add("flaky", flaky))

    def logged(seed: int) -> list[bytes]:
        saga = sagaline_sec([flaky], seed=seed).create(graph, None, saga_id="one")
        saga.result()
        return [entry.SerializeToString(deterministic=True) for entry in saga.log()]

    assert logged(1) == logged(1) != logged(2)


def test_what_was_not_given_is_named(sagaline_sec: SecMaker) -> None:
    @action
    async def other(name: str) -> str:
        return name

    with pytest.raises(DefinitionError, match="greeting needs actions that were not given: greet version 1"):
        sagaline_sec([other]).run(greeting(), "Ann")
    with pytest.raises(DefinitionError, match="give `snapshot`"):
        sagaline_sec([greet]).assert_unwinds(greeting(), lambda: "Ann")


def test_what_a_sec_would_refuse_is_refused(sagaline_sec: SecMaker) -> None:
    with pytest.raises(InvalidRequest) as caught:
        sagaline_sec([greet]).run(greeting(), "Ann", saga_id="not / an id")
    assert caught.value.problems


async def test_a_coroutine_has_a_loop_of_its_own() -> None:
    with InProcessSec([greet]) as sec, pytest.raises(RuntimeError, match="call it from a plain test"):
        sec.run(greeting(), "Ann")
