"""Runs user code: coroutines on the user's event loop, functions in threads; and turns how they end into outcomes.

The I/O loop tells it to start and stop attempts and finds their ends in the inbox. A batch of starts crosses to the
user's loop in one call, and the ends of all attempts that end in one turn of that loop cross back in one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from contextvars import Context as Variables
from contextvars import copy_context
from functools import partial
from typing import Any, Protocol

from sagaline.context import Context, enter_context
from sagaline.errors import ActionOutcome, ConversionError, PayloadTooLarge
from sagaline.v1 import payload_pb2
from sagaline.v1 import worker_service_pb2 as pb
from sagaline.worker import failures, outcomes
from sagaline.worker.attempts import Attempt, CancelReason, Ref
from sagaline.worker.inbox import End, Inbox
from sagaline.worker.results import Outcome
from sagaline.worker.threads import Threads

logger = logging.getLogger("sagaline.worker")


class Runnable(Protocol):
    """What the executor needs of an action, or of an undo action."""

    @property
    def is_async(self) -> bool:
        """Whether what `call` returns has to be awaited."""
        ...

    def decode(self, invocation: pb.Invocation) -> Mapping[str, Any]:
        """Arguments by name.

        Raises:
            ConversionError: An input does not fit.
        """
        ...

    def call(self, context: Context, arguments: Mapping[str, Any]) -> Any:
        """Call the user's function."""

    def encode(self, value: Any) -> payload_pb2.Payload:
        """The output as a payload.

        Raises:
            ConversionError: It does not fit.
        """
        ...


Runnables = Mapping[tuple[str, str, int], Runnable]
"""By action, version and side."""


class Run:
    """One attempt that was handed to the executor. Owned by the I/O loop, except for `task`."""

    __slots__ = ("context", "invocation", "ref", "side", "task")

    def __init__(self, attempt: Attempt, side: Runnable, context: Context) -> None:
        self.ref = attempt.ref
        self.invocation = attempt.invocation
        self.side = side
        self.context = context
        self.task: asyncio.Task[None] | None = None


