"""Calls between simulated processes, in the shape in which grpc.aio gives them to production code.

A server process has `methods`: a unary one takes a request and returns the
answer, a streaming one takes an iterator of requests and a context and yields
frames. Messages are passed on as objects: nobody changes one that was sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from typing import Any, Never, Self

import grpc
from grpc import aio

from tests.simulation.network import OK, RESET, Connection, End, Network, Pipe, Status
from tests.simulation.processes import Host, Process, told

UnaryMethod = Callable[[Any], Awaitable[Any]]
StreamMethod = Callable[[AsyncIterator[Any], "ServerContext"], AsyncIterator[Any]]

CALL_SECONDS = 8.0
WAIT_SECONDS = 30.0
REFUSED = Status("UNAVAILABLE", "nobody listens there")


class CallFailed(Exception):
    """A call ended without an answer; what became of it at the server is not known."""

    def __init__(self, code: str, details: str = "") -> None:
        super().__init__(f"{code}: {details}")
        self.code = code


class Aborted(Exception):
    """A servicer has ended its call with a status."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.details)
        self.status = status


class ServerContext:
    """What a servicer may do with its call beside answering."""

    async def abort(self, code: grpc.StatusCode, details: str = "") -> Never:
        """End the call with a status."""
        raise Aborted(Status(code.name, details))

    def time_remaining(self) -> None:
        """No call brings its deadline along: who has waited enough lets go."""


class Caller:
    """The calls that one process makes."""

    def __init__(self, network: Network, process: Process) -> None:
        """Make calls from a process."""
        self._network = network
        self._process = process

    async def unary(self, target: Host, method: str, request: Any, timeout: float) -> Any:
        """Call and return the answer.

        Raises:
            CallFailed: There was none in time, or the server said no.
        """
        call = _Unary(self._network, self._process, target)
        self._network.datagram(self._process.host.name, target.name, lambda: call.arrive(method, request))
        try:
            async with asyncio.timeout(timeout):
                return await call.answer
        except TimeoutError:
            raise CallFailed("DEADLINE_EXCEEDED") from None
        finally:
            call.let_go()

    def stream(self, target: Host, method: str) -> StreamCall:
        """Open a stream."""
        return StreamCall(self._network, self._process, target, method)


class _Unary:
    """One unary call on its way there and back."""

    def __init__(self, network: Network, client: Process, target: Host) -> None:
        self._network = network
        self._client = client
        self._target = target
        self._task: asyncio.Task[None] | None = None
        self._is_over = False
        self.answer: asyncio.Future[Any] = client.loop.create_future()

    def arrive(self, method: str, request: Any) -> None:
        server = self._target.process
        if server is None or not server.alive or method not in server.methods:
            self._send_back(lambda: self._fail(CallFailed(REFUSED.code, REFUSED.details)))
            return
        self._network.calls[method] += 1
        self._task = server.loop.create_task(self._serve(server.methods[method], request))

    async def _serve(self, method: UnaryMethod, request: Any) -> None:
        try:
            answer = await method(request)
        except Aborted as aborted:
            failure = CallFailed(aborted.status.code, aborted.status.details)
            self._send_back(lambda: self._fail(failure))
        except Exception as error:  # noqa: BLE001 - gRPC would say UNKNOWN and hide it
            self._network.sim.on_trouble(told(error))
        else:
            self._send_back(lambda: self._succeed(answer))

    def _send_back(self, arrive: Callable[[], None]) -> None:
        self._network.datagram(self._target.name, self._client.host.name, arrive)

    def _succeed(self, answer: Any) -> None:
        if self._client.alive and not self.answer.done():
            self.answer.set_result(answer)

    def _fail(self, error: CallFailed) -> None:
        if self._client.alive and not self.answer.done():
            self.answer.set_exception(error)

    def let_go(self) -> None:
        """The client waits no longer; the server stops working for it when it hears of that."""
        if self._task is not None and not self._task.done() and not self._is_over:
            self._is_over = True
            self._network.datagram(self._client.host.name, self._target.name, self._cancel)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()


