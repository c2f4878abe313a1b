"""The asyncio client's way to a SEC: its channel, its calls with their repetitions, and its streams."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator
from typing import Any, TypeVar

import grpc
import grpc.aio

from sagaline.client.calls import Call
from sagaline.client.channels import CHANNEL_OPTIONS
from sagaline.client.methods import Method, Req, Res
from sagaline.client.repeating import Attempts
from sagaline.client.running import RunBook
from sagaline.client.status import from_call
from sagaline.errors import RpcError
from sagaline.v1 import saga_service_pb2

T = TypeVar("T")


class AioLink:
    """One channel, opened by the first call because it belongs to the loop that runs then."""

    def __init__(
        self, target: str, credentials: grpc.ChannelCredentials | None, timeout_s: float, patience_s: float
    ) -> None:
        self._target = target
        self._credentials = credentials
        self._timeout_s = timeout_s
        self._patience_s = patience_s
        self._open_channel: grpc.aio.Channel | None = None

    async def close(self) -> None:
        """Close the channel; what is under way is cancelled."""
        channel, self._open_channel = self._open_channel, None
        if channel is not None:
            await channel.close()

    async def unary(self, call: Call[T]) -> T:
        """Make a call, and make it again where that is safe and may help."""
        attempts = self._attempts(call.timeout_s or self._timeout_s, repeatable=call.method.repeatable)
        while True:
            send: grpc.aio.UnaryUnaryMultiCallable[Any, Any] = self._channel().unary_unary(
                call.method.path,
                request_serializer=call.method.request.SerializeToString,
                response_deserializer=call.method.response.FromString,
            )
            try:
                answer = await send(call.request, timeout=attempts.attempt_timeout_s(time.monotonic()))
            except grpc.aio.AioRpcError as failed:
                delay_s = attempts.delay_s(from_call(failed), time.monotonic(), random.random())
            else:
                return call.parse(answer)
            await asyncio.sleep(delay_s)

    def stream_attempts(self) -> Attempts:
        """Return the attempts of a stream that can go on where it broke."""
        return self._attempts(None, repeatable=True)

    def _attempts(self, timeout_s: float | None, *, repeatable: bool) -> Attempts:
        return Attempts(time.monotonic(), timeout_s, self._patience_s, repeatable)

    def read(self, method: Method[Req, Res], request: Req, attempts: Attempts) -> grpc.aio.UnaryStreamCall[Req, Res]:
        """Open a stream of answers to one request. The caller cancels it."""
        opened: grpc.aio.UnaryStreamMultiCallable[Req, Res] = self._channel().unary_stream(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )
        return opened(request, timeout=attempts.attempt_timeout_s(time.monotonic()))

    def converse(
        self, method: Method[Req, Res], requests: AsyncGenerator[Req, None], attempts: Attempts
    ) -> grpc.aio.StreamStreamCall[Req, Res]:
        """Open a stream both ways. The caller cancels it."""
        opened: grpc.aio.StreamStreamMultiCallable[Req, Res] = self._channel().stream_stream(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )
        return opened(requests, timeout=attempts.attempt_timeout_s(time.monotonic()))

    async def pause(self, attempts: Attempts, error: RpcError) -> None:
        """Wait until the stream is to be opened again.

        Raises:
            RpcError: `error`: it is not to be.
        """
        await asyncio.sleep(attempts.delay_s(error, time.monotonic(), random.random()))

    def _channel(self) -> grpc.aio.Channel:
        if self._open_channel is None:
            options = list(CHANNEL_OPTIONS)
            self._open_channel = (
                grpc.aio.insecure_channel(self._target, options)
                if self._credentials is None
                else grpc.aio.secure_channel(self._target, self._credentials, options)
            )
        return self._open_channel


class AioFrames:
    """The frames that a run sends on one stream; gRPC takes them one by one, as fast as they can be written."""

    def __init__(self, book: RunBook[Any]) -> None:
        self._book = book
        self._wake = asyncio.Event()
        self._closed = False

    def wake(self) -> None:
        """Say that the book may have something to send."""
        self._wake.set()

    def close(self) -> None:
        """End the frames: the stream is given up."""
        self._closed = True
        self._wake.set()

    async def stream(self) -> AsyncGenerator[saga_service_pb2.RunSagasRequest, None]:
        """Yield frames until closed."""
        while not self._closed:
            frame = self._book.next_frame()
            if frame is not None:
                yield frame
                continue
            self._wake.clear()
            await self._wake.wait()
