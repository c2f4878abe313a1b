"""Reading sagas and owners from etcd.

Nothing is decided on what is read here: a read may be stale (a member that was
paused answers from before), and every write carries its own conditions. A
transaction never has a range at an explicit revision, on which the members of
an older etcd can come to differ; what is longer than a page goes on outside of
it, at the revision of its first page.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from aetcd import rpc
from google.protobuf.message import DecodeError

from sagaline.v1 import log_pb2
from sagaline_server.ports.cluster import StoredCondition, StoredControl
from sagaline_server.ports.store import (
    ListQuery,
    OwnedSaga,
    SecRecord,
    StoredHead,
    StoredSaga,
    StoreError,
)
from sagaline_server.store.checks import in_order
from sagaline_server.store.etcd.channel import EtcdChannel, EtcdError
from sagaline_server.store.etcd.keys import Keys, after, after_all
from sagaline_server.store.etcd.transactions import OPERATIONS_MAX, found_keys
from sagaline_server.store.log_tail import LogTail, log_tail

BATCHES_PER_PAGE = 256
"""Batches of one saga read at once. As a rule that is all of them; fewer are tried where they do not fit."""
HEADS_PER_TRANSACTION = 32
"""Sagas whose heads are read at once: 32 records of 1 MiB and their summaries fit in one answer."""
SAGAS_PER_TRANSACTION = OPERATIONS_MAX // 4
KEYS_PER_PAGE = 1000
READS_AFTER_COMPACTION = 3
"""How often a read starts again because the revision it read at was compacted away under it."""


class SagaReader:
    """Everything that the store only reads."""

    def __init__(self, channel: EtcdChannel, keys: Keys) -> None:
        self._channel = channel
        self._keys = keys

    async def saga(self, saga_id: str) -> StoredSaga | None:
        """Read one saga at one instant."""
        limit, tries = BATCHES_PER_PAGE, READS_AFTER_COMPACTION
        while True:
            try:
                return await self._saga(saga_id, limit)
            except EtcdError as error:
                if error.answer_too_large and limit > 1:
                    limit //= 4
                elif error.compacted and tries > 0:
                    tries -= 1
                else:
                    raise

    async def sagas(self, saga_ids: Sequence[str]) -> list[StoredSaga | None]:
        """Read at most SAGAS_PER_TRANSACTION sagas in one transaction; those that are too long for it by themselves."""
        if len(saga_ids) == 1:
            return [await self.saga(saga_ids[0])]
        request = rpc.TxnRequest()
        for saga_id in saga_ids:
            self._ask(request, saga_id, BATCHES_PER_PAGE)
        try:
            response = await self._channel.read(request)
        except EtcdError as error:
            if not error.answer_too_large:
                raise
            middle = len(saga_ids) // 2
            return [*await self.sagas(saga_ids[:middle]), *await self.sagas(saga_ids[middle:])]
        answers = iter([answer.response_range for answer in response.responses])
        found: list[StoredSaga | None] = []
        for saga_id in saga_ids:
            record, owner, done, log = (next(answers) for _ in range(4))
            if log.more:
                found.append(await self.saga(saga_id))
            elif not record.kvs:
                found.append(None)
            else:
                found.append(_stored(saga_id, record.kvs[0], _first(owner), _first(done), log.kvs))
        return found

    def _ask(self, request: Any, saga_id: str, limit: int) -> None:
        """Add the four reads of a saga to a transaction: record, owner, summary, and a page of its log."""
        keys = self._keys
        for key in (keys.record(saga_id), keys.owner(saga_id), keys.done(saga_id)):
            request.success.add(request_range=rpc.RangeRequest(key=key))
        start = keys.log(saga_id)
        request.success.add(request_range=rpc.RangeRequest(key=start, range_end=after_all(start), limit=limit))

    async def _saga(self, saga_id: str, limit: int) -> StoredSaga | None:
        request = rpc.TxnRequest()
        self._ask(request, saga_id, limit)
        response = await self._channel.read(request)
        record, owner, done, _ = found_keys(response)
        if record is None:
            return None
        page = response.responses[3].response_range
        batches = list(page.kvs)
        end = after_all(self._keys.log(saga_id))
        while page.more:
            start = after(batches[-1].key)
            page = await self._channel.read(
                rpc.RangeRequest(key=start, range_end=end, limit=limit, revision=response.header.revision)
            )
            batches.extend(page.kvs)
        return _stored(saga_id, record, owner, done, batches)

    async def tail(self, saga_id: str, from_seq: int, limit: int) -> LogTail | None:
        """Read a page of a saga's log from an entry on; None where there is no such saga."""
        size, tries = min(limit + 1, BATCHES_PER_PAGE), READS_AFTER_COMPACTION
        while True:
            try:
                return await self._tail(saga_id, from_seq, limit, size)
            except EtcdError as error:
                if error.answer_too_large and size > 1:
                    size = max(1, size // 4)
                elif error.compacted and tries > 0:
                    tries -= 1
                else:
                    raise

    async def _tail(self, saga_id: str, from_seq: int, limit: int, size: int) -> LogTail | None:
        keys = self._keys
        middle, end = after(keys.batch(saga_id, from_seq)), after_all(keys.log(saga_id))
        request = rpc.TxnRequest()
        for key in (keys.record(saga_id), keys.done(saga_id)):
            request.success.add(request_range=rpc.RangeRequest(key=key, keys_only=True))
        # The batch that the entry may be in, and those after it.
        last = rpc.RangeRequest(key=keys.log(saga_id), range_end=middle, limit=1)
        last.sort_order, last.sort_target = rpc.RangeRequest.DESCEND, rpc.RangeRequest.KEY
        request.success.add(request_range=last)
        request.success.add(request_range=rpc.RangeRequest(key=middle, range_end=end, limit=size))
        response = await self._channel.read(request)
        record, done, *_ = found_keys(response)
        if record is None:
            return None
        page = response.responses[3].response_range
        batches = [*response.responses[2].response_range.kvs, *page.kvs]
        revision = response.header.revision
        while page.more and len(batches) <= limit + 1:
            start = after(batches[-1].key)
            page = await self._channel.read(rpc.RangeRequest(key=start, range_end=end, limit=size, revision=revision))
            batches.extend(page.kvs)
        found = [(keys.first_seq_of(kv.key), kv.value) for kv in batches]
        return log_tail(found, from_seq, limit, is_done=done is not None, revision=revision)

    async def heads(self, query: ListQuery) -> list[StoredHead]:
        """Read a page of sagas. Each is read at one instant; the page is not."""
        start = {None: self._keys.records, True: self._keys.owners, False: self._keys.dones}[query.unfinished]
        after_id, heads, more = query.after_id, list[StoredHead](), True
        while more and len(heads) < query.limit:
            # The ids come from the keys that only such sagas have; their heads may be newer, so they are asked again.
            limit = min(query.limit - len(heads), HEADS_PER_TRANSACTION)
            page = await self._channel.read(
                rpc.RangeRequest(
                    key=after(start + after_id.encode()), range_end=after_all(start), limit=limit, keys_only=True
                )
            )
            ids = [kv.key[len(start) :].decode() for kv in page.kvs]
            if ids:
                found = await self._heads_of(ids)
                heads.extend(head for head in found if _wanted(head, query))
                after_id = ids[-1]
            more = page.more
        return heads

    async def _heads_of(self, saga_ids: Sequence[str]) -> list[StoredHead]:
        keys = self._keys
        three = (keys.record, keys.owner, keys.done)
        answers = found_keys(await self._channel.read(_reads(*(key(saga) for saga in saga_ids for key in three))))
        heads = []
        for saga_id in saga_ids:
            record, owner, done = next(answers), next(answers), next(answers)
            if record is not None:  # else it was removed since its id was read
                owned = None if owner is None else _owned(saga_id, owner)
                heads.append(StoredHead(saga_id, record.value, None if done is None else done.value, owned))
        return heads

    async def owned(self) -> list[OwnedSaga]:
        """Read every unfinished saga with its owner."""
        start = self._keys.owners
        return [_owned(kv.key[len(start) :].decode(), kv) for kv in await self._all(start)]

    async def owners(self, saga_ids: Sequence[str]) -> list[OwnedSaga | None]:
        """Read who owns these sagas."""
        found: list[OwnedSaga | None] = []
        for start in range(0, len(saga_ids), OPERATIONS_MAX):
            part = saga_ids[start : start + OPERATIONS_MAX]
            answers = found_keys(await self._channel.read(_reads(*map(self._keys.owner, part))))
            found += [None if kv is None else _owned(saga, kv) for saga, kv in zip(part, answers, strict=True)]
        return found

    async def done_revisions(self, saga_ids: Sequence[str], dones: Mapping[str, bytes]) -> dict[str, int]:
        """Read at which revision each of these summaries was written; those that are others by now are left out."""
        answers = found_keys(await self._channel.read(_reads(*map(self._keys.done, saga_ids))))
        found = zip(saga_ids, answers, strict=True)
        return {saga: kv.mod_revision for saga, kv in found if kv is not None and kv.value == dones.get(saga)}

    async def revision(self) -> int:
        """Read how far the store has come."""
        start = self._keys.secs
        request = rpc.RangeRequest(key=start, range_end=after_all(start), count_only=True)
        return int((await self._channel.read(request)).header.revision)

    async def controls(self, saga_id: str | None) -> list[StoredControl]:
        """Read the requests of one saga, or of all."""
        start = self._keys.controls if saga_id is None else self._keys.control(saga_id)
        found = []
        for kv in await self._all(start):
            names = self._keys.control_of(kv.key)
            if names is not None:  # else somebody put it there by hand
                found.append(StoredControl(*names, kv.value))
        return in_order(found)

    async def conditions(self) -> list[StoredCondition]:
        """Read all conditions."""
        start = self._keys.conditions
        return [StoredCondition(kv.key[len(start) :].decode(), kv.value) for kv in await self._all(start)]

    async def secs(self) -> list[SecRecord]:
        """Read the live SECs."""
        start = self._keys.secs
        return [_sec(kv.key[len(start) :].decode(), kv) for kv in await self._all(start)]

    async def _all(self, start: bytes) -> list[Any]:
        found: list[Any] = []
        key, more = start, True
        while more:
            page = await self._channel.read(rpc.RangeRequest(key=key, range_end=after_all(start), limit=KEYS_PER_PAGE))
            found.extend(page.kvs)
            more = page.more
            key = after(found[-1].key) if found else key
        return found


def _reads(*keys: bytes) -> Any:
    request = rpc.TxnRequest()
    for key in keys:
        request.success.add(request_range=rpc.RangeRequest(key=key))
    return request


def _wanted(head: StoredHead, query: ListQuery) -> bool:
    if query.unfinished is not None and query.unfinished != (head.done is None):
        return False
    return query.graph_name is None or query.graph_name == graph_name(head.record)


def graph_name(record: bytes) -> str:
    """Return the name of a saga's graph; empty if the record can't be read."""
    try:
        return log_pb2.SagaRecord.FromString(record).spec.graph.name
    except DecodeError:
        return ""


def _stored(saga_id: str, record: Any, owner: Any, done: Any, batches: Iterable[Any]) -> StoredSaga:
    return StoredSaga(
        saga_id,
        record.value,
        tuple(batch.value for batch in batches),
        None if owner is None else _owned(saga_id, owner),
        None if done is None else done.value,
    )


def _first(answer: Any) -> Any:
    return answer.kvs[0] if answer.kvs else None


def _owned(saga_id: str, kv: Any) -> OwnedSaga:
    try:
        owner = log_pb2.OwnerRecord.FromString(kv.value)
    except DecodeError as error:
        raise StoreError(f"the owner of saga {saga_id!r} can't be read: {error}") from error
    return OwnedSaga(saga_id, owner.sec_id, owner.incarnation, kv.version, kv.mod_revision)


def _sec(sec_id: str, kv: Any) -> SecRecord:
    try:
        value = log_pb2.SecRegistration.FromString(kv.value)
    except DecodeError as error:
        raise StoreError(f"the key of SEC {sec_id!r} can't be read: {error}") from error
    return SecRecord(sec_id, kv.create_revision, value.address, value.version, value.draining)
