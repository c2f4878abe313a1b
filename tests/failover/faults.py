"""What can go wrong at a site: each kind of fault begins, lasts, and ends by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.failover.hosts import Host, SecHost, SecLinks
from tests.failover.proxy import FaultProxy, Way
from tests.failover.site import Site

SLOW_SECONDS = 0.3
"""Delay of a slow direction."""
FLAP_SECONDS = 0.5


class DidNotLeave(Exception):
    """A process that was asked to leave did not, or said that it failed."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong."""

    at: float
    """Seconds from the beginning of the run."""
    kind: str
    target: int
    """Which one, where there are several."""
    seconds: float
    """How long it lasts."""

    def __str__(self) -> str:
        return f"{self.at:6.1f} s  {self.kind} {self.target + 1} for {self.seconds:.1f} s"


Apply = Callable[[Site, Fault], Awaitable[bool]]
"""Carries a fault out from beginning to end; False: it could not be, because something else was wrong there."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of fault."""

    apply: Apply
    seconds: tuple[float, float]
    """How long it may last."""
    weight: float = 1.0
    """How often it is drawn, compared with others."""
    of_workers: bool = False
    """True: its target is a worker; otherwise a SEC, or etcd."""


# ---- processes ---------------------------------------------------------------------------------------------


async def _kill(host: Host, fault: Fault) -> bool:
    if host.lock.locked():
        return False
    async with host.lock:
        await host.kill()
        await asyncio.sleep(fault.seconds)
        await host.launch()
    return True


async def _stop(host: Host, fault: Fault) -> bool:
    if host.lock.locked() or not host.is_up:
        return False
    async with host.lock:
        host.stop()
        await asyncio.sleep(fault.seconds)
        host.resume()
    return True


async def _restart(host: Host, fault: Fault) -> bool:
    if host.lock.locked() or not host.is_up:
        return False
    async with host.lock:
        try:
            code = await host.leave()
        except TimeoutError as error:
            raise DidNotLeave(f"{host.name} did not leave") from error
        if code:
            raise DidNotLeave(f"{host.name} left with exit code {code}")
        await asyncio.sleep(fault.seconds)
        await host.launch()
    return True


async def kill_sec(site: Site, fault: Fault) -> bool:
    return await _kill(_sec(site, fault), fault)


async def stop_sec(site: Site, fault: Fault) -> bool:
    return await _stop(_sec(site, fault), fault)


async def restart_sec(site: Site, fault: Fault) -> bool:
    return await _restart(_sec(site, fault), fault)


async def kill_worker(site: Site, fault: Fault) -> bool:
    return await _kill(_worker(site, fault), fault)


async def stop_worker(site: Site, fault: Fault) -> bool:
    return await _stop(_worker(site, fault), fault)


async def restart_worker(site: Site, fault: Fault) -> bool:
    return await _restart(_worker(site, fault), fault)


async def roll(site: Site, fault: Fault) -> bool:
    """Restart every SEC, one after the other, each when the one before serves again."""
    done = False
    for sec in site.secs:
        if await _restart(sec, fault):
            done = True
            await sec.until_serving()
    return done


async def revoke_lease(site: Site, fault: Fault) -> bool:
    """End a SEC's lease although it lives."""
    try:
        return await site.revoke_lease(_sec(site, fault))
    except Exception:  # noqa: BLE001 - etcd is away too; then there is nothing to be revoked
        return False


# ---- connections -------------------------------------------------------------------------------------------


def links(sec: SecHost) -> SecLinks:
    """Return a SEC's proxies."""
    assert sec.links is not None, "this site has no proxies"
    return sec.links


async def cut_etcd(site: Site, fault: Fault) -> bool:
    """End a SEC's connections to etcd, and every new one."""
    proxies = links(_sec(site, fault)).etcd
    for proxy in proxies:
        proxy.refuse()
    await asyncio.sleep(fault.seconds)
    for proxy in proxies:
        proxy.heal()
    return True


async def flap_etcd(site: Site, fault: Fault) -> bool:
    """End a SEC's connections to etcd again and again."""
    loop = asyncio.get_running_loop()
    until = loop.time() + fault.seconds
    while loop.time() < until:
        for act in (FaultProxy.refuse, FaultProxy.heal):
            for proxy in links(_sec(site, fault)).etcd:
                act(proxy)
            await asyncio.sleep(FLAP_SECONDS)
    return True


def blocking_etcd(way: Way) -> Apply:
    """Let what goes one way between a SEC and etcd not arrive."""

    async def apply(site: Site, fault: Fault) -> bool:
        proxies = links(_sec(site, fault)).etcd
        for proxy in proxies:
            proxy.block(way)
        await asyncio.sleep(fault.seconds)
        for proxy in proxies:
            proxy.heal()
        return True

    return apply


async def slow_etcd(site: Site, fault: Fault) -> bool:
    """Let what etcd answers a SEC arrive late."""
    proxies = links(_sec(site, fault)).etcd
    for proxy in proxies:
        proxy.delay(Way.DOWN, SLOW_SECONDS)
    await asyncio.sleep(fault.seconds)
    for proxy in proxies:
        proxy.heal()
    return True


