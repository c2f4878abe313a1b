"""The simulated etcd: leases, watches, and all that can happen to a request on its way there and back.

It does not crash; it can be away for minutes, and every SEC's way to it is one
of the network's. A request may be carried out long after its sender gave up.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any, TypeVar

import grpc
import msgspec

from sagaline_server.store.etcd.channel import EtcdError
from sagaline_server.store.feed import LocalFeed
from tests.simulation.backend import SimBackend
from tests.simulation.loop import Simulator, Timer
from tests.simulation.network import Network
from tests.simulation.processes import Process

T = TypeVar("T")

NAME = "etcd"
"""Its name as a host of the network; that of another one begins with it too."""
REVISIONS_APART = 1_000_000
"""Between the first revisions of two etcds, so that an incarnation is of one of them whoever looks at it."""
CALL_SECONDS = 5.0
"""Deadline of one call."""


class StoreWeather(msgspec.Struct):
    """How etcd behaves. Times in seconds, shares from 0 to 1."""

    latency: float = 0.002
    jitter: float = 0.004
    slow: float = 0.0
    slow_max: float = 2.0
    lose_request: float = 0.0
    lose_answer: float = 0.0
    late: float = 0.0
    """Share of requests that are carried out only when their sender has given up."""
    late_max: float = 30.0
    quick_failure: float = 0.5
    """Share of the lost ones whose sender hears at once that the connection broke."""
    break_watch: float = 0.0
    """Share of events with which a watch breaks: they are lost, and what follows until it is mended."""


class Lost(Exception):
    """A request that is carried out by nobody."""


class Lease(msgspec.Struct):
    """One lease."""

    ttl: float
    until: float
    sec_id: str = ""
    incarnation: int = 0
    timer: Timer | None = None


class EtcdService:
    """What SECs reach over the network."""

    def __init__(
        self, sim: Simulator, network: Network, chance: random.Random, backend: SimBackend, name: str = NAME
    ) -> None:
        """Make an empty etcd in good weather."""
        self.sim = sim
        self.name = name
        self.backend = backend
        self.weather = StoreWeather()
        self.is_away = False
        self.starved: set[str] = set()
        """Hosts of which no keep-alive gets through."""
        self._network = network
        self._chance = chance
        self._leases: dict[int, Lease] = {}
        self._lease_ids = 0
        self._ends: dict[int, float] = {}
        """When the lease of an incarnation ends, or would have by itself."""
        self._ended_by_hand: set[int] = set()
        self._when_back: list[Callable[[], None]] = []
        self._subscriptions: dict[Subscription, None] = {}
        backend.feed.on_event = lambda event: self._tell(lambda feed: feed.tell(event))
        backend.feed.on_log = lambda saga_id: self._tell(lambda feed: feed.tell_log(saga_id))

    # ---- requests

    async def ask(self, process: Process, act: Callable[[], T], seconds: float = CALL_SECONDS) -> T:
        """Have something carried out, and return the answer.

        Raises:
            EtcdError: None came in time; it may have been carried out, or may still be.
        """
        answer: asyncio.Future[T] = process.loop.create_future()
        self._send(process, act, answer, seconds)
        try:
            async with asyncio.timeout(seconds):
                return await answer
        except TimeoutError:
            raise EtcdError(grpc.StatusCode.DEADLINE_EXCEEDED, "no answer in time", self.name) from None

    def _send(self, process: Process, act: Callable[[], T], answer: asyncio.Future[T], seconds: float) -> None:
        weather, chance = self.weather, self._chance
        lost = weather.lose_request + weather.late
        if lost and (drawn := chance.random()) < lost:
            if chance.random() < weather.quick_failure:
                self._fail(process, answer)
            if drawn >= weather.lose_request:
                self.sim.after(
                    seconds + weather.late_max * chance.random() ** 2, lambda: self._arrive(process, act, None)
                )
            return
        self.sim.after(self._delay(), lambda: self._arrive(process, act, answer))

    def _arrive(self, process: Process, act: Callable[[], T], answer: asyncio.Future[T] | None) -> None:
        if self.is_away:
            # It waits in some queue until there is a quorum again, or is dropped.
            if self._chance.random() < 0.3:
                self._when_back.append(lambda: self._arrive(process, act, answer))
            return
        if self._network.is_closed(process.host.name, self.name):
            return
        try:
            value = act()
        except Lost:
            return
        except Exception as error:  # noqa: BLE001 - the asker's
            if answer is not None:
                self._answer(process, answer, error, failed=True)
            return
        if answer is None or (self.weather.lose_answer and self._chance.random() < self.weather.lose_answer):
            if answer is not None and self._chance.random() < self.weather.quick_failure:
                self._fail(process, answer)
            return
        self._answer(process, answer, value, failed=False)

    def _answer(self, process: Process, answer: asyncio.Future[Any], value: Any, *, failed: bool) -> None:
        def arrive() -> None:
            if answer.done() or not process.alive or self._network.is_closed(self.name, process.host.name):
                return
            if failed:
                answer.set_exception(value)
            else:
                answer.set_result(value)

        self.sim.after(self._delay(), arrive)

    def _fail(self, process: Process, answer: asyncio.Future[Any]) -> None:
        error = EtcdError(grpc.StatusCode.UNAVAILABLE, "the connection broke", self.name)
        self._answer(process, answer, error, failed=True)

    def _delay(self) -> float:
        weather, chance = self.weather, self._chance
        delay = weather.latency + weather.jitter * chance.random()
        if weather.slow and chance.random() < weather.slow:
            delay += weather.slow_max * chance.random()
        return delay

    # ---- being away

    def go_away(self) -> None:
        """Lose the quorum."""
        self.is_away = True

    def come_back(self) -> None:
        """Have a quorum again; a new leader gives every lease its whole time anew."""
        self.is_away = False
        for lease in self._leases.values():
            self._renew(lease)
        waiting, self._when_back = self._when_back, []
        for arrive in waiting:
            self.sim.after(self._delay(), arrive)

    # ---- leases

    def grant(self, ttl: float) -> int:
        """Make a lease."""
        self._lease_ids += 1
        lease = self._leases[self._lease_ids] = Lease(ttl, 0.0)
        self._renew(lease)
        return self._lease_ids

    def keep_alive(self, lease_id: int) -> float:
        """Renew a lease; 0 when it is gone."""
        lease = self._leases.get(lease_id)
        if lease is None:
            return 0.0
        self._renew(lease)
        return lease.ttl

    def _renew(self, lease: Lease) -> None:
        lease.until = self.sim.now + lease.ttl
        if lease.incarnation:
            self._ends[lease.incarnation] = lease.until
        if lease.timer is None:
            lease.timer = self.sim.at(lease.until, lambda: self._look_at(lease))

    def _look_at(self, lease: Lease) -> None:
        lease.timer = None
        if self.is_away:
            return
        if self.sim.now < lease.until:
            lease.timer = self.sim.at(lease.until, lambda: self._look_at(lease))
            return
        for lease_id, kept in list(self._leases.items()):
            if kept is lease:
                self.revoke(lease_id)

    def revoke(self, lease_id: int) -> None:
        """End a lease, and the incarnation that it keeps alive."""
        lease = self._leases.pop(lease_id, None)
        if lease is not None and lease.sec_id and self.backend.alive(lease.sec_id, lease.incarnation):
            self.backend.expire(lease.sec_id)

    def revoke_of(self, sec_id: str) -> bool:
        """End the lease of a SEC by hand; False if it has none."""
        for lease_id, lease in list(self._leases.items()):
            if lease.sec_id == sec_id and self.backend.alive(sec_id, lease.incarnation):
                self._ended_by_hand.add(lease.incarnation)
                self.revoke(lease_id)
                return True
        return False

    def natural_end(self, incarnation: int) -> float:
        """Return when the lease of an incarnation ends, or would have ended had nobody done that by hand."""
        return self._ends.get(incarnation, 0.0)

    def was_ended_by_hand(self, incarnation: int) -> bool:
        """True when the incarnation's lease was revoked by somebody else."""
        return incarnation in self._ended_by_hand

    def register(self, lease_id: int, sec_id: str, address: str, version: str) -> int:
        """Make a new incarnation under a lease; the same again when it is asked twice, 0 when it is too late."""
        lease = self._leases.get(lease_id)
        newer = any(other.sec_id == sec_id for other_id, other in self._leases.items() if other_id > lease_id)
        if lease is None or newer:
            return 0
        if not lease.incarnation:
            lease.sec_id = sec_id
            lease.incarnation = self.backend.register(sec_id, address, version)
            self._ends[lease.incarnation] = lease.until
        return lease.incarnation

    # ---- watches

    def subscribe(self, process: Process, feed: LocalFeed) -> None:
        """Tell a process what changes, until it dies."""
        subscription = Subscription(self, process, feed)
        self._subscriptions[subscription] = None
        process.on_death.append(lambda: self._subscriptions.pop(subscription, None))

    def _tell(self, tell: Callable[[LocalFeed], None]) -> None:
        for subscription in self._subscriptions:
            closed = self._network.is_closed(self.name, subscription.process.host.name)
            if closed or (self.weather.break_watch and self._chance.random() < self.weather.break_watch):
                subscription.tear(1.0 + 4.0 * self._chance.random())
            else:
                subscription.send(tell, self._delay())


class Subscription:
    """One process's watch on everything: events in order, late, and with holes that it is told of."""

    def __init__(self, etcd: EtcdService, process: Process, feed: LocalFeed) -> None:
        self.process = process
        self._etcd = etcd
        self._feed = feed
        self._last_due = 0.0
        self._torn = False

    def send(self, tell: Callable[[LocalFeed], None], delay: float) -> None:
        """Let an event arrive after those before it."""
        if not self._torn:
            self._last_due = max(self._last_due, self._etcd.sim.now + delay)
            self._etcd.sim.at(self._last_due, lambda: self._arrive(tell))

    def tear(self, seconds: float) -> None:
        """Lose events for some time, and then say so."""
        if not self._torn:
            self._torn = True
            self._etcd.sim.after(seconds, self._mend)

    def _mend(self) -> None:
        self._torn = False
        self._arrive(LocalFeed.tell_lost)

    def _arrive(self, tell: Callable[[LocalFeed], None]) -> None:
        if self.process.alive:
            tell(self._feed)
