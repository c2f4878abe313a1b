"""Giving sagas to another SEC: the transaction, what a refusal means, and what became of a hand-off sent before.

The owner key tells: at the epoch after the claim's it names the target if this
hand-off happened. (So it does if the target adopted the saga from this SEC,
which then is dead; that comes to the same.) When the key has moved on, its
history is asked, as far back as etcd still has it.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Sequence
from typing import Any

import structlog
from aetcd import rpc
from google.protobuf.message import DecodeError

from sagaline.v1 import log_pb2
from sagaline_server.ports.cluster import HandOff, HandOffFate, hand_off_id
from sagaline_server.ports.store import Claim, SecRecord, StoreError
from sagaline_server.store.etcd.channel import EtcdChannel, EtcdError
from sagaline_server.store.etcd.keys import Keys
from sagaline_server.store.etcd.transactions import (
    CREATE,
    EQUAL,
    MOD,
    OPERATIONS_MAX,
    REQUEST_BYTES_MAX,
    WRITE_BYTES_BESIDE,
    Fence,
    found_keys,
)

SAGAS_PER_TRANSACTION = OPERATIONS_MAX // 2 - 1
"""Each has two puts, or two reads when it is refused, beside those of the two SECs."""
OWNERS_ASKED_MAX = 16
"""How many later owners of a saga are looked through, one read each, to find the one after this."""

log = structlog.get_logger(__name__)


class Left(enum.Enum):
    """What is to be done about a hand-off of a refused transaction."""

    AGAIN = "again"
    """Nothing speaks against it."""
    HISTORY = "history"
    """The saga has had another owner since. Its history knows which."""


def split_hand_offs(hand_offs: Sequence[HandOff]) -> list[Sequence[HandOff]]:
    """Divide hand-offs over as few transactions as etcd's limits allow, in order."""
    parts, start, size = list[Sequence[HandOff]](), 0, 0
    for index, hand_off in enumerate(hand_offs):
        its_size = WRITE_BYTES_BESIDE + len(hand_off.control)
        size += its_size
        if index > start and (size > REQUEST_BYTES_MAX or index - start == SAGAS_PER_TRANSACTION):
            parts.append(hand_offs[start:index])
            start, size = index, its_size
    return [*parts, hand_offs[start:]] if hand_offs else []


def hand_off_request(keys: Keys, fence: Fence, hand_offs: Sequence[HandOff], to: SecRecord) -> Any:
    """Build the transaction that names a new owner. A refusal brings back what `settle` needs."""
    request = rpc.TxnRequest()
    target = keys.sec(to.sec_id)
    owner_record = log_pb2.OwnerRecord(sec_id=to.sec_id, incarnation=to.incarnation).SerializeToString()
    fence.demand(request)
    request.compare.add(result=EQUAL, target=CREATE, key=target, create_revision=to.incarnation)
    read = request.failure.add
    read(request_range=rpc.RangeRequest(key=fence.key, keys_only=True))
    read(request_range=rpc.RangeRequest(key=target, keys_only=True))
    for hand_off in hand_offs:
        claim = hand_off.claim
        owner, control = keys.owner(claim.saga_id), keys.control(claim.saga_id, hand_off_id(claim))
        request.compare.add(result=EQUAL, target=MOD, key=owner, mod_revision=claim.revision)
        request.success.add(request_put=rpc.PutRequest(key=owner, value=owner_record))
        request.success.add(request_put=rpc.PutRequest(key=control, value=hand_off.control))
        read(request_range=rpc.RangeRequest(key=owner))
        read(request_range=rpc.RangeRequest(key=keys.done(claim.saga_id), keys_only=True))
    return request


def settle(
    fence: Fence, hand_offs: Sequence[HandOff], to: SecRecord, response: Any
) -> list[tuple[HandOffFate | Left, Any]]:
    """Read from a refusal what became of each hand-off.

    Returns:
        For each its fate, or what is left to do; and for `Left.HISTORY` the key from which the history goes back: the
        owner as it is now, or the summary of the saga that has ended.
    """
    answers = found_keys(response)
    me, target = next(answers), next(answers)
    is_alive = me is not None and me.create_revision == fence.incarnation
    target_is_alive = target is not None and target.create_revision == to.incarnation
    settled: list[tuple[HandOffFate | Left, Any]] = []
    for hand_off in hand_offs:
        owner, done = next(answers), next(answers)
        if owner is None or owner.mod_revision != hand_off.claim.revision:
            settled.append((Left.HISTORY, done if owner is None else owner))
        elif not is_alive:
            settled.append((HandOffFate.FENCED, None))
        else:
            settled.append((Left.AGAIN if target_is_alive else HandOffFate.TARGET_GONE, None))
    return settled


