"""Wrapping of method handlers, for interceptors: gRPC's own interface hands over a handler and wants one back."""

from __future__ import annotations

import abc
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol, TypeAlias

import grpc

Context = grpc.aio.ServicerContext[Any, Any]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Continuation: TypeAlias = "Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]]"

Answer = Callable[[Any, Context], Awaitable[Any]]
"""A behaviour that returns its response, or writes its responses itself and returns nothing."""
Stream = Callable[[Any, Context], AsyncIterator[Any]]
"""A behaviour that yields its responses."""


class Wrapping(Protocol):
    """What an interceptor does to one method."""

    def answer(self, behaviour: Answer) -> Answer:
        """Wrap a coroutine function."""
        ...

    def stream(self, behaviour: Stream) -> Stream:
        """Wrap an async generator function."""
        ...


_MAKERS: dict[tuple[bool, bool], tuple[str, Callable[..., Handler]]] = {
    (False, False): ("unary_unary", grpc.unary_unary_rpc_method_handler),
    (False, True): ("unary_stream", grpc.unary_stream_rpc_method_handler),
    (True, False): ("stream_unary", grpc.stream_unary_rpc_method_handler),
    (True, True): ("stream_stream", grpc.stream_stream_rpc_method_handler),
}


def kind_of(handler: Handler) -> str:
    """Return "unary_unary" and so on."""
    return _MAKERS[handler.request_streaming, handler.response_streaming][0]


def wrapped(handler: Handler, wrapping: Wrapping, deserializer: Callable[[bytes], Any] | None = None) -> Handler:
    """Return a handler of the same kind whose behaviour is wrapped.

    Args:
        handler: As registered.
        wrapping: What to do to it.
        deserializer: Instead of the handler's own. None: its own.
    """
    kind, make = _MAKERS[handler.request_streaming, handler.response_streaming]
    behaviour = getattr(handler, kind)
    new = wrapping.stream(behaviour) if inspect.isasyncgenfunction(behaviour) else wrapping.answer(behaviour)
    return make(new, deserializer or handler.request_deserializer, handler.response_serializer)


class WrappingInterceptor(grpc.aio.ServerInterceptor, abc.ABC):
    """Wraps the handler of each method once, and not for each call."""

    def __init__(self) -> None:
        self._wrapped: dict[str, tuple[Handler, Handler]] = {}
        """By method: the handler as registered, and wrapped."""

    @abc.abstractmethod
    def wrap(self, method: str, handler: Handler) -> Handler:
        """Return what is to be called instead of a handler, or the handler itself."""

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        """Return the wrapped handler of a method; None for one that does not exist."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        method = handler_call_details.method
        known = self._wrapped.get(method)
        if known is None or known[0] is not handler:
            known = self._wrapped[method] = (handler, self.wrap(method, handler))
        return known[1]


def names_of(method: str) -> tuple[str, str]:
    """Return service and method of a path such as "/sagaline.v1.SagaService/GetSaga"."""
    service, _, name = method.lstrip("/").rpartition("/")
    return service, name