async def cut_workers(site: Site, fault: Fault) -> bool:
    """End the connections of all workers to a SEC, and every new one."""
    proxy = links(_sec(site, fault)).workers
    proxy.refuse()
    await asyncio.sleep(fault.seconds)
    proxy.heal()
    return True


def blocking_workers(way: Way) -> Apply:
    """Let what goes one way between a SEC and its workers not arrive."""

    async def apply(site: Site, fault: Fault) -> bool:
        proxy = links(_sec(site, fault)).workers
        proxy.block(way)
        await asyncio.sleep(fault.seconds)
        proxy.heal()
        return True

    return apply


def slowing_workers(way: Way) -> Apply:
    """Let what goes one way between a SEC and its workers arrive late."""

    async def apply(site: Site, fault: Fault) -> bool:
        proxy = links(_sec(site, fault)).workers
        proxy.delay(way, SLOW_SECONDS)
        await asyncio.sleep(fault.seconds)
        proxy.heal()
        return True

    return apply


async def reset_one(site: Site, fault: Fault) -> bool:
    """Reset one connection of each kind that a SEC has."""
    for proxy in links(_sec(site, fault)).all():
        for pair in list(proxy.pairs)[:1]:
            pair.reset()
    return True


async def cut_clients(site: Site, fault: Fault) -> bool:
    """End the connections of all clients to a SEC, and every new one."""
    proxy = links(_sec(site, fault)).clients
    proxy.refuse()
    await asyncio.sleep(fault.seconds)
    proxy.heal()
    return True


# ---- etcd --------------------------------------------------------------------------------------------------


async def kill_leader(site: Site, fault: Fault) -> bool:
    return await _kill_members(site, fault, 1)


async def lose_quorum(site: Site, fault: Fault) -> bool:
    """Kill two members of three, the leader among them."""
    return await _kill_members(site, fault, 2)


async def _kill_members(site: Site, fault: Fault, count: int) -> bool:
    if site.etcd_lock.locked():
        return False
    async with site.etcd_lock:
        leader = await site.leader()
        others = [member for member in site.etcd.members if member is not leader]
        for member in (leader, *others)[:count]:
            await asyncio.to_thread(member.kill)
        await asyncio.sleep(fault.seconds)
        await asyncio.to_thread(site.etcd.start)
    return True


async def stop_leader(site: Site, fault: Fault) -> bool:
    if site.etcd_lock.locked():
        return False
    async with site.etcd_lock:
        leader = await site.leader()
        leader.pause()
        await asyncio.sleep(fault.seconds)
        leader.resume()
    return True


# ---- all of them -------------------------------------------------------------------------------------------


def _sec(site: Site, fault: Fault) -> SecHost:
    return site.secs[fault.target % len(site.secs)]


def _worker(site: Site, fault: Fault) -> Host:
    return site.workers[fault.target % len(site.workers)]


KINDS: dict[str, Kind] = {
    "kill sec": Kind(kill_sec, (0.0, 6.0), weight=3.0),
    "stop sec": Kind(stop_sec, (1.0, 9.0), weight=3.0),
    "restart sec": Kind(restart_sec, (0.0, 1.0), weight=2.0),
    "roll secs, from": Kind(roll, (0.0, 0.2)),
    "revoke lease of sec": Kind(revoke_lease, (0.0, 0.0), weight=1.5),
    "kill worker": Kind(kill_worker, (0.0, 2.0), weight=1.5, of_workers=True),
    "stop worker": Kind(stop_worker, (2.0, 12.0), weight=1.5, of_workers=True),
    "restart worker": Kind(restart_worker, (0.0, 0.5), of_workers=True),
    "cut etcd from sec": Kind(cut_etcd, (0.5, 6.0)),
    "lose what goes to etcd from sec": Kind(blocking_etcd(Way.UP), (1.0, 7.0)),
    "lose what comes from etcd to sec": Kind(blocking_etcd(Way.DOWN), (1.0, 7.0)),
    "flap etcd of sec": Kind(flap_etcd, (2.0, 6.0)),
    "slow etcd for sec": Kind(slow_etcd, (2.0, 6.0)),
    "cut workers from sec": Kind(cut_workers, (0.5, 5.0)),
    "lose what workers tell sec": Kind(blocking_workers(Way.UP), (1.0, 7.0)),
    "lose what workers hear of sec": Kind(blocking_workers(Way.DOWN), (1.0, 7.0)),
    "slow what workers tell sec": Kind(slowing_workers(Way.UP), (2.0, 5.0), weight=0.5),
    "slow what workers hear of sec": Kind(slowing_workers(Way.DOWN), (2.0, 5.0), weight=0.5),
    "reset a connection of each kind of sec": Kind(reset_one, (0.0, 0.0)),
    "cut clients from sec": Kind(cut_clients, (0.5, 3.0), weight=0.5),
    "kill the leader of etcd, for": Kind(kill_leader, (1.0, 5.0)),
    "stop the leader of etcd, for": Kind(stop_leader, (1.0, 6.0)),
    "lose the quorum of etcd, for": Kind(lose_quorum, (1.0, 6.0), weight=0.7),
}
