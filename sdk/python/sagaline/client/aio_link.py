"""The asyncio client's way to the SECs: its channels, its calls with their repetitions, and its streams."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Sequence
from typing import Any, TypeVar

import grpc
import grpc.aio

from sagaline.client.calls import Call
from sagaline.client.channels import CHANNEL_OPTIONS, HEALTH, HEALTH_TIMEOUT_S, UNREACHED, as_is, is_serving, may_serve
from sagaline.client.methods import Method, Req, Res
from sagaline.client.repeating import Attempts
from sagaline.client.route import Route
from sagaline.client.running import RunBook
from sagaline.client.status import from_call
from sagaline.errors import CallStopped, RpcError, Unavailable
from sagaline.v1 import saga_service_pb2

T = TypeVar("T")


class AioLink:
    """A channel for each address, opened by the first call to it because it belongs to the loop that runs then."""

    def __init__(
        self,
        target: str | Sequence[str],
        credentials: grpc.ChannelCredentials | None,
        timeout_s: float,
        patience_s: float,
    ) -> None:
        self._route = Route(target)
        self._credentials = credentials
        self._timeout_s = timeout_s
        self._patience_s = patience_s
        self._channels: dict[str, grpc.aio.Channel] = {}

    @property
    def timeout_s(self) -> float:
        """How long a call may take, its repetitions included."""
        return self._timeout_s

    async def close(self) -> None:
        """Close the channels; what is under way is cancelled."""
        channels, self._channels = self._channels, {}
        for channel in channels.values():
            await channel.close()

    async def unary(self, call: Call[T]) -> T:
        """Make a call, and make it again where that is safe and may help."""
        attempts = self._attempts(
            call.timeout_s or self._timeout_s, repeatable=call.method.repeatable, shares=call.timeout_s is None
        )
        while True:
            channel = self._channel(attempts)
            send: grpc.aio.UnaryUnaryMultiCallable[Any, Any] = channel.unary_unary(
                call.method.path,
                request_serializer=call.method.request.SerializeToString,
                response_deserializer=call.method.response.FromString,
            )
            is_sent = call.method.repeatable or attempts.addresses == 1 or await _is_serving(channel, attempts)
            try:
                if not is_sent:
                    raise Unavailable(UNREACHED.format(attempts.address))
                answer = await send(call.request, timeout=attempts.attempt_timeout_s(time.monotonic()))
            except grpc.aio.AioRpcError as failed:
                await self.pause(attempts, from_call(failed))
            except Unavailable as unreached:
                await self.pause(attempts, unreached, unsent=True)
            except asyncio.CancelledError:
                if is_cancelled():
                    raise
                raise CallStopped("the client was closed", status="CANCELLED") from None
            else:
                return call.parse(answer)

    def stream_attempts(self) -> Attempts:
        """Return the attempts of a stream that can go on where it broke."""
        return self._attempts(None, repeatable=True)

    def _attempts(self, timeout_s: float | None, *, repeatable: bool, shares: bool = False) -> Attempts:
        addresses = len(self._route.addresses)
        return Attempts(time.monotonic(), timeout_s, self._patience_s, repeatable, addresses, shares)

    def read(self, method: Method[Req, Res], request: Req, attempts: Attempts) -> grpc.aio.UnaryStreamCall[Req, Res]:
        """Open a stream of answers to one request. The caller cancels it."""
        opened: grpc.aio.UnaryStreamMultiCallable[Req, Res] = self._channel(attempts).unary_stream(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )
        return opened(request, timeout=attempts.attempt_timeout_s(time.monotonic()))

    def converse(
        self, method: Method[Req, Res], requests: AsyncGenerator[Req, None], attempts: Attempts
    ) -> grpc.aio.StreamStreamCall[Req, Res]:
        """Open a stream both ways. The caller cancels it."""
        opened: grpc.aio.StreamStreamMultiCallable[Req, Res] = self._channel(attempts).stream_stream(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )
        return opened(requests, timeout=attempts.attempt_timeout_s(time.monotonic()))

    async def pause(self, attempts: Attempts, error: RpcError, *, unsent: bool = False) -> None:
        """Wait until the call is to be made again, or the stream to be opened, at another address if there is one.

        Raises:
            RpcError: `error`: it is not to be.
        """
        delay_s = attempts.delay_s(error, time.monotonic(), random.random(), unsent=unsent)
        self._route.failed(attempts.address)
        await asyncio.sleep(delay_s)

    def _channel(self, attempts: Attempts) -> grpc.aio.Channel:
        """Return the channel of the current address, and note for `attempts` which that is."""
        attempts.address = address = self._route.current
        channel = self._channels.get(address)
        if channel is None:
            options = list(CHANNEL_OPTIONS)
            channel = self._channels[address] = (
                grpc.aio.insecure_channel(address, options)
                if self._credentials is None
                else grpc.aio.secure_channel(address, self._credentials, options)
            )
        return channel


def is_cancelled() -> bool:
    """Say whether it is this task that is to stop; closing a channel cancels calls as well."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


async def _is_serving(channel: grpc.aio.Channel, attempts: Attempts) -> bool:
    ask: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(HEALTH, as_is, as_is)
    try:
        return is_serving(await ask(b"", timeout=min(HEALTH_TIMEOUT_S, attempts.attempt_timeout_s(time.monotonic()))))
    except grpc.aio.AioRpcError as failed:
        return may_serve(failed.code())


class AioFrames:
    """The frames that a run sends on one stream; gRPC takes them one by one, as fast as they can be written."""

    def __init__(self, book: RunBook[Any]) -> None:
        self._book = book
        self._wake = asyncio.Event()
        self._closed = False

    @property
    def is_closed(self) -> bool:
        """Whether the frames have been ended on this side."""
        return self._closed

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
