"""The synchronous client's way to a SEC: as `aio_link`, over a plain grpc channel."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar, cast

import grpc

from sagaline.client.calls import Call
from sagaline.client.channels import CHANNEL_OPTIONS
from sagaline.client.methods import Method, Req, Res
from sagaline.client.repeating import Attempts
from sagaline.client.running import RunBook
from sagaline.client.status import FailedCall, from_call
from sagaline.errors import RpcError
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
    """One channel.

    Args:
        channel: The channel, which becomes the link's to close.
        timeout_s: How long a call may take, its repetitions included.
        patience_s: How long a call may fail in a row.
        sleep: How the thread waits.
    """

    def __init__(
        self,
        channel: grpc.Channel,
        timeout_s: float,
        patience_s: float,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._channel = channel
        self._timeout_s = timeout_s
        self._patience_s = patience_s
        self.sleep = sleep

    def close(self) -> None:
        """Close the channel; what is under way in other threads is cancelled."""
        self._channel.close()

    def unary(self, call: Call[T]) -> T:
        """Make a call, and make it again where that is safe and may help."""
        attempts = self._attempts(call.timeout_s or self._timeout_s, repeatable=call.method.repeatable)
        send: grpc.UnaryUnaryMultiCallable[Any, Any] = self._channel.unary_unary(
            call.method.path,
            request_serializer=call.method.request.SerializeToString,
            response_deserializer=call.method.response.FromString,
        )
        while True:
            try:
                answer = send(call.request, timeout=attempts.attempt_timeout_s(time.monotonic()))
            except grpc.RpcError as failed:
                delay_s = attempts.delay_s(error_of(failed), time.monotonic(), random.random())
            else:
                return call.parse(answer)
            self.sleep(delay_s)

    def stream_attempts(self) -> Attempts:
        """Return the attempts of a stream that can go on where it broke."""
        return self._attempts(None, repeatable=True)

    def _attempts(self, timeout_s: float | None, *, repeatable: bool) -> Attempts:
        return Attempts(time.monotonic(), timeout_s, self._patience_s, repeatable)

    def read(self, method: Method[Req, Res], request: Req, attempts: Attempts) -> Stream[Res]:
        """Open a stream of answers to one request. The caller cancels it."""
        opened = self._channel.unary_stream(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )
        return cast("Stream[Res]", opened(request, timeout=attempts.attempt_timeout_s(time.monotonic())))

    def converse(self, method: Method[Req, Res], requests: Iterator[Req], attempts: Attempts) -> Stream[Res]:
        """Open a stream both ways. The caller cancels it, and ends `requests`."""
        opened = self._channel.stream_stream(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )
        return cast("Stream[Res]", opened(requests, timeout=attempts.attempt_timeout_s(time.monotonic())))

    def pause(self, attempts: Attempts, error: RpcError) -> None:
        """Wait until the stream is to be opened again.

        Raises:
            RpcError: `error`: it is not to be.
        """
        self.sleep(attempts.delay_s(error, time.monotonic(), random.random()))


def open_channel(target: str, credentials: grpc.ChannelCredentials | None) -> grpc.Channel:
    """Return a channel with the options that both faces use."""
    if credentials is None:
        return grpc.insecure_channel(target, CHANNEL_OPTIONS)
    return grpc.secure_channel(target, credentials, CHANNEL_OPTIONS)


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
