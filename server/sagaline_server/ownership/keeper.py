"""Keeping ownership: one task that follows what the store says of SECs and requests.

Everything it does is decided again from a fresh read by the store's own
conditions, so an event that is late, doubled or lost costs time and nothing
else: each watch begins with a sweep, and sweeps go on for ever.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

import structlog

from sagaline.v1 import log_pb2
from sagaline_server.core.decide import NewOwner
from sagaline_server.core.entries import OwnerChange
from sagaline_server.core.placement import plan_adoption
from sagaline_server.ownership.conditions import Conditions
from sagaline_server.ownership.membership import Membership
from sagaline_server.ports.clock import Clock
from sagaline_server.ports.cluster import (
    ClusterStore,
    ConditionsChanged,
    ControlGone,
    ControlPut,
    Resync,
    SecsChanged,
    StoredControl,
)
from sagaline_server.ports.store import Claim, OwnedSaga, StoreError
from sagaline_server.runtime.crashpoints import reach
from sagaline_server.runtime.engine import SagaEngine
from sagaline_server.runtime.recovery import Recovery
from sagaline_server.wire.controls import input_from

log = structlog.get_logger("sagaline.ownership")

SWEEP_SECONDS = 30.0
"""Time between two full readings of who owns what: what a lost event can cost an orphan."""
TAKEN_AT_ONCE = 16
"""Sagas that were handed over, read at once."""


class Keeper:
    """Follows the cluster, adopts orphans, takes what is handed off, delivers requests."""

    def __init__(
        self, store: ClusterStore, engine: SagaEngine, recovery: Recovery, membership: Membership, clock: Clock
    ) -> None:
        """Make the keeper of an engine's sagas."""
        self._store = store
        self._engine = engine
        self._recovery = recovery
        self._membership = membership
        self._clock = clock
        self.conditions = Conditions(store, engine, membership)
        self._next_sweep = 0.0
        self.owned: Counter[tuple[str, int]] = Counter()
        """How many sagas each incarnation had at the last sweep, for people."""
        self._waits: dict[tuple[str, str], asyncio.Event] = {}
        self._handed: dict[str, StoredControl] = {}
        """Hand-offs that may have made this SEC the owner, by saga. At most one for each that the store has."""
        self._something_handed = asyncio.Event()
        self.orders: asyncio.Queue[StoredControl] = asyncio.Queue(1000)
        """Hand-offs that were asked for, of sagas that run here."""

    async def run(self) -> None:
        """Follow the cluster for ever. The owner runs and cancels it."""
        async with asyncio.TaskGroup() as group:
            taking = group.create_task(self._take_handed(), name="keeper of hand-offs")
            await self._follow()
            taking.cancel()

    async def _follow(self) -> None:
        self._next_sweep = 0.0
        async for event in self._store.watch():
            try:
                await self._take(event)
            except StoreError as error:
                # The next Resync looks at everything again.
                log.warning("cluster_event_failed", kind=type(event).__name__, error=str(error))
                self._next_sweep = 0.0

    async def _take(self, event: object) -> None:
        match event:
            case ControlPut():
                self._deliver(event.control)
                if self._may_release(event.control):
                    del self._engine.quarantined[event.control.saga_id]
                    await self.sweep()
            case ControlGone():
                self._note_gone(event.saga_id, event.control_id)
            case SecsChanged():
                if await self.refresh():
                    await self.sweep()
            case ConditionsChanged():
                await self.conditions.refresh()
            case Resync():
                await self.refresh()
                await self._check_waits()
                if self._clock.boottime() >= self._next_sweep:
                    await self.sweep()
                else:
                    # What the lost events told is still asked.
                    await self._deliver_all()

    def _may_release(self, control: StoredControl) -> bool:
        """True for the order to release a saga that was set aside because it could not be run."""
        if control.saga_id not in self._engine.quarantined:
            return False
        record = log_pb2.ControlRecord.FromString(control.control)
        return record.WhichOneof("request") == "quarantine" and not record.quarantine.quarantined

    async def refresh(self) -> bool:
        """Read who lives, and the conditions; True when an incarnation has gone.

        If it is this one, the engine is told: a SEC that owns nothing would not hear of it by any append.
        """
        has_gone = self._membership.update(await self._store.list_secs(), self._store.revision)
        if not self._membership.is_alive(self._membership.me, self._store.incarnation):
            self._engine.incarnation_lost.set()
        await self.conditions.refresh()
        return has_gone

    async def sweep(self) -> None:
        """Read who owns what: adopt this SEC's share of the orphans, and run what was handed to it."""
        self._next_sweep = self._clock.boottime() + SWEEP_SECONDS
        owned = await self._store.list_owned()
        self.owned = Counter((saga.sec_id, saga.incarnation) for saga in owned)
        orphans = {saga.saga_id: saga for saga in owned if not self._membership.is_alive(saga.sec_id, saga.incarnation)}
        plan = plan_adoption(list(orphans), self._membership.me, self._membership.candidates())
        if plan.mine:
            await self._recovery.adopt_paced([orphans[saga_id] for saga_id in plan.mine])
        for saga in owned:
            if self._is_mine_and_idle(saga):
                await self._run(saga, None)
        await self._deliver_all()

    async def _deliver_all(self) -> None:
        for control in await self._store.list_controls():
            self._deliver(control)

    def _is_mine_and_idle(self, saga: OwnedSaga) -> bool:
        return (
            saga.sec_id == self._membership.me
            and saga.incarnation == self._store.incarnation
            and self._engine.may_begin(saga.saga_id)
        )

    # ---- requests

    def _deliver(self, control: StoredControl) -> None:
        record = log_pb2.ControlRecord.FromString(control.control)
        live = self._engine.sagas.get(control.saga_id)
        kind = record.WhichOneof("request")
        if kind == "run" and live is None:
            self._handed[control.saga_id] = control
            self._something_handed.set()
            return
        if live is None:
            return
        if kind == "hand_off" and record.hand_off.from_sec_id == self._membership.me:
            if not self.orders.full():
                self.orders.put_nowait(control)
            return
        given = input_from(record)
        if given is not None:
            self._engine.control(live, control.control_id, given)

    async def _take_handed(self) -> None:
        """Begin to run what was handed to this SEC, beside the events: a drain hands over thousands."""
        while True:
            await self._something_handed.wait()
            self._something_handed.clear()
            while self._handed:
                batch = [self._handed.pop(saga_id) for saga_id in list(self._handed)[:TAKEN_AT_ONCE]]
                try:
                    await self._run_mine(batch)
                except StoreError as error:
                    log.warning("hand_offs_not_taken", sagas=len(batch), error=str(error))
                    self._next_sweep = 0.0

    async def _run_mine(self, handed: Sequence[StoredControl]) -> None:
        owners = await self._store.read_owners([control.saga_id for control in handed])
        running = []
        for control, owner in zip(handed, owners, strict=True):
            if owner is not None and self._is_mine_and_idle(owner):
                record = log_pb2.ControlRecord.FromString(control.control)
                running.append(self._run(owner, control.control_id, record.run.from_sec_id))
        results = await asyncio.gather(*running, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _run(self, owned: OwnedSaga, control_id: str | None, from_sec_id: str = "") -> None:
        """Begin to run a saga that another SEC has made this one the owner of."""
        stored = await self._store.read(owned.saga_id)
        if stored is None or stored.owner is None or not self._is_mine_and_idle(stored.owner):
            return
        claim = Claim(owned.saga_id, stored.owner.epoch, stored.owner.revision)
        live = self._recovery.load(stored, claim)
        if live is None:
            return
        reach("handoff.taken")
        given = NewOwner(self._membership.me, self._store.incarnation, OwnerChange.HANDED_OFF, from_sec_id)
        if control_id is None:
            self._engine.post(live, given)
        else:
            self._engine.control(live, control_id, given)
        for control in await self._store.list_controls(owned.saga_id):
            self._deliver(control)

    # ---- waiting for the owner

    def expect_gone(self, saga_id: str, control_id: str) -> asyncio.Event:
        """Return an event that is set when a request has been consumed."""
        event = self._waits[saga_id, control_id] = asyncio.Event()
        return event

    def forget_wait(self, saga_id: str, control_id: str) -> None:
        """Wait for a request no longer."""
        self._waits.pop((saga_id, control_id), None)

    def _note_gone(self, saga_id: str, control_id: str) -> None:
        event = self._waits.get((saga_id, control_id))
        if event is not None:
            event.set()

    async def _check_waits(self) -> None:
        if self._waits:
            left = {(control.saga_id, control.control_id) for control in await self._store.list_controls()}
            for key, event in self._waits.items():
                if key not in left:
                    event.set()
