"""The network between hosts: messages take time, get lost, and find some ways closed.

Two kinds of traffic, with what each can suffer for real. A *datagram* stands
for a unary request or its answer: late, lost, overtaken. A *pipe* is one
direction of a stream: ordered and complete until its connection breaks; a way
that is closed holds it up, as TCP does, and what is under way when the
connection breaks is gone. Ways are closed in one direction at a time.
"""

from __future__ import annotations

import asyncio
import enum
import random
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import msgspec

from tests.simulation.loop import Simulator
from tests.simulation.processes import Process

WINDOW_FRAMES = 64
"""Frames of one direction that are under way or not read yet; a sender waits beyond that."""


class Weather(msgspec.Struct):
    """How bad the network is. Times in seconds, shares from 0 to 1."""

    latency: float = 0.002
    jitter: float = 0.003
    slow: float = 0.0
    """Share of messages that take up to `slow_max` longer."""
    slow_max: float = 1.0
    loss: float = 0.0
    """Share of datagrams that never arrive."""
    silent_death: float = 0.0
    """Share of dying processes of which the network says nothing: the host is gone, not only the process."""


class Network:
    """Ways between hosts, by name."""

    def __init__(self, sim: Simulator, chance: random.Random) -> None:
        """Make a network in good weather."""
        self.sim = sim
        self.weather = Weather()
        self.connections: dict[int, Connection] = {}
        self.streamless: set[tuple[str, str]] = set()
        """Clients and servers between which no stream comes about."""
        self.calls: Counter[str] = Counter()
        """Unary calls that have arrived, by method."""
        self.on_frame: Callable[[Connection, Any], None] = _nobody_looks
        """Called with every frame that a server sends, at the moment it leaves."""
        self._connected = 0
        self._chance = chance
        self._closed: set[tuple[str, str]] = set()
        self._held: dict[tuple[str, str], list[Callable[[], None]]] = {}

    def close(self, source: str, target: str) -> None:
        """Let nothing through in this direction any more."""
        self._closed.add((source, target))

    def open(self, source: str, target: str) -> None:
        """Let everything through again; what was held up goes on."""
        self._closed.discard((source, target))
        for go_on in self._held.pop((source, target), []):
            self.sim.after(self.delay(), go_on)

    def open_all(self) -> None:
        """Close nothing."""
        for way in sorted(self._closed):
            self.open(*way)

    def is_closed(self, source: str, target: str) -> bool:
        """True where nothing gets through."""
        return (source, target) in self._closed

    def when_open(self, source: str, target: str, call: Callable[[], None]) -> None:
        """Call something once the way is open."""
        if self.is_closed(source, target):
            self._held.setdefault((source, target), []).append(call)
        else:
            call()

    def delay(self) -> float:
        """Draw how long a message takes, in seconds."""
        weather, chance = self.weather, self._chance
        delay = weather.latency + weather.jitter * chance.random()
        if weather.slow and chance.random() < weather.slow:
            delay += weather.slow_max * chance.random()
        return delay

    def datagram(self, source: str, target: str, arrive: Callable[[], None]) -> None:
        """Carry a message that may be lost, and is lost where the way is closed when it would arrive."""
        if self.weather.loss and self._chance.random() < self.weather.loss:
            return

        def deliver() -> None:
            if not self.is_closed(source, target):
                arrive()

        self.sim.after(self.delay(), deliver)

    def insist(self, source: str, target: str, arrive: Callable[[], None]) -> None:
        """Carry a message that is repeated below us until it gets through."""
        self.sim.after(self.delay(), lambda: self.when_open(source, target, arrive))

    def connect(self, client: Process, server: Process) -> Connection:
        """Connect two processes."""
        self._connected += 1
        connection = self.connections[self._connected] = Connection(self, self._connected, client, server)
        return connection

    def dies_silently(self) -> bool:
        """Draw whether the network says nothing of a process's death."""
        return bool(self.weather.silent_death) and self._chance.random() < self.weather.silent_death


class Status(msgspec.Struct, frozen=True):
    """How a stream ended, as gRPC tells it: a status code's name and words."""

    code: str
    details: str = ""


OK = Status("OK")
RESET = Status("UNAVAILABLE", "the connection broke")


class End(enum.Enum):
    """Read in place of a frame: the sender sends no more."""

    END = "end"