class StreamCall:
    """The client's side of a stream; has what `grpc.aio.StreamStreamCall` has."""

    def __init__(self, network: Network, client: Process, target: Host, method: str) -> None:
        self._network = network
        self._client = client
        self._status: Status | None = None
        self._connection: Connection | None = None
        self._connected: asyncio.Future[None] = client.loop.create_future()
        self._half_closed = False
        network.insist(client.host.name, target.name, lambda: self._arrive(target, method))

    def _arrive(self, target: Host, method: str) -> None:
        server = target.process
        if self._status is not None or not self._client.alive:
            return
        is_refused = (self._client.host.name, target.name) in self._network.streamless
        if server is None or not server.alive or is_refused or method not in server.methods:
            self._network.insist(target.name, self._client.host.name, self._refuse)
            return
        self._connection = connection = self._network.connect(self._client, server)
        connection.task = server.loop.create_task(serve(self._network, connection, server.methods[method]))
        self._wake()

    def _refuse(self) -> None:
        if self._status is None and self._client.alive:
            self._status = REFUSED
            self._wake()

    def _wake(self) -> None:
        if not self._connected.done():
            self._connected.set_result(None)

    async def _pipe(self, *, up: bool) -> Pipe | None:
        if self._connection is None and self._status is None:
            # Reader and writer both wait for it, so neither may cancel it.
            await asyncio.shield(self._connected)
        if self._connection is None:
            return None
        return self._connection.up if up else self._connection.down

    async def read(self) -> Any:
        """Return the next frame, or EOF."""
        pipe = None if self._status is not None else await self._pipe(up=False)
        frame = End.END if pipe is None else await pipe.receive()
        if frame is not End.END:
            return frame
        if self._status is None and pipe is not None:
            self._status = pipe.status
        if self._status != OK:
            raise self._error()
        return aio.EOF

    async def write(self, frame: Any) -> None:
        """Send a frame."""
        pipe = await self._pipe(up=True)
        if pipe is not None:
            await pipe.room()
        if self._status is not None or self._half_closed or pipe is None:
            raise self._error()
        pipe.send(frame)

    async def done_writing(self) -> None:
        """End the client's half."""
        self._half_closed = True
        pipe = await self._pipe(up=True)
        if pipe is not None:
            pipe.send(OK)

    def cancel(self) -> bool:
        """Let go of the stream."""
        if self._status is not None:
            return False
        self._status = Status("CANCELLED", "locally cancelled")
        if self._connection is not None:
            self._connection.cancel()
        self._wake()
        return True

    def done(self) -> bool:
        """True once the status is known."""
        return self._status is not None

    async def code(self) -> grpc.StatusCode:
        """Return the status code."""
        return grpc.StatusCode[(self._status or RESET).code]

    async def details(self) -> str:
        """Return the status's words."""
        return (self._status or RESET).details

    def _error(self) -> aio.AioRpcError:
        status = self._status or RESET
        return aio.AioRpcError(grpc.StatusCode[status.code], aio.Metadata(), aio.Metadata(), status.details)


async def serve(network: Network, connection: Connection, method: StreamMethod) -> None:
    """Serve one stream, in a task of the server."""
    status = OK
    try:
        async for frame in method(_Requests(connection.up), ServerContext()):
            await connection.down.room()
            network.on_frame(connection, frame)
            connection.down.send(frame)
    except Aborted as aborted:
        status = aborted.status
    except asyncio.CancelledError:
        status = Status("CANCELLED", "the server ended the stream")
    except Exception as error:  # noqa: BLE001 - gRPC would say UNKNOWN and hide it
        network.sim.on_trouble(told(error))
    connection.finish(status)


class _Requests:
    """The frames that a client sends."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe

    def __aiter__(self) -> _Requests:
        return self

    async def __anext__(self) -> Any:
        frame = await self._pipe.receive()
        if frame is End.END:
            raise StopAsyncIteration
        return frame


class SimChannel:
    """A channel as production code dials one: what generated stubs need of it."""

    def __init__(self, caller: Caller, target: Host) -> None:
        """Make a channel to a host."""
        self._caller = caller
        self._target = target

    def stream_stream(self, method: str, *args: object, **kwargs: object) -> Callable[..., StreamCall]:
        """Return what opens streams."""
        return lambda *_, **__: self._caller.stream(self._target, _name(method))

    def unary_unary(self, method: str, *args: object, **kwargs: object) -> Callable[..., UnaryCall]:
        """Return what makes calls."""
        return lambda request, timeout=10.0, **__: UnaryCall(
            self._caller, self._target, _name(method), request, timeout
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Nothing is left open: streams are cancelled by whoever opened them."""


class UnaryCall:
    """What a generated stub returns for a unary call."""

    def __init__(self, caller: Caller, target: Host, method: str, request: Any, timeout: float) -> None:
        self._call = (target, method, request, timeout)
        self._caller = caller

    def __await__(self) -> Generator[Any, None, Any]:
        return self._ask().__await__()

    async def _ask(self) -> Any:
        try:
            return await self._caller.unary(*self._call)
        except CallFailed as failed:
            code = grpc.StatusCode[failed.code]
            raise aio.AioRpcError(code, aio.Metadata(), aio.Metadata(), str(failed)) from None


def _name(method: str) -> str:
    return method.rsplit("/", 1)[-1]
