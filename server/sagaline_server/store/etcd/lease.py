"""The lease that says that this SEC lives, and until when it may act on that.

The keep-alive runs in the loop that does the work: a SEC whose loop is wedged
lets go of its sagas by itself. A lease is for liveness alone. That it was
renewed proves nothing about ownership; every write carries its own fence.
"""

from __future__ import annotations

import asyncio

import structlog

from sagaline_server.ports.clock import Clock
from sagaline_server.ports.store import StoreError
from sagaline_server.store.etcd.channel import EtcdChannel

RENEWALS_PER_LEASE = 3
RETRIES_PER_RENEWAL = 4
"""How often a renewal that failed is tried again before the next one would be due."""

log = structlog.get_logger(__name__)


class LeaseKeeper:
    """One lease and the task that keeps it.

    Args:
        seconds: Length to ask for; etcd may grant another.
        margin: Seconds before the lease's end at which it counts as over.
    """

    def __init__(self, channel: EtcdChannel, clock: Clock, *, seconds: int, margin: float) -> None:
        self._channel = channel
        self._clock = clock
        self._asked = seconds
        self._margin = margin
        self._lease_id = 0
        self._granted = 0
        self._deadline = 0.0
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.lost = asyncio.Event()
        """Set once etcd says that the lease is gone. It never comes back."""

    @property
    def lease_id(self) -> int:
        return self._lease_id

    @property
    def deadline(self) -> float:
        """Until when the lease surely lives, less the margin, on the boottime clock; 0 once it is lost."""
        return 0.0 if self.lost.is_set() else self._deadline

    async def start(self) -> None:
        """Get a lease and begin to keep it.

        Raises:
            StoreError: There was none to be had. A grant that went unanswered dies by itself.
        """
        sent = self._clock.boottime()
        self._lease_id, self._granted = await self._channel.grant(self._asked)
        self._renewed(sent, self._granted)
        self._task = asyncio.create_task(self._keep(), name="etcd-lease-keeper")

    async def stop(self) -> None:
        """End the keep-alive, and the lease if etcd can be reached; it dies by itself otherwise."""
        self._stopping.set()
        if self._task is not None:
            await self._task
            self._task = None
            if not self.lost.is_set():
                self.lost.set()
                try:
                    await self._channel.revoke(self._lease_id)
                except StoreError as error:
                    log.warning("lease_revoke_failed", error=str(error))

    async def _keep(self) -> None:
        pause = self._granted / RENEWALS_PER_LEASE
        wait = pause
        while not await self._stopped_within(wait):
            wait = pause if await self._renew(pause) else pause / RETRIES_PER_RENEWAL
            if self.lost.is_set():
                return

    async def _renew(self, seconds: float) -> bool:
        """Tell whether etcd answered."""
        # Read before it is sent: etcd counts from later, so the lease lives at least as long as this says.
        sent = self._clock.boottime()
        try:
            ttl = await self._channel.keep_alive(self._lease_id, seconds)
        except StoreError as error:
            log.warning("lease_renewal_failed", error=str(error), seconds_left=self._deadline - sent)
            return False
        if ttl <= 0:
            self.lost.set()
            log.error("lease_lost", lease_id=self._lease_id)
        else:
            self._renewed(sent, ttl)
        return True

    def _renewed(self, sent: float, ttl: int) -> None:
        self._deadline = max(self._deadline, sent + ttl - self._margin)

    async def _stopped_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return False
        return True