class Executor:
    """Made on the user's loop; `start`, `stop` and `ended` are called by the I/O loop alone."""

    def __init__(self, sides: Runnables, inbox: Inbox, *, threads_max: int, stack_traces: bool) -> None:
        self._sides = sides
        self._inbox = inbox
        self._stack_traces = stack_traces
        self._loop = asyncio.get_running_loop()
        self._variables = copy_context()
        self._threads = Threads(threads_max, "sagaline-action")
        self._runs: dict[Ref, Run] = {}
        self._ends: list[End] = []

    # ---- on the I/O loop

    def start(self, attempts: Iterable[Attempt]) -> None:
        """Hand attempts to user code."""
        coroutines: list[Run] = []
        for attempt in attempts:
            ref = attempt.ref
            side = self._sides[attempt.invocation.action, attempt.invocation.version, ref.kind]
            context = Context(attempt.invocation, partial(self._inbox.put_progress, ref))
            run = self._runs[ref] = Run(attempt, side, context)
            if side.is_async:
                coroutines.append(run)
            elif not self._threads.run(partial(self._run_in_thread, run)):
                self._inbox.put_ends([(ref, None)])
        if coroutines:
            try:
                self._loop.call_soon_threadsafe(self._start_coroutines, coroutines)
            except RuntimeError:  # the user's loop is closed
                self._inbox.put_ends((run.ref, None) for run in coroutines)

    def stop(self, ref: Ref, reason: CancelReason) -> None:
        """Ask an attempt to stop. An advice is only told; what follows from it is for user code to decide."""
        run = self._runs.get(ref)
        if run is None:
            return
        run.context.cancel(reason)
        if run.side.is_async and not reason.is_advice:
            try:
                self._loop.call_soon_threadsafe(self._cancel_coroutine, run)
            except RuntimeError:  # the user's loop is closed, and its tasks with it
                self._inbox.put_ends([(ref, failures.cancelled("the event loop is closed"))])

    def ended(self, ref: Ref) -> None:
        """The end of an attempt was found in the inbox."""
        self._runs.pop(ref, None)

    def close(self, timeout: float) -> int:
        """Let go of the threads, and wait for them; at the very end, for it blocks.

        Returns:
            How many are still in user code after `timeout` seconds, and are left behind.
        """
        return self._threads.close(timeout)

    # ---- on the user's loop

    def _start_coroutines(self, runs: list[Run]) -> None:
        for run in runs:
            if run.context.cancelled:
                self._end(run, None)
            else:
                variables: Variables = self._variables.copy()
                run.task = self._loop.create_task(self._run_coroutine(run), context=variables)

    def _cancel_coroutine(self, run: Run) -> None:
        if run.task is not None:
            run.task.cancel()

    async def _run_coroutine(self, run: Run) -> None:
        enter_context(run.context)
        try:
            outcome = await self._outcome_of_coroutine(run)
        except (SystemExit, asyncio.CancelledError) as error:
            outcome = self._outcome_of_error(run, error)
        except BaseException as error:
            self._end(run, self._outcome_of_error(run, error))
            raise
        self._end(run, outcome)

    async def _outcome_of_coroutine(self, run: Run) -> Outcome:
        try:
            arguments = run.side.decode(run.invocation)
        except Exception as error:  # noqa: BLE001
            return outcomes.not_converted(failures.INPUT_NOT_CONVERTIBLE, error)
        try:
            value = await run.side.call(run.context, arguments)
        except Exception as error:  # noqa: BLE001
            return self._outcome_of_error(run, error)
        return self._outcome_of_value(run, value)

    def _end(self, run: Run, outcome: Outcome | None) -> None:
        """Gather the ends of this turn of the loop."""
        self._ends.append((run.ref, outcome))
        if len(self._ends) == 1:
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        ends, self._ends = self._ends, []
        self._inbox.put_ends(ends)

    # ---- in a thread

    def _run_in_thread(self, run: Run) -> None:
        outcome: Outcome | None = None
        if not run.context.cancelled:
            outcome = self._variables.copy().run(self._outcome_of_function, run)
        self._inbox.put_ends([(run.ref, outcome)])

    def _outcome_of_function(self, run: Run) -> Outcome:
        enter_context(run.context)
        try:
            arguments = run.side.decode(run.invocation)
        except Exception as error:  # noqa: BLE001
            return outcomes.not_converted(failures.INPUT_NOT_CONVERTIBLE, error)
        try:
            value = run.side.call(run.context, arguments)
        except BaseException as error:  # noqa: BLE001
            return self._outcome_of_error(run, error)
        return self._outcome_of_value(run, value)

    # ---- wherever user code has ended

    def _outcome_of_value(self, run: Run, value: object) -> Outcome:
        try:
            return run.side.encode(value)
        except PayloadTooLarge as error:
            return failures.payload_too_large("the output", error.size_bytes, error.limit_bytes)
        except Exception as error:
            level = logging.WARNING if isinstance(error, ConversionError) else logging.ERROR
            logger.log(level, "output of %s can't be sent: it is held", run.invocation.action, exc_info=error)
            return outcomes.not_converted(failures.OUTPUT_NOT_CONVERTIBLE, error)

    def _outcome_of_error(self, run: Run, error: BaseException) -> Outcome:
        failure = outcomes.of_error(error, run.context, stack_trace=self._stack_traces)
        if isinstance(error, ActionOutcome):
            # User code says what it means: one line, and no stack.
            logger.info(
                "%s ended attempt %d of node %s of saga %s with %s %s: %s",
                run.invocation.action, run.ref.attempt, run.ref.node, run.ref.saga_id,
                type(error).__name__, failure.type, " ".join(failure.message.split()),
            )  # fmt: skip
        elif failure.source == failures.APPLICATION and failure.disposition == failures.RETRY:
            logger.warning(
                "%s raised in attempt %d of node %s of saga %s",
                run.invocation.action, run.ref.attempt, run.ref.node, run.ref.saga_id,
                exc_info=error,
            )  # fmt: skip
        return failure
