"""The synchronous client's way to the SECs: as `aio_link`, over plain grpc channels."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar, cast

import grpc

from sagaline.client.calls import Call
from sagaline.client.channels import HEALTH, HEALTH_TIMEOUT_S, UNREACHED, as_is, is_serving, may_serve, open_channel
from sagaline.client.methods import Method, Req, Res
from sagaline.client.repeating import Attempts
from sagaline.client.route import Route
from sagaline.client.running import RunBook
from sagaline.client.status import FailedCall, from_call
from sagaline.errors import RpcError, Unavailable
from sagaline.v1 import saga_service_pb2

T = TypeVar("T")
Answer_co = TypeVar("Answer_co", covariant=True)


class Stream(Protocol[Answer_co]):
    """The answers of an open stream."""

    def __iter__(self) -> Iterator[Answer_co]:
        """Iterate over the answers as they come."""
        raise NotImplementedError

    def cancel(self) -> object:
        """Give the stream up."""
        raise NotImplementedError


class SyncLink:
    """A channel for each address, opened by the first call to it.

    Args:
        target: Addresses.
        credentials: TLS credentials. None: no TLS.
        timeout_s: How long a call may take, its repetitions included.
        patience_s: How long a call may fail in a row.
        channel: The only channel, instead of those of the addresses; it becomes the link's to close.
        sleep: How the thread waits.
    """

    def __init__(
        self,
        target: str | Sequence[str],
        credentials: grpc.ChannelCredentials | None,
        timeout_s: float,
        patience_s: float,
        channel: grpc.Channel | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._route = Route(target)
        self._credentials = credentials
        self._timeout_s = timeout_s
        self._patience_s = patience_s
        self._given = channel
        self._lock = threading.Lock()
        self._channels: dict[str, grpc.Channel] = {}
        self._closed = False
        self.sleep = sleep

    def close(self) -> None:
        """Close the channels; what is under way in other threads is cancelled."""
        with self._lock:
            self._closed = True
            channels = [*self._channels.values(), *([] if self._given is None else [self._given])]
            self._channels.clear()
        for channel in channels:
            channel.close()

    def unary(self, call: Call[T]) -> T:
        """Make a call, and make it again where that is safe and may help."""
        attempts = self._attempts(
            call.timeout_s or self._timeout_s, repeatable=call.method.repeatable, shares=call.timeout_s is None
        )
        while True:
            channel = self._channel(attempts)
            send: grpc.UnaryUnaryMultiCallable[Any, Any] = channel.unary_unary(
                call.method.path,
                request_serializer=call.method.request.SerializeToString,
                response_deserializer=call.method.response.FromString,
            )
            is_sent = call.method.repeatable or attempts.addresses == 1 or _is_serving(channel, attempts)
            try:
                if not is_sent:
                    raise Unavailable(UNREACHED.format(attempts.address))
                answer = send(call.request, timeout=attempts.attempt_timeout_s(time.monotonic()))
            except grpc.RpcError as failed:
                if self._closed:
                    raise error_of(failed) from None
                self.pause(attempts, error_of(failed))
            except Unavailable as unreached:
                self.pause(attempts, unreached, unsent=True)
            else:
                return call.parse(answer)

    def stream_attempts(self) -> Attempts:
        """Return the attempts of a stream that can go on where it broke."""
        return self._attempts(None, repeatable=True)

    def _attempts(self, timeout_s: float | None, *, repeatable: bool, shares: bool = False) -> Attempts:
        addresses = len(self._route.addresses) if self._given is None else 1
        return Attempts(time.monotonic(), timeout_s, self._patience_s, repeatable, addresses, shares)

    def read(self, method: Method[Req, Res], request: Req, attempts: Attempts) -> Stream[Res]:
        """Open a stream of answers to one request. The caller cancels it."""
        opened = self._channel(attempts).unary_stream(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )
        return cast("Stream[Res]", opened(request, timeout=attempts.attempt_timeout_s(time.monotonic())))

    def converse(self, method: Method[Req, Res], requests: Iterator[Req], attempts: Attempts) -> Stream[Res]:
        """Open a stream both ways. The caller cancels it, and ends `requests`."""
        opened = self._channel(attempts).stream_stream(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )
        return cast("Stream[Res]", opened(requests, timeout=attempts.attempt_timeout_s(time.monotonic())))

    def pause(self, attempts: Attempts, error: RpcError, *, unsent: bool = False) -> None:
        """Wait until the call is to be made again, or the stream to be opened, at another address if there is one.

        Raises:
            RpcError: `error`: it is not to be.
        """
        delay_s = attempts.delay_s(error, time.monotonic(), random.random(), unsent=unsent)
        self._route.failed(attempts.address)
        self.sleep(delay_s)

    def _channel(self, attempts: Attempts) -> grpc.Channel:
        """Return the channel of the current address, and note for `attempts` which that is."""
        attempts.address = address = self._route.current
        if self._given is not None:
            return self._given
        with self._lock:
            if self._closed:
                raise ValueError("the client is closed")
            if address not in self._channels:
                self._channels[address] = open_channel(address, self._credentials)
            return self._channels[address]


def _is_serving(channel: grpc.Channel, attempts: Attempts) -> bool:
    ask: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(HEALTH, as_is, as_is)
    try:
        return is_serving(ask(b"", timeout=min(HEALTH_TIMEOUT_S, attempts.attempt_timeout_s(time.monotonic()))))
    except grpc.RpcError as failed:
        return may_serve(cast("FailedCall", failed).code())


def error_of(failed: grpc.RpcError) -> RpcError:
    """Return the error that a failed call stands for; what grpc raises is the call itself."""
    return from_call(cast("FailedCall", failed))


class SyncFrames:
    """The frames that a run sends on one stream. gRPC takes them in a thread of its own, which ends with them.

    The book belongs to both threads: whoever uses it holds `lock`.
    """

    def __init__(self, book: RunBook[Any]) -> None:
        self._book = book
        self._closed = False
        self.lock = threading.Condition()

    def wake(self) -> None:
        """Say that the book may have something to send."""
        with self.lock:
            self.lock.notify_all()

    def close(self) -> None:
        """End the frames: the stream is given up."""
        with self.lock:
            self._closed = True
            self.lock.notify_all()

    def stream(self) -> Iterator[saga_service_pb2.RunSagasRequest]:
        """Yield frames until closed."""
        while True:
            with self.lock:
                frame = None
                while not self._closed and (frame := self._book.next_frame()) is None:
                    self.lock.wait()
                if self._closed or frame is None:
                    return
            yield frame
