"""Counts calls under the names that dashboards for gRPC servers know."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import grpc
from prometheus_client import CollectorRegistry, Counter, Histogram

from sagaline_server.api.handlers import (
    Answer,
    Context,
    Handler,
    Stream,
    WrappingInterceptor,
    kind_of,
    names_of,
    wrapped,
)

_LABELS = ("grpc_type", "grpc_service", "grpc_method")
_TYPES = {
    "unary_unary": "unary",
    "unary_stream": "server_stream",
    "stream_unary": "client_stream",
    "stream_stream": "bidi_stream",
}
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_CODES = {code.value[0]: code.name for code in grpc.StatusCode}


class CallMetrics(WrappingInterceptor):
    """Counts and times calls. Goes outside of the guard, so that it sees the codes that clients see.

    A method that does not exist is not counted: labels come from servers only.
    """

    def __init__(self, registry: CollectorRegistry, now: Callable[[], float]) -> None:
        """Register the metrics.

        Args:
            registry: Where to.
            now: Seconds on a clock that only goes forward.
        """
        super().__init__()
        self._now = now
        self._started = Counter("grpc_server_started", "Calls begun", _LABELS, registry=registry)
        self._handled = Counter("grpc_server_handled", "Calls ended", (*_LABELS, "grpc_code"), registry=registry)
        self._seconds = Histogram(
            "grpc_server_handling_seconds",
            "Time from a call's begin to its end",
            _LABELS,
            buckets=_BUCKETS,
            registry=registry,
        )

    def wrap(self, method: str, handler: Handler) -> Handler:
        """Return the counted handler."""
        return wrapped(handler, _Counted(self, (_TYPES[kind_of(handler)], *names_of(method))))

    def begin(self, labels: tuple[str, ...]) -> float:
        """Count a call that begins; returns when."""
        self._started.labels(*labels).inc()
        return self._now()

    def end(self, labels: tuple[str, ...], begun: float, code: str) -> None:
        """Count a call that has ended."""
        self._handled.labels(*labels, code).inc()
        self._seconds.labels(*labels).observe(max(self._now() - begun, 0.0))


class _Counted:
    """What is counted of one method."""

    def __init__(self, metrics: CallMetrics, labels: tuple[str, ...]) -> None:
        self._metrics = metrics
        self._labels = labels

    def answer(self, behaviour: Answer) -> Answer:
        async def counted(request: Any, context: Context) -> Any:
            begun = self._metrics.begin(self._labels)
            code = "CANCELLED"
            try:
                response = await behaviour(request, context)
                code = _code(context, "OK")
                return response
            except Exception:
                code = _code(context, "UNKNOWN")
                raise
            finally:
                self._metrics.end(self._labels, begun, code)

        return counted

    def stream(self, behaviour: Stream) -> Stream:
        async def counted(request: Any, context: Context) -> AsyncIterator[Any]:
            begun = self._metrics.begin(self._labels)
            code = "CANCELLED"
            try:
                async with aclosing(behaviour(request, context)) as responses:  # type: ignore[type-var]
                    async for response in responses:
                        yield response
                code = _code(context, "OK")
            except Exception:
                code = _code(context, "UNKNOWN")
                raise
            finally:
                self._metrics.end(self._labels, begun, code)

        return counted


def _code(context: Context, otherwise: str) -> str:
    """Return the code that the handler has set, if any."""
    code: Any = context.code()
    if isinstance(code, grpc.StatusCode):
        return code.name if code is not grpc.StatusCode.OK else otherwise
    return _CODES.get(code, otherwise) if code else otherwise
