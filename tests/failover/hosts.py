"""Where processes run, and what can be done to them: started, killed, stopped for a while, asked to leave."""

from __future__ import annotations

import asyncio
import random
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.failover.proxy import FaultProxy
from tests.processes import Process, start, until_serving

LEAVE_SECONDS = 40.0
"""How long a process may take to leave when asked to, whatever else is wrong: the sum of its own time limits."""
STEADY_PORTS = range(17_000, 32_000)
"""Below those that outgoing connections get, so that a port is still free when its process is started again."""


class Host:
    """A place for one process, which may die and be started again there."""

    def __init__(
        self, name: str, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.log = log
        self.environment = dict(environment or {})
        """Variables that its next process gets besides."""
        self.lock = asyncio.Lock()
        """Held by who does something to it."""
        self.is_stopped = False
        self.starts = 0
        self.process: Process | None = None
        self._command = command

    @property
    def is_up(self) -> bool:
        """True while a process runs here, stopped or not."""
        return self.process is not None and self.process.running

    async def launch(self) -> None:
        """Start a process unless one runs; it may take a while until it serves."""
        if not self.is_up:
            self.is_stopped = False
            self.starts += 1
            self.process = await start(self.name, *self._command, log=self.log, environment=self.environment)

    async def kill(self) -> None:
        """End it as a loss of power would."""
        if self.process is not None and self.process.running:
            self.process.signal(signal.SIGKILL)
            await self.process.ended()

    def stop(self) -> None:
        """Let it hang: connections stay, nothing is done."""
        if self.process is not None and self.process.running:
            self.process.signal(signal.SIGSTOP)
            self.is_stopped = True

    def resume(self) -> None:
        """End `stop`."""
        if self.process is not None and self.process.running and self.is_stopped:
            self.process.signal(signal.SIGCONT)
        self.is_stopped = False

    async def leave(self) -> int:
        """Ask it to leave and wait until it has; returns its exit code.

        Raises:
            TimeoutError: It does not.
        """
        assert self.process is not None
        if self.process.running:
            self.process.signal(signal.SIGTERM)
        return await self.process.ended(LEAVE_SECONDS)

    async def revive(self) -> None:
        """Let it run, whatever was done to it."""
        self.resume()
        await self.launch()

    async def end(self) -> None:
        """End it, whatever it is doing."""
        self.resume()
        await self.kill()


@dataclass(frozen=True)
class SecLinks:
    """The proxies around one SEC."""

    clients: FaultProxy
    """What clients dial."""
    workers: FaultProxy
    """What workers and other SECs dial: the address that it advertises."""
    etcd: tuple[FaultProxy, ...]
    """What it dials for each member of etcd."""

    def all(self) -> tuple[FaultProxy, ...]:
        return (self.clients, self.workers, *self.etcd)


@dataclass(frozen=True)
class SecSettings:
    """What every SEC of a site is told."""

    prefix: str
    lease_ttl: int = 3
    grace: float = 8.0
    """Longer than it takes to take over, so that the death of a SEC does not lose its workers' attempts."""
    heartbeat: tuple[float, float] = (1.0, 4.0)
    drain_timeout: float = 8.0
    more: tuple[str, ...] = field(default=("--log-level", "info"))


class SecHost(Host):
    """A SEC, on etcd."""

    def __init__(
        self,
        sec_id: str,
        folder: Path,
        settings: SecSettings,
        etcd: Sequence[str],
        listen: str,
        advertise: str,
        links: SecLinks | None,
    ) -> None:
        self.address = listen
        """What it serves on; behind the proxies, if there are any."""
        self.links = links
        interval, timeout = settings.heartbeat
        command = [
            *(sys.executable, "-m", "sagaline_server", "--sec-id", sec_id),
            *("--listen", listen, "--advertise", advertise, "--store", "etcd"),
            *("--etcd-endpoints", ",".join(etcd), "--etcd-prefix", settings.prefix),
            *("--lease-ttl", str(settings.lease_ttl), "--grace-timeout", str(settings.grace)),
            *("--heartbeat-interval", str(interval), "--heartbeat-timeout", str(timeout)),
            *("--drain-timeout", str(settings.drain_timeout), "--shutdown-timeout", "4", *settings.more),
        ]
        super().__init__(sec_id, command, folder / f"{sec_id}.log")

    @property
    def client_address(self) -> str:
        """What clients dial."""
        return self.address if self.links is None else self.links.clients.address

    @property
    def worker_address(self) -> str:
        """What workers dial."""
        return self.address if self.links is None else self.links.workers.address

    async def until_serving(self) -> None:
        """Wait until it serves."""
        await until_serving(self.address)


async def make_sec(
    stack: AsyncExitStack, sec_id: str, folder: Path, settings: SecSettings, etcd: Sequence[str], *, proxied: bool
) -> SecHost:
    """Return a SEC that is not started, with its proxies if it is to have any; the stack ends both."""
    listen = f"127.0.0.1:{steady_port()}"
    links = None
    advertise = listen
    if proxied:
        proxies = [await stack.enter_async_context(FaultProxy(target)) for target in (listen, listen, *etcd)]
        links = SecLinks(proxies[0], proxies[1], tuple(proxies[2:]))
        etcd = [proxy.address for proxy in links.etcd]
        advertise = links.workers.address
    host = SecHost(sec_id, folder, settings, etcd, listen, advertise, links)
    stack.push_async_callback(host.end)
    return host


def make_worker(
    stack: AsyncExitStack,
    name: str,
    folder: Path,
    command: Sequence[str],
    environment: Mapping[str, str] | None = None,
) -> Host:
    """Return a worker that is not started; the stack ends it."""
    host = Host(name, [sys.executable, *command], folder / f"{name}.log", environment)
    stack.push_async_callback(host.end)
    return host


_given: set[int] = set()


def steady_port() -> int:
    """Return a port that nobody listens on, and nobody will by chance."""
    while True:
        port = random.choice(STEADY_PORTS)
        if port in _given:
            continue
        _given.add(port)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