class HandingOff:
    """The hand-offs of one call on their way.

    Args:
        slots: Bounds the transactions in flight over all calls.
    """

    def __init__(self, channel: EtcdChannel, keys: Keys, fence: Fence, slots: asyncio.Semaphore, to: SecRecord) -> None:
        self._channel = channel
        self._keys = keys
        self._fence = fence
        self._slots = slots
        self._to = to

    async def run(self, hand_offs: Sequence[HandOff]) -> list[HandOffFate]:
        """Hand off what can be; one fate for each, in order.

        Raises:
            StoreError: The outcome of some is not known.
        """
        fates: dict[str, HandOffFate] = {}
        for part in split_hand_offs(hand_offs):
            await self._hand_off(part, fates)
        return [fates[hand_off.claim.saga_id] for hand_off in hand_offs]

    async def _hand_off(self, hand_offs: Sequence[HandOff], fates: dict[str, HandOffFate]) -> None:
        while hand_offs:
            request = hand_off_request(self._keys, self._fence, hand_offs, self._to)
            try:
                async with self._slots:
                    response = await self._channel.txn(request)
            except EtcdError as error:
                if not error.too_large or len(hand_offs) == 1:
                    raise
                # This etcd allows less than others do. It was refused whole, so the halves can be sent.
                middle = len(hand_offs) // 2
                await self._hand_off(hand_offs[:middle], fates)
                hand_offs = hand_offs[middle:]
                continue
            if response.succeeded:
                fates.update((hand_off.claim.saga_id, HandOffFate.DONE) for hand_off in hand_offs)
                return
            left = await self._settle(hand_offs, response, fates)
            if len(left) == len(hand_offs):
                raise StoreError("etcd refused a hand-off although every condition held")
            hand_offs = left

    async def _settle(
        self, hand_offs: Sequence[HandOff], response: Any, fates: dict[str, HandOffFate]
    ) -> list[HandOff]:
        """Record the fates that a refusal tells of; return those that can be tried again."""
        again = []
        settled = settle(self._fence, hand_offs, self._to, response)
        for hand_off, (fate, key) in zip(hand_offs, settled, strict=True):
            if fate is Left.AGAIN:
                again.append(hand_off)
            elif isinstance(fate, HandOffFate):
                fates[hand_off.claim.saga_id] = fate
            else:
                has_happened = await self._has_happened(hand_off.claim, key)
                fates[hand_off.claim.saga_id] = HandOffFate.DONE if has_happened else HandOffFate.FENCED
        return again

    async def _has_happened(self, claim: Claim, newest: Any) -> bool:
        """Tell whether the target was the owner after this claim, as far as that is still known."""
        key = self._keys.owner(claim.saga_id)
        owner = newest
        for _ in range(OWNERS_ASKED_MAX):
            if owner is None or owner.mod_revision <= claim.revision:
                return False
            if owner.key == key:
                if owner.create_revision > claim.revision:
                    return False  # another saga of this id
                if owner.version == claim.epoch + 1:
                    return _names(owner, self._to)
            owner = await self._owner_before(key, owner.mod_revision)
        return False

    async def _owner_before(self, key: bytes, revision: int) -> Any:
        """Read the owner as it was before a revision; None if etcd does not know any more."""
        try:
            answer = await self._channel.read(rpc.RangeRequest(key=key, revision=revision - 1))
        except EtcdError as error:
            if not error.compacted:
                raise
            log.info("owner_history_compacted", revision=revision)
            return None
        return answer.kvs[0] if answer.kvs else None


def _names(owner: Any, sec: SecRecord) -> bool:
    try:
        record = log_pb2.OwnerRecord.FromString(owner.value)
    except DecodeError:
        return False
    return (record.sec_id, record.incarnation) == (sec.sec_id, sec.incarnation)
