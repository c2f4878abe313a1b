"""`SagaStore` on etcd.

Puts the pieces together: the lease (`lease.py`) says that this process lives,
the leased key's create revision is its incarnation, and every transaction
(`transactions.py`, `adoption.py`) demands it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import structlog
from aetcd import rpc

from sagaline.v1 import log_pb2
from sagaline_server.ports.clock import Clock
from sagaline_server.ports.cluster import StoredControl
from sagaline_server.ports.store import (
    Claim,
    ListQuery,
    OwnedSaga,
    SecRecord,
    Status,
    StoredHead,
    StoredSaga,
    StoreError,
    Write,
    WriteResult,
)
from sagaline_server.store.checks import (
    check_control_id,
    check_limit,
    check_saga_id,
    check_sagas,
    check_writes,
    refuse_problems,
)
from sagaline_server.store.etcd import adoption, transactions
from sagaline_server.store.etcd.channel import ELSEWHERE, EtcdChannel, EtcdError, EtcdOptions
from sagaline_server.store.etcd.commit import Commit
from sagaline_server.store.etcd.keys import Keys
from sagaline_server.store.etcd.lease import LeaseKeeper
from sagaline_server.store.etcd.reads import SagaReader

TRANSACTIONS_IN_FLIGHT = 4
"""At once, over all calls. More make each slower and the whole no faster."""
OPEN_TRIES = 5
"""How often a new incarnation may find that another one of its name came between."""
REMOVED_PER_TRANSACTION = transactions.OPERATIONS_MAX // 3

log = structlog.get_logger(__name__)


class EtcdStore:
    """`SagaStore` shared by the SECs of one etcd cluster and prefix.

    Args:
        options: How etcd is reached.
        clock: Its boottime is what `serving_until` is on.
    """

    def __init__(self, options: EtcdOptions, clock: Clock) -> None:
        self._options = options
        self._clock = clock
        self._keys = Keys(options.prefix)
        self._channel: EtcdChannel | None = None
        self._keeper: LeaseKeeper | None = None
        self._fence = transactions.Fence(b"", 0, b"")
        self._slots = asyncio.Semaphore(TRANSACTIONS_IN_FLIGHT)
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()

    # ---- incarnation -----------------------------------------------------------------------------------

    async def open(self, *, sec_id: str, address: str, version: str) -> int:
        if not sec_id or "/" in sec_id:
            raise ValueError(f"{sec_id!r} is no name of a SEC")
        channel = self._channel or EtcdChannel(self._options)
        seconds, margin = self._options.lease_seconds, self._options.lease_margin
        keeper = LeaseKeeper(channel, self._clock, seconds=seconds, margin=margin)
        value = log_pb2.SecRegistration(address=address, version=version).SerializeToString()
        try:
            await keeper.start()
            incarnation = await self._register(channel, keeper, self._keys.sec(sec_id), value)
        except BaseException:
            await keeper.stop()
            if self._channel is None:
                await channel.close()
            raise
        before = self._keeper
        self._channel, self._keeper = channel, keeper
        self._fence = transactions.fence(self._keys, sec_id, incarnation)
        if before is not None:  # of an incarnation that is dead now; its lease holds nothing any more
            await before.stop()
        log.info("store_opened", store="etcd", sec_id=sec_id, incarnation=incarnation)
        return incarnation

    async def _register(self, channel: EtcdChannel, keeper: LeaseKeeper, key: bytes, value: bytes) -> int:
        """Put the leased key, and first remove that of an older incarnation."""
        lease_id = keeper.lease_id
        for _ in range(OPEN_TRIES):
            request = rpc.TxnRequest()
            request.compare.add(result=transactions.EQUAL, target=transactions.VERSION, key=key, version=0)
            request.success.add(request_put=rpc.PutRequest(key=key, value=value, lease=lease_id))
            request.failure.add(request_range=rpc.RangeRequest(key=key))
            # Sent twice if need be: the lease in the key tells whether the first one was carried out.
            response = await _twice(channel, request)
            if response.succeeded:
                return int(response.header.revision)
            there = next(transactions.found_keys(response))
            if there is not None and there.lease == lease_id:
                return int(there.create_revision)
            if there is not None:
                await _twice(channel, _delete_incarnation(key, there.create_revision))
        raise StoreError("other processes of the same name keep registering; give each SEC a name of its own")

    async def close(self) -> None:
        channel, self._channel = self._channel, None
        if channel is None:
            return
        try:
            # What is under way has deadlines of its own, and ending the lease first would fence it.
            async with asyncio.timeout(2 * self._options.call_seconds):
                await self._idle.wait()
        except TimeoutError:
            log.warning("store_close_hangs", store="etcd")
        keeper, self._keeper = self._keeper, None
        try:
            if keeper is not None:
                await keeper.stop()
        finally:
            await channel.close()

    @property
    def incarnation(self) -> int:
        return self._fence.incarnation

    @property
    def serving_until(self) -> float | None:
        return 0.0 if self._channel is None or self._keeper is None else self._keeper.deadline

    # ---- writing ---------------------------------------------------------------------------------------

    async def commit(self, writes: Sequence[Write]) -> Sequence[WriteResult]:
        check_writes(writes)
        if not writes:
            return []
        try:
            with self._using() as channel:
                commit = Commit(channel, self._keys, self._fence, self._slots)
                results = await commit.run(writes)
        except StoreError as error:
            return [WriteResult(Status.UNKNOWN, error=str(error)) for _ in writes]
        refuse_problems(commit.problems)
        return results

    async def adopt(self, sagas: Sequence[OwnedSaga]) -> Sequence[Claim | None]:
        check_sagas(sagas)
        claimed: dict[str, Claim] = {}
        with self._using() as channel:
            for start in range(0, len(sagas), adoption.SAGAS_PER_TRANSACTION):
                part = sagas[start : start + adoption.SAGAS_PER_TRANSACTION]
                claimed.update({claim.saga_id: claim for claim in await self._adopt(channel, part)})
        return [claimed.get(saga.saga_id) for saga in sagas]

    async def _adopt(self, channel: EtcdChannel, sagas: Sequence[OwnedSaga]) -> list[Claim]:
        while sagas:
            async with self._slots:
                response = await channel.txn(adoption.adopt_request(self._keys, self._fence, sagas))
            if response.succeeded:
                return adoption.claims(sagas, response)
            left = adoption.still_to_have(self._fence, sagas, response)
            if len(left) == len(sagas):
                raise StoreError("etcd refused an adoption although every condition held")
            sagas = left
        return []

    async def remove_finished(self, saga_ids: Sequence[str], *, keep_summary: bool) -> None:
        for saga_id in saga_ids:
            check_saga_id(saga_id)
        distinct = list(dict.fromkeys(saga_ids))
        with self._using() as channel:
            for start in range(0, len(distinct), REMOVED_PER_TRANSACTION):
                part = distinct[start : start + REMOVED_PER_TRANSACTION]
                await self._remove(channel, part, keep_summary=keep_summary)

    async def _remove(self, channel: EtcdChannel, saga_ids: Sequence[str], *, keep_summary: bool) -> None:
        while saga_ids:
            request = transactions.remove_request(self._keys, saga_ids, keep_summary=keep_summary)
            async with self._slots:
                response = await channel.txn(request)
            if response.succeeded:
                return
            dones = transactions.found_keys(response)
            finished = [saga_id for saga_id, done in zip(saga_ids, dones, strict=True) if done is not None]
            if len(finished) == len(saga_ids):
                raise StoreError("etcd refused a removal although every saga has finished")
            saga_ids = finished

    async def put_control(self, saga_id: str, control_id: str, control: bytes) -> bool:
        check_saga_id(saga_id)
        check_control_id(control_id)
        request = transactions.control_request(self._keys, saga_id, control_id, control)
        with self._using() as channel:
            async with self._slots:
                response = await channel.txn(request)
        if response.succeeded:
            return True
        # Refused: there is no owner, or the same request is there already.
        owner = next(transactions.found_keys(response))
        return owner is not None

    # ---- reading ---------------------------------------------------------------------------------------

    async def read(self, saga_id: str) -> StoredSaga | None:
        with self._using() as channel:
            return await SagaReader(channel, self._keys).saga(saga_id)

    async def list_heads(self, query: ListQuery) -> Sequence[StoredHead]:
        check_limit(query.limit)
        with self._using() as channel:
            return await SagaReader(channel, self._keys).heads(query)

    async def list_owned(self) -> Sequence[OwnedSaga]:
        with self._using() as channel:
            return await SagaReader(channel, self._keys).owned()

    async def list_controls(self, saga_id: str | None = None) -> Sequence[StoredControl]:
        with self._using() as channel:
            return await SagaReader(channel, self._keys).controls(saga_id)

    async def list_secs(self) -> Sequence[SecRecord]:
        with self._using() as channel:
            return await SagaReader(channel, self._keys).secs()

    @contextmanager
    def _using(self) -> Iterator[EtcdChannel]:
        """Keep `close` from closing the connection under the block."""
        if self._channel is None:
            raise StoreError("the store is closed")
        self._running += 1
        self._idle.clear()
        try:
            yield self._channel
        finally:
            self._running -= 1
            if self._running == 0:
                self._idle.set()


async def _twice(channel: EtcdChannel, request: Any) -> Any:
    """Send a transaction that does no harm if it is carried out twice, and once more if its outcome is unknown."""
    try:
        return await channel.txn(request)
    except EtcdError as error:
        if error.code not in ELSEWHERE:
            raise
    return await channel.txn(request)


def _delete_incarnation(key: bytes, incarnation: int) -> Any:
    request = rpc.TxnRequest()
    request.compare.add(result=transactions.EQUAL, target=transactions.CREATE, key=key, create_revision=incarnation)
    request.success.add(request_delete_range=rpc.DeleteRangeRequest(key=key))
    return request
