"""The outermost interceptor: whatever a handler raises, a client gets a status of the table and nothing else.

Known refusals become their statuses. Unknown exceptions become INTERNAL with a
correlation id under which the log has them; their text stays here. Requests
that can't be decoded never reach a handler. Unary calls without a deadline get
one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, aclosing, nullcontext
from typing import Any

import grpc
import structlog

from sagaline_server.api.errors import Refused, abort, refusal
from sagaline_server.api.handlers import Answer, Context, Handler, Stream, WrappingInterceptor, kind_of, wrapped
from sagaline_server.api.ids import RandomBytes
from sagaline_server.api.open_calls import OpenCalls
from sagaline_server.core import limits
from sagaline_server.runtime.requests import RuntimeRefusal

log = structlog.get_logger("sagaline.api")

UNARY_DEADLINE = 30.0
"""Seconds that a unary call without a deadline may take."""
DEADLINES: Mapping[str, float] = {
    "/sagaline.v1.SagaService/WaitSaga": limits.WAIT_SECONDS_MAX + 10.0,
    # The creation has as long as any call; then comes the wait.
    "/sagaline.v1.SagaService/RunSaga": UNARY_DEADLINE + limits.WAIT_SECONDS_MAX + 10.0,
    "/sagaline.v1.AdminService/DrainSec": limits.DRAIN_SECONDS_MAX + 10.0,
    # Longer than the 20 s that the owner of a saga is given to carry out what another SEC asks of it.
    "/sagaline.v1.AdminService/HandOff": 60.0,
}
"""Methods that may take longer."""
OF_CLIENTS = ("/sagaline.v1.SagaService/", "/sagaline.v1.AdminService/")
"""Whose calls another SEC would answer as well."""
CORRELATION_BYTES = 8


class Guard(WrappingInterceptor):
    """Guards every method of a server."""

    def __init__(
        self, random: RandomBytes, unary_deadline: float = UNARY_DEADLINE, calls: OpenCalls | None = None
    ) -> None:
        """Make a guard.

        Args:
            random: For correlation ids.
            unary_deadline: Seconds for a unary call without a deadline.
            calls: The calls of clients. None: nobody ends them.
        """
        super().__init__()
        self._random = random
        self._calls = calls or OpenCalls()
        self._unary_deadline = unary_deadline

    def wrap(self, method: str, handler: Handler) -> Handler:
        """Return the guarded handler."""
        deadline = None
        if kind_of(handler) == "unary_unary":
            deadline = DEADLINES.get(method, self._unary_deadline)
        decode = handler.request_deserializer
        if decode is not None:
            # A stream's handler may well fail where it takes the next request; a unary one has not begun yet.
            decode = _raising(decode) if handler.request_streaming else _marking(decode)
        serving = self._calls.serving if method.startswith(OF_CLIENTS) else nullcontext
        return wrapped(handler, _Guarded(method, deadline, self._random, serving), decode)


class _Unreadable:
    """Stands for a request that could not be decoded."""


_UNREADABLE = _Unreadable()


def _marking(decode: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def marking(data: bytes) -> Any:
        try:
            return decode(data)
        except Exception:  # noqa: BLE001 - whatever a decoder raises is the client's fault
            return _UNREADABLE

    return marking


def _raising(decode: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def raising(data: bytes) -> Any:
        try:
            return decode(data)
        except Exception:  # noqa: BLE001 - as in `_marking`
            raise Refused("UNREADABLE_REQUEST") from None

    return raising


class _Guarded:
    """What the guard does to one method."""

    def __init__(
        self,
        method: str,
        deadline: float | None,
        random: RandomBytes,
        serving: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._method = method
        self._serving = serving
        self._deadline = deadline
        self._random = random

    def answer(self, behaviour: Answer) -> Answer:
        async def guarded(request: Any, context: Context) -> Any:
            try:
                _check_readable(request)
                with self._serving():
                    return await self._in_time(behaviour(request, context), context)
            except BaseException as error:  # noqa: BLE001 - cancellation is looked at as well
                await self._end(error, request, context)

        return guarded

    def stream(self, behaviour: Stream) -> Stream:
        async def guarded(request: Any, context: Context) -> AsyncIterator[Any]:
            try:
                _check_readable(request)
                with self._serving():
                    async with aclosing(behaviour(request, context)) as responses:  # type: ignore[type-var]
                        async for response in responses:
                            yield response
            except GeneratorExit:
                raise
            except BaseException as error:  # noqa: BLE001 - cancellation is looked at as well
                await self._end(error, request, context)

        return guarded

    async def _in_time(self, answer: Awaitable[Any], context: Context) -> Any:
        remaining: float | None = context.time_remaining()
        deadline = asyncio.timeout(self._deadline if remaining is None else None)
        try:
            async with deadline:
                return await answer
        except TimeoutError:
            if deadline.expired():
                raise Refused("SERVER_DEADLINE", metadata={"seconds": f"{self._deadline:g}"}) from None
            raise

    async def _end(self, error: BaseException, request: Any, context: Context) -> None:
        """End a call as the error demands. Never returns."""
        if isinstance(error, grpc.aio.AbortError) or _is_stop(error):
            raise error
        subject = getattr(request, "saga_id", "")
        match error:
            case Refused():
                await abort(context, error)
            case RuntimeRefusal():
                await abort(context, refusal(error, subject))
            case _:
                correlation_id = self._random(CORRELATION_BYTES).hex()
                log.error("call_failed", method=self._method, correlation_id=correlation_id, exc_info=error)
                await abort(context, Refused("INTERNAL_ERROR", metadata={"correlation_id": correlation_id}))


def _check_readable(request: Any) -> None:
    if request is _UNREADABLE:
        raise Refused("UNREADABLE_REQUEST")


def _is_stop(error: BaseException) -> bool:
    """True where this very call is to stop: the client has gone, or the process ends.

    A cancellation of something that the handler waited for is a fault like any other.
    """
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0
    return not isinstance(error, Exception)
