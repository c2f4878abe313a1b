"""The transactions that write: what they demand, what they put, and what a refusal means.

Every condition in here, once false, stays false: an incarnation that is gone
never returns, a claim that was replaced never returns, and a batch or record
that is there only goes when its saga has finished. So whoever reads, in the
same transaction that was refused, that a condition is false, knows that no
earlier sending of the write can be carried out any more either.

No I/O: requests are built here and answers are read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from aetcd import rpc

from sagaline.v1 import log_pb2
from sagaline_server.ports.store import Append, Claim, NewSaga, Status, Write, WriteResult
from sagaline_server.store.checks import conflict, has_writer, saga_of
from sagaline_server.store.etcd.keys import Keys, after_all

OPERATIONS_MAX = 128
"""What etcd allows, by default, of conditions, of puts and deletes, and of reads, each."""
REQUEST_BYTES_MAX = 1536 * 1024 - 32 * 1024
"""etcd allows 1.5 MiB; the rest is for its own envelope."""
ID_BYTES_MAX = 128
WRITE_BYTES_BESIDE = 512 + 6 * ID_BYTES_MAX
"""Keys, conditions and envelopes of one write, beside its contents."""
CONSUMED_BYTES = 64 + 2 * ID_BYTES_MAX
"""The deletion of one request."""

# EQUAL and VERSION are what a condition means that says nothing; saying it in each costs a fifth of building it.
EQUAL, GREATER, NOT_EQUAL = rpc.Compare.EQUAL, rpc.Compare.GREATER, rpc.Compare.NOT_EQUAL
VERSION, CREATE, MOD = rpc.Compare.VERSION, rpc.Compare.CREATE, rpc.Compare.MOD

FENCED = WriteResult(Status.FENCED)


class Fence(msgspec.Struct, frozen=True):
    """This incarnation, as every transaction demands it."""

    key: bytes
    """Key that is there while the SEC lives."""
    incarnation: int
    """Its create revision."""
    owner: bytes
    """Encoded OwnerRecord that names it."""

    def demand(self, request: Any) -> None:
        request.compare.add(result=EQUAL, target=CREATE, key=self.key, create_revision=self.incarnation)


def fence(keys: Keys, sec_id: str, incarnation: int) -> Fence:
    """Return the fence of an incarnation."""
    owner = log_pb2.OwnerRecord(sec_id=sec_id, incarnation=incarnation).SerializeToString()
    return Fence(keys.sec(sec_id), incarnation, owner)


# ---- commit --------------------------------------------------------------------------------------------


def split_writes(writes: Sequence[Write], *, operations: int = OPERATIONS_MAX) -> list[Sequence[Write]]:
    """Divide writes over as few transactions as etcd's limits allow, in order, and evenly where that is possible."""
    parts = _divide(writes, operations, len(writes))
    if len(parts) > 1:
        even = _divide(writes, operations, -(-len(writes) // len(parts)))
        parts = even if len(even) == len(parts) else parts
    return parts


def _divide(writes: Sequence[Write], operations: int, count_max: int) -> list[Sequence[Write]]:
    """Fill one transaction after the other. Counts conditions (or reads, when it is refused), changes and bytes."""
    parts, start = list[Sequence[Write]](), 0
    demands, changes, size = 1, 0, 0
    for index, write in enumerate(writes):
        if isinstance(write, NewSaga):
            its_demands, its_changes = 2, 3
            its_size = WRITE_BYTES_BESIDE + len(write.batch) + len(write.record)
        else:
            its_demands, its_changes = 2, 1
            its_size = WRITE_BYTES_BESIDE + len(write.batch)
            if write.done is not None:
                its_demands, its_changes, its_size = 4, 4, its_size + len(write.done)
            if write.consumes:
                its_changes += len(write.consumes)
                its_size += CONSUMED_BYTES * len(write.consumes)
        demands, changes, size = demands + its_demands, changes + its_changes, size + its_size
        full = demands > operations or changes > operations or size > REQUEST_BYTES_MAX
        if (full or index - start == count_max) and index > start:
            parts.append(writes[start:index])
            start, demands, changes, size = index, 1 + its_demands, its_changes, its_size
    return [*parts, writes[start:]]


def write_request(keys: Keys, fence: Fence, writes: Sequence[Write], *, explain: bool) -> Any:
    """Build the transaction of some writes.

    With `explain` a refusal brings back what `settle` needs. Not for the first try: as a rule nothing is refused.
    """
    request = rpc.TxnRequest()
    fence.demand(request)
    demand, change = request.compare.add, request.success.add
    for write in writes:
        if isinstance(write, NewSaga):
            record = keys.record(write.saga_id)
            demand(key=record, version=0)
            _put(change(), record, write.record)
            _put(change(), keys.owner(write.saga_id), fence.owner)
            _put(change(), keys.batch(write.saga_id, 1), write.batch)
            continue
        claim = write.claim
        owner = keys.owner(claim.saga_id)
        demand(target=MOD, key=owner, mod_revision=claim.revision)
        if write.batch:
            batch = keys.batch(claim.saga_id, write.first_seq)
            demand(key=batch, version=0)
            _put(change(), batch, write.batch)
        if write.consumes or write.done is not None:
            _add_ends(request, keys, owner, write)
    if explain:
        _add_reads(request, keys, fence, writes)
    return request


def _add_ends(request: Any, keys: Keys, owner: bytes, write: Append) -> None:
    """Let what an append ends go: requests it consumes, or ownership and all requests if it ends the saga."""
    saga_id, change = write.claim.saga_id, request.success.add
    for control_id in write.consumes:
        change().request_delete_range.key = keys.control(saga_id, control_id)
    if write.done is not None:
        controls = keys.control(saga_id)  # nobody is left to consume what is still asked
        _put(change(), keys.done(saga_id), write.done)
        change().request_delete_range.key = owner
        change(request_delete_range=rpc.DeleteRangeRequest(key=controls, range_end=after_all(controls)))


def _add_reads(request: Any, keys: Keys, fence: Fence, writes: Sequence[Write]) -> None:
    read = request.failure.add
    read(request_range=rpc.RangeRequest(key=fence.key, keys_only=True))
    for write in writes:
        saga_id = saga_of(write)
        if isinstance(write, NewSaga):
            read(request_range=rpc.RangeRequest(key=keys.record(saga_id)))
            read(request_range=rpc.RangeRequest(key=keys.batch(saga_id, 1)))
            continue
        read(request_range=rpc.RangeRequest(key=keys.owner(saga_id), keys_only=True))
        read(request_range=rpc.RangeRequest(key=keys.batch(saga_id, write.first_seq)))
        if write.done is not None:
            read(request_range=rpc.RangeRequest(key=keys.done(saga_id)))
            read(request_range=rpc.RangeRequest(key=keys.batch(saga_id, 1), keys_only=True))


def done_results(writes: Sequence[Write], response: Any) -> list[WriteResult]:
    """Return the results of a transaction that was carried out."""
    revision = response.header.revision
    appended = WriteResult(Status.DONE, revision)
    return [
        WriteResult(Status.DONE, revision, Claim(write.saga_id, 1, revision))
        if isinstance(write, NewSaga)
        else appended
        for write in writes
    ]


def settle(fence: Fence, writes: Sequence[Write], response: Any, problems: dict[str, str]) -> list[WriteResult | None]:
    """Read from a refusal what became of each write; what is a programming error goes to `problems`, by saga.

    Returns:
        A result where there is one; None where nothing speaks against the write, so that it can be tried again.
    """
    answers = found_keys(response)
    sec = next(answers)
    alive = sec is not None and sec.create_revision == fence.incarnation
    return [
        _settle_new(write, next(answers), next(answers), alive=alive)
        if isinstance(write, NewSaga)
        else _settle_append(write, answers, problems, alive=alive)
        for write in writes
    ]


def _settle_new(write: NewSaga, record: Any, batch: Any, *, alive: bool) -> WriteResult | None:
    if batch is not None and has_writer(batch.value, write.writer_id):
        # The owner was written with the batch; whatever happened to it since shows when it is used.
        claim = Claim(write.saga_id, 1, batch.mod_revision)
        return WriteResult(Status.DONE, batch.mod_revision, claim)
    if not alive:
        return FENCED
    return None if record is None else WriteResult(Status.EXISTS, record=record.value)


def _settle_append(
    write: Append, answers: Iterator[Any], problems: dict[str, str], *, alive: bool
) -> WriteResult | None:
    owner, batch = next(answers), next(answers)
    done, first = (None, None) if write.done is None else (next(answers), next(answers))
    holds = alive and owner is not None and owner.mod_revision == write.claim.revision
    if batch is not None and write.batch:
        if has_writer(batch.value, write.writer_id):
            return WriteResult(Status.DONE, batch.mod_revision)
        if holds:
            problems[write.claim.saga_id] = conflict(write)
        return FENCED
    if holds:
        return None
    if done is not None and done.value == write.done and first is None:
        # It finished the saga, and the log was removed since.
        return WriteResult(Status.DONE, done.mod_revision)
    return FENCED


# ---- the others ----------------------------------------------------------------------------------------


def control_request(keys: Keys, saga_id: str, control_id: str, control: bytes) -> Any:
    """Build the transaction that puts a request for an owner. A refusal brings back the owner, if there is one."""
    request, owner, key = rpc.TxnRequest(), keys.owner(saga_id), keys.control(saga_id, control_id)
    request.compare.add(result=GREATER, target=VERSION, key=owner, version=0)
    request.compare.add(key=key, version=0)
    _put(request.success.add(), key, control)
    request.failure.add(request_range=rpc.RangeRequest(key=owner, keys_only=True))
    return request


def condition_request(keys: Keys, subject: str, value: bytes) -> Any:
    """Build the transaction that sets a condition, or lifts it if it is empty."""
    request = rpc.TxnRequest()
    if value:
        _put(request.success.add(), keys.condition(subject), value)
    else:
        request.success.add(request_delete_range=rpc.DeleteRangeRequest(key=keys.condition(subject)))
    return request


def remove_request(keys: Keys, saga_ids: Mapping[str, int], *, keep_summary: bool) -> Any:
    """Build the transaction that removes finished sagas. A refusal brings back which of them are finished.

    Args:
        keys: Where everything is.
        saga_ids: Sagas, each with the revision that its summary has to have; 0: any.
        keep_summary: Whether only the log goes.
    """
    request = rpc.TxnRequest()
    for saga_id, revision in saga_ids.items():
        done, logs = keys.done(saga_id), keys.log(saga_id)
        if revision:
            request.compare.add(result=EQUAL, target=MOD, key=done, mod_revision=revision)
        else:
            request.compare.add(result=GREATER, target=VERSION, key=done, version=0)
        request.success.add(request_delete_range=rpc.DeleteRangeRequest(key=logs, range_end=after_all(logs)))
        if not keep_summary:
            request.success.add(request_delete_range=rpc.DeleteRangeRequest(key=keys.record(saga_id)))
            request.success.add(request_delete_range=rpc.DeleteRangeRequest(key=done))
        request.failure.add(request_range=rpc.RangeRequest(key=done, keys_only=True))
    return request


def found_keys(response: Any) -> Iterator[Any]:
    """Return, for each single key that a transaction read, what is there, or None."""
    for answer in response.responses:
        found = answer.response_range.kvs
        yield found[0] if found else None


def _put(operation: Any, key: bytes, value: bytes) -> None:
    put = operation.request_put
    put.key = key
    put.value = value
