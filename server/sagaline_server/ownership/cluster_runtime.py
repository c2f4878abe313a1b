"""The runtime as the api sees it where there are several SECs: every SEC answers for every saga.

A saga that runs here is answered from memory. For any other one the store is
read, its log is followed as the owner writes it, and orders are put into the
store for the owner to consume. None of that needs the owner to be reachable
from here, or to be the same from beginning to end.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

import grpc
import structlog

from sagaline.v1 import (
    admin_service_pb2,
    log_pb2,
    saga_pb2,
    saga_service_pb2,
    worker_service_pb2,
)
from sagaline_server.core.apply import IllegalEntry, apply
from sagaline_server.core.decide import Decision, Order, SetQuarantined, decide
from sagaline_server.core.entries import SagaState, Stamped
from sagaline_server.core.orders import is_effect
from sagaline_server.core.state import Saga
from sagaline_server.ownership.handoffs import HandOffs
from sagaline_server.ownership.keeper import Keeper
from sagaline_server.ownership.membership import Membership
from sagaline_server.ownership.peers import Peers
from sagaline_server.ports.cluster import ClusterStore, StoredCondition
from sagaline_server.ports.store import OwnedSaga, SecRecord, StoredSaga, StoreError
from sagaline_server.runtime.crashpoints import reach
from sagaline_server.runtime.engine import SagaEngine
from sagaline_server.runtime.recovery import Folder
from sagaline_server.runtime.requests import NotServing, RequestRefused, RuntimeRefusal, reaching_store
from sagaline_server.runtime.runtime import OnEnd, Runtime
from sagaline_server.wire.controls import control_record
from sagaline_server.wire.entries import UnreadableLog, decode_batch
from sagaline_server.wire.times import timestamp
from sagaline_server.wire.views import end_of

log = structlog.get_logger("sagaline.cluster")

ORDER_SECONDS = 20.0
"""How long to wait for the owner to carry out an order before answering as things stand: longer than a lease."""
FOLLOWERS_MAX = 10_000
"""Sagas of other SECs that are followed at once."""


class ClusterRuntime(Runtime):
    """Sagas of all SECs."""

    def __init__(
        self,
        engine: SagaEngine,
        folder: Folder,
        store: ClusterStore,
        keeper: Keeper,
        membership: Membership,
        hand_offs: HandOffs,
        new_control_id: Callable[[], str],
        open_channel: Callable[[str], grpc.aio.Channel],
    ) -> None:
        """Make the face of an engine that is one of several.

        Args:
            engine: The sagas that run here.
            folder: Folds the others.
            store: Where the others are.
            keeper: Hears of consumed orders.
            membership: Who lives.
            hand_offs: Gives sagas away.
            new_control_id: Gives ids that sort by time.
            open_channel: Opens a channel to another SEC.
        """
        super().__init__(engine, folder)
        self._store = store
        self._keeper = keeper
        self._membership = membership
        self._hand_offs = hand_offs
        self._new_control_id = new_control_id
        self._peers = Peers(membership, open_channel)
        self._followers: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Stop following sagas of other SECs."""
        followers = list(self._followers)
        for task in followers:
            task.cancel()
        await asyncio.gather(*followers, return_exceptions=True)

    async def explain(self, saga_id: str) -> admin_service_pb2.ExplainSagaResponse:
        """Say why the nodes of a saga wait; the owner knows, so it is asked.

        Raises:
            SagaNotFound: There is no such saga.
            NotServing: The store can't be reached.
        """
        if saga_id in self.engine.sagas:
            return await super().explain(saga_id)
        owner = (await self._read(saga_id)).owner
        if owner is None:
            return admin_service_pb2.ExplainSagaResponse()
        if owner.sec_id == self._membership.me:
            set_aside = self.engine.quarantined.get(saga_id)
            told = "it is being taken over: its log is read" if set_aside is None else f"it is set aside: {set_aside}"
            return admin_service_pb2.ExplainSagaResponse(warnings=[told])
        if not self._membership.address_of(owner.sec_id):
            with reaching_store():  # a SEC may have come a moment ago
                await self._keeper.refresh()
        return await self._peers.explain(saga_id, owner.sec_id)

    # ---- orders

    async def request(self, saga_id: str, given: Order) -> saga_pb2.Saga:
        """Give an order to a saga, whoever owns it; returns its BASIC view once the order is durable.

        Raises:
            SagaNotFound: There is no such saga.
            RequestRefused: The order makes no sense in its state.
            NotServing: This SEC can't answer now. Safe to repeat.
        """
        if isinstance(given, SetQuarantined) and saga_id not in self.engine.sagas:
            return await self._set_quarantined(saga_id, given)
        try:
            return await super().request(saga_id, given)
        except NotServing:
            stored = await self._read(saga_id)
            if stored.done is not None:
                return await super().request(saga_id, given)
        return await self._order(stored, given)

    async def _set_quarantined(self, saga_id: str, given: SetQuarantined) -> saga_pb2.Saga:
        """Set a saga aside, or release it, that does not run here: it may have been set aside for its log."""
        stored = await self._read(saga_id)
        if stored.done is not None:
            return await super().request(saga_id, given)
        try:
            decision, _ = self._foresee(stored, given)
        except (UnreadableLog, IllegalEntry) as error:
            if given.quarantined:
                return await self.get(saga_id, full=False)
            raise RequestRefused("SAGA_QUARANTINED", f"its log can't be run: {error}") from error
        if decision.entries or not given.quarantined:
            await self.put_order(saga_id, control_record(given, self.engine.clock.wall()))
        return await self.get(saga_id, full=False)

    async def _order(self, stored: StoredSaga, given: Order) -> saga_pb2.Saga:
        foreseen, seq = self._foresee(stored, given)
        if foreseen.refusal is not None:
            raise RequestRefused(foreseen.refusal.code, foreseen.refusal.message)
        if foreseen.entries and await self.put_order(stored.saga_id, control_record(given, self.engine.clock.wall())):
            await self._check_obeyed(stored.saga_id, seq, given)
        return await self.get(stored.saga_id, full=False)

    def _foresee(self, stored: StoredSaga, given: Order) -> tuple[Decision, int]:
        """Decide as the owner will, so that what makes no sense is refused before it is written.

        Returns:
            The decision, and the number of the log's last entry.
        """
        saga = self._fold(stored)
        return decide(saga, given, self.engine.clock.wall(), 0.0, self.engine.breakpoints.points), saga.seq

    def _fold(self, stored: StoredSaga) -> Saga:
        try:
            return self._folder.fold(stored).saga
        except (UnreadableLog, IllegalEntry) as error:
            raise RequestRefused("SAGA_QUARANTINED", f"its log can't be run: {error}") from error

    async def _check_obeyed(self, saga_id: str, before: int, given: Order) -> None:
        """Find out what the owner made of an order: the saga may have gone on before it came to it.

        Args:
            saga_id: Saga.
            before: The log's last entry when the order was found to make sense.
            given: The order.
        """
        stored = await self._read(saga_id)
        if stored.done is not None and not stored.batches:
            await super().request(saga_id, given)
            return
        entries = (stamped for batch in stored.batches for stamped in decode_batch(batch))
        if any(stamped.seq > before and is_effect(stamped.entry, given) for stamped in entries):
            return
        decision, _ = self._foresee(stored, given)
        if decision.refusal is not None:
            raise RequestRefused(decision.refusal.code, decision.refusal.message)
        if decision.entries:
            raise NotServing("the saga was in another state when its owner came to the order; give it again")

    async def put_order(self, saga_id: str, record: log_pb2.ControlRecord) -> bool:
        """Put an order into the store, and wait a while until the owner has consumed it.

        Returns:
            True: the owner has, or the saga has ended and nobody will. False: it waits for the owner.

        Raises:
            NotServing: The store can't be reached.
        """
        control_id = self._new_control_id()
        gone = self._keeper.expect_gone(saga_id, control_id)
        try:
            with reaching_store():
                is_put = await self._store.put_control(saga_id, control_id, record.SerializeToString())
            if is_put:
                reach("order.put")
                async with asyncio.timeout(ORDER_SECONDS):
                    await gone.wait()
        except TimeoutError:
            return not await self._still_waits(saga_id, control_id)
        finally:
            self._keeper.forget_wait(saga_id, control_id)
        return True

    async def _still_waits(self, saga_id: str, control_id: str) -> bool:
        """Tell whether an order is still in the store: word of its end may not have got here."""
        with reaching_store():
            controls = await self._store.list_controls(saga_id)
        waits = any(control.control_id == control_id for control in controls)
        if waits:
            # It is durable, and will be carried out when the saga has an owner again.
            log.warning("order_waits_for_owner", saga_id=saga_id)
        return waits

    # ---- watching and waiting

    async def watch(self, saga_id: str, from_seq: int) -> AsyncIterator[tuple[list[Stamped], SagaState]]:
        """Yield entries from a number on, then new ones, until the saga has ended; owners may change meanwhile.

        Raises:
            SagaNotFound: There is no such saga.
            RequestRefused: Its log has been compacted away.
            NotServing: The store can't be reached. Watch again from the next entry.
        """
        following = from_seq
        while True:
            if saga_id in self.engine.sagas:
                try:
                    async for entries, state in super().watch(saga_id, following):
                        following = entries[-1].seq + 1
                        yield entries, state
                except NotServing:
                    continue
                return
            stored = await self._read(saga_id)
            if stored.done is not None:
                async for entries, state in super().watch(saga_id, following):
                    yield entries, state
                return
            async for entries, state in self._watch_store(stored, following):
                following = entries[-1].seq + 1
                yield entries, state
                if state.is_final:
                    return

    async def _watch_store(self, stored: StoredSaga, from_seq: int) -> AsyncIterator[tuple[list[Stamped], SagaState]]:
        """Follow the log as some owner writes it; the state after each part comes from folding it."""
        folded = self._fold(stored)
        past = [entry for batch in stored.batches for entry in decode_batch(batch) if entry.seq >= from_seq]
        if past:
            yield past, folded.state
        try:
            async for part in self._store.watch_log(stored.saga_id, folded.seq + 1):
                entries = [entry for batch in part.batches for entry in decode_batch(batch) if entry.seq > folded.seq]
                for entry in entries:
                    apply(folded, entry)
                if entries and entries[-1].seq >= from_seq:
                    yield [entry for entry in entries if entry.seq >= from_seq], folded.state
        except StoreError as error:
            raise NotServing("the store can't be reached; watch again") from error

    async def wait(self, saga_id: str, *, timeout: float, or_needs_operator: bool) -> saga_pb2.Saga:
        """Wait until a saga has ended, or needs an operator if so wished, or the time is over.

        Raises:
            SagaNotFound: There is no such saga.
            NotServing: The store can't be reached.
        """
        try:
            async with asyncio.timeout(timeout):
                while True:
                    view = await super().wait(saga_id, timeout=timeout, or_needs_operator=or_needs_operator)
                    if SagaState(view.state).is_final or (or_needs_operator and view.needs_operator):
                        return view
                    if saga_id not in self.engine.sagas:
                        await self._wait_elsewhere(saga_id, view.log_length + 1, or_needs_operator=or_needs_operator)
        except TimeoutError:
            return await self.get(saga_id, full=False)

    async def _wait_elsewhere(self, saga_id: str, from_seq: int, *, or_needs_operator: bool) -> None:
        async for _, state in self.watch(saga_id, max(from_seq, 1)):
            if state.is_final or (or_needs_operator and (await self.get(saga_id, full=False)).needs_operator):
                return

    async def follow(
        self, saga_ids: Sequence[str], on_end: OnEnd, *, or_needs_operator: bool = False
    ) -> Callable[[], None]:
        """Call `on_end` once for each saga when it has ended, whoever owns it; returns a function that stops that."""
        elsewhere: list[asyncio.Task[None]] = []

        def on_end_here(end: saga_service_pb2.SagaEnd) -> None:
            if end.HasField("error") and end.error.reason == NotServing.code:
                self._follow_elsewhere(end.saga_id, on_end, elsewhere, or_needs_operator=or_needs_operator)
            else:
                on_end(end)

        stop_here = await super().follow(saga_ids, on_end_here, or_needs_operator=or_needs_operator)

        def stop() -> None:
            stop_here()
            for task in elsewhere:
                task.cancel()

        return stop

    def follow_live(self, saga_id: str, on_end: OnEnd, *, or_needs_operator: bool = False) -> bool:
        """Call `on_end` when a saga that this SEC runs has ended, here or elsewhere; False when it does not run it."""

        def on_end_here(end: saga_service_pb2.SagaEnd) -> None:
            if end.HasField("error"):
                self._follow_elsewhere(end.saga_id, on_end, [], or_needs_operator=or_needs_operator)
            else:
                on_end(end)

        return super().follow_live(saga_id, on_end_here, or_needs_operator=or_needs_operator)

    def _follow_elsewhere(
        self, saga_id: str, on_end: OnEnd, tasks: list[asyncio.Task[None]], *, or_needs_operator: bool
    ) -> None:
        if len(self._followers) >= FOLLOWERS_MAX:
            error = saga_service_pb2.BatchError(
                code=8, reason="OVERLOADED", message="too many sagas of other SECs are followed; follow it again"
            )
            on_end(saga_service_pb2.SagaEnd(saga_id=saga_id, error=error))
            return
        task = asyncio.create_task(self._tell_end(saga_id, on_end, or_needs_operator=or_needs_operator))
        self._followers.add(task)
        task.add_done_callback(self._followers.discard)
        tasks.append(task)

    async def _tell_end(self, saga_id: str, on_end: OnEnd, *, or_needs_operator: bool) -> None:
        try:
            view = await self.wait(saga_id, timeout=365 * 86_400.0, or_needs_operator=or_needs_operator)
        except RuntimeRefusal as refusal:
            error = saga_service_pb2.BatchError(code=14, reason=refusal.code, message=str(refusal))
            on_end(saga_service_pb2.SagaEnd(saga_id=saga_id, error=error))
            return
        on_end(end_of(view))

    # ---- members

    def members(self) -> worker_service_pb2.SecSet:
        """Return the live SECs as workers and clients see them."""
        secs = [_sec(sec) for sec in self._membership.secs.values()]
        return worker_service_pb2.SecSet(revision=self._membership.revision, secs=secs)

    def secs(self) -> list[admin_service_pb2.SecStatus]:
        """Return the live SECs as operators see them: of others, sagas as of the last sweep, and workers not at all."""
        return [self._status(sec) for sec in self._membership.secs.values()]

    def _status(self, sec: SecRecord) -> admin_service_pb2.SecStatus:
        status = admin_service_pb2.SecStatus(
            sec=_sec(sec),
            incarnation=sec.incarnation,
            version=sec.version,
            owned_sagas=self._keeper.owned[sec.sec_id, sec.incarnation],
        )
        if sec.sec_id == self._membership.me:
            status.owned_sagas = len(self.engine.sagas)
            status.workers = sum(1 for _ in self.engine.dispatcher.attached_sessions())
        return status

    async def set_condition(self, subject: str, value: bytes) -> None:
        """Set the condition of a subject, or lift it; the other SECs hear of it.

        Raises:
            NotServing: The store can't be reached.
        """
        with reaching_store():
            await self._store.put_condition(subject, value)
            await self._keeper.conditions.refresh()

    async def conditions(self) -> Sequence[StoredCondition]:
        """Return all conditions of the whole cluster.

        Raises:
            NotServing: The store can't be reached.
        """
        with reaching_store():
            return await self._store.list_conditions()

    async def hand_off(self, saga_id: str, to_sec_id: str) -> tuple[worker_service_pb2.Sec, int]:
        """Hand a saga off, whoever owns it; returns the owner afterwards, and the epoch.

        Raises:
            SagaNotFound: There is no such saga.
            RequestRefused: NO_OTHER_SEC, SEC_NOT_FOUND or SAGA_FINISHED.
            NotServing: The store can't be reached, or the owner has not answered yet.
        """
        owner = await self._owner(saga_id)
        if to_sec_id and to_sec_id not in self._membership.secs:
            raise RequestRefused("SEC_NOT_FOUND", f"no SEC named {to_sec_id!r} lives")
        if owner.sec_id != to_sec_id or not to_sec_id:
            await self._hand_off(saga_id, to_sec_id, owner)
        after = await self._owner(saga_id)
        if after.sec_id == owner.sec_id and to_sec_id != owner.sec_id:
            raise NotServing("the saga has not been handed off yet; ask again")
        sec = self._membership.secs.get(after.sec_id)
        return (worker_service_pb2.Sec(sec_id=after.sec_id) if sec is None else _sec(sec)), after.epoch

    async def _hand_off(self, saga_id: str, to_sec_id: str, owner: OwnedSaga) -> None:
        if owner.sec_id != self._membership.me:
            order = log_pb2.ControlRecord(time=timestamp(self.engine.clock.wall()))
            order.hand_off.to_sec_id = to_sec_id
            order.hand_off.from_sec_id = owner.sec_id
            await self.put_order(saga_id, order)
            return
        target = self._hand_offs.target(saga_id, to_sec_id)
        if target is None:
            raise RequestRefused("NO_OTHER_SEC", "there is no other SEC that takes sagas")
        await self._hand_offs.hand_off([saga_id], target)

    async def _owner(self, saga_id: str) -> OwnedSaga:
        with reaching_store():
            owner = (await self._store.read_owners([saga_id]))[0]
        if owner is None:
            await self._read(saga_id)
            raise RequestRefused("SAGA_FINISHED", "the saga has ended, so nobody owns it")
        return owner

    async def drain(self, sec_id: str, timeout: float) -> None:
        """Make a SEC hand everything off and stop.

        Args:
            sec_id: Its name; empty: this one.
            timeout: Seconds.

        Raises:
            RequestRefused: SEC_NOT_FOUND.
            NotServing: It can't be reached.
        """
        if sec_id in ("", self._membership.me):
            self.on_drain()
            return
        await self._peers.drain(sec_id, timeout)


def _sec(sec: SecRecord) -> worker_service_pb2.Sec:
    return worker_service_pb2.Sec(sec_id=sec.sec_id, address=sec.address, draining=sec.draining)