class Pipe:
    """One direction of a connection."""

    def __init__(self, connection: Connection, source: Process, target: Process) -> None:
        self.status: Status | None = None
        """How it ended for the receiver; None while it has not."""
        self._connection = connection
        self._network = connection.network
        self._source, self._target = source, target
        self._under_way: deque[tuple[float, Any]] = deque()
        self._last_due = 0.0
        self._is_moving = False
        self._arrived: deque[Any] = deque()
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        self._is_cut = False

    # ---- the sender's side

    def send(self, frame: Any) -> None:
        """Send a frame, or a Status: the end."""
        if self._is_cut:
            return
        self._last_due = max(self._last_due, self._network.sim.now + self._network.delay())
        self._under_way.append((self._last_due, frame))
        self._move()

    def has_room(self) -> bool:
        """True while the sender need not wait."""
        return len(self._under_way) + len(self._arrived) < WINDOW_FRAMES or self._is_cut

    async def room(self) -> None:
        """Wait until a frame may be sent. In the sender's loop."""
        while not self.has_room():
            self._writer = self._source.loop.create_future()
            await self._writer

    def cut(self) -> None:
        """Lose what is under way, and carry nothing more."""
        self._is_cut = True
        self._under_way.clear()
        self._wake_writer()

    # ---- on the way

    def _move(self) -> None:
        if not self._is_moving and self._under_way:
            self._is_moving = True
            self._network.sim.at(self._under_way[0][0], self._come)

    def _come(self) -> None:
        self._network.when_open(self._source.host.name, self._target.host.name, self._arrive)

    def _arrive(self) -> None:
        self._is_moving = False
        if self._is_cut or not self._target.alive:
            return
        now = self._network.sim.now
        while self._under_way and self._under_way[0][0] <= now:
            frame = self._under_way.popleft()[1]
            if isinstance(frame, Status):
                self.end(frame)
            else:
                self._arrived.append(frame)
                self._wake_reader()
        self._move()

    # ---- the receiver's side

    def end(self, status: Status) -> None:
        """Let the receiver read what has arrived, and then the end."""
        if self.status is None:
            self.status = status
            self._wake_reader()

    async def receive(self) -> Any:
        """Return the next frame, or END. In the receiver's loop."""
        while not self._arrived:
            if self.status is not None:
                return End.END
            self._reader = self._target.loop.create_future()
            await self._reader
        frame = self._arrived.popleft()
        self._wake_writer()
        return frame

    def _wake_reader(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None and not reader.done():
            reader.set_result(None)

    def _wake_writer(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None and not writer.done():
            writer.set_result(None)


class Connection:
    """One stream between two processes, until it breaks."""

    def __init__(self, network: Network, number: int, client: Process, server: Process) -> None:
        self.network = network
        self.number = number
        self.client, self.server = client, server
        self.up = Pipe(self, client, server)
        self.down = Pipe(self, server, client)
        self.task: asyncio.Task[None] | None = None
        """What serves it; cancelled at the server when the client has cancelled, or is gone."""
        self.is_over = False
        client.on_death.append(self._client_died)
        server.on_death.append(self._server_died)

    def cancel(self) -> None:
        """The client lets go of the stream; the server hears of it when that gets through."""
        if self.is_over:
            return
        self._forget()
        self.up.cut()
        self.down.cut()
        self.network.insist(self.client.host.name, self.server.host.name, self._lose_client)

    def finish(self, status: Status) -> None:
        """The server has said everything."""
        self._forget()
        self.up.cut()
        self.down.send(status)

    def reset(self, *, tell_client: bool = True, tell_server: bool = True) -> None:
        """Break it. A side that is not told goes on believing in it."""
        self._forget()
        self.up.cut()
        self.down.cut()
        if tell_client:
            self.network.sim.after(self.network.delay(), self._lose_server)
        if tell_server:
            self.network.sim.after(self.network.delay(), self._lose_client)

    def _client_died(self) -> None:
        self._forget()
        self.up.cut()
        self.down.cut()
        if not self.network.dies_silently():
            self.network.insist(self.client.host.name, self.server.host.name, self._lose_client)

    def _server_died(self) -> None:
        self._forget()
        self.up.cut()
        self.down.cut()
        if not self.network.dies_silently():
            self.network.insist(self.server.host.name, self.client.host.name, self._lose_server)

    def _lose_client(self) -> None:
        if self.server.alive:
            self.up.end(RESET)
            if self.task is not None:
                self.task.cancel()

    def _lose_server(self) -> None:
        if self.client.alive:
            self.down.end(RESET)

    def _forget(self) -> None:
        self.is_over = True
        self.network.connections.pop(self.number, None)
        for process, notice in ((self.client, self._client_died), (self.server, self._server_died)):
            if notice in process.on_death:
                process.on_death.remove(notice)


def _nobody_looks(connection: Connection, frame: Any) -> None:
    pass
