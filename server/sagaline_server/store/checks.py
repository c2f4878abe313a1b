"""What every adapter refuses before it asks its store anything, so that all refuse alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from google.protobuf.message import DecodeError

from sagaline.v1 import log_pb2
from sagaline_server.ports.cluster import HandOff, StoredControl
from sagaline_server.ports.store import Append, NewSaga, OwnedSaga, SecRecord, Write, WriteRefused

WRITER_ID_BYTES = 16
BATCH_HEAD = b"\x0a\x10"
"""A LogBatch as good as always starts so, and then with its writer id, its first field: no need to parse it."""
BATCH_HEAD_BYTES = len(BATCH_HEAD) + WRITER_ID_BYTES
WRITE_BYTES_MAX = 1536 * 1024 - 64 * 1024
"""Record, batch and summary of one write: it has to fit in one etcd request of 1.5 MiB, keys and conditions too."""
CONSUMES_MAX = 100
"""Requests that one write may consume: etcd counts each against what a transaction may do."""


def check_writes(writes: Sequence[Write]) -> None:
    """Refuse writes that no store could keep.

    Raises:
        WriteRefused: A saga twice, an id that is no key, a write that is too large, or a batch without the id of its
            writer. Nothing was written.
    """
    seen: set[str] = set()
    for write in writes:
        # Every write of every saga passes here, so the good case is told without a call.
        if isinstance(write, NewSaga):
            saga_id, size = write.saga_id, len(write.record) + len(write.batch)
            is_odd = not write.batch
        else:
            saga_id, size = write.claim.saga_id, len(write.batch) + len(write.done or b"")
            is_odd = not write.batch or bool(write.consumes) or write.first_seq < 1
        is_signed = write.batch[:BATCH_HEAD_BYTES] == BATCH_HEAD + write.writer_id
        if (is_odd or not is_signed or size > WRITE_BYTES_MAX or not saga_id or "/" in saga_id) and _problem(write):
            raise WriteRefused({saga_of(each): reason for each in writes if (reason := _problem(each))})
        seen.add(saga_id)
    if len(seen) != len(writes):
        counts = Counter(map(saga_of, writes))
        raise WriteRefused({saga: f"saga {saga!r} is written twice" for saga, count in counts.items() if count > 1})


def _problem(write: Write) -> str:
    """Return why no store could keep a write; empty if it could."""
    saga_id, size = saga_of(write), payload_bytes(write)
    if not saga_id or "/" in saga_id:
        return f"{saga_id!r} is no saga id"
    if size > WRITE_BYTES_MAX:
        return f"the write of saga {saga_id!r} has {size} bytes; {WRITE_BYTES_MAX} are allowed"
    if write.batch and not has_writer(write.batch, write.writer_id):
        return f"the batch of saga {saga_id!r} does not carry its {WRITER_ID_BYTES}-byte writer id"
    if isinstance(write, Append):
        return _append_problem(write)
    return "" if write.batch else f"saga {saga_id!r} is to be created without a first entry"


def _append_problem(write: Append) -> str:
    saga_id = write.claim.saga_id
    if write.batch and write.first_seq < 1:
        return f"the batch of saga {saga_id!r} starts at {write.first_seq}; entries count from 1"
    if not write.batch and write.done is not None:
        return f"saga {saga_id!r} is to end without an entry that says so"
    if len(write.consumes) > CONSUMES_MAX:
        return f"a write of saga {saga_id!r} consumes {len(write.consumes)} requests; {CONSUMES_MAX} may be"
    for control_id in write.consumes:
        if not control_id or "/" in control_id:
            return f"a write of saga {saga_id!r} consumes {control_id!r}, which is no id of a request"
    return ""


def check_hand_offs(hand_offs: Sequence[HandOff], to: SecRecord, incarnation: int) -> None:
    """Refuse hand-offs that could not mean anything.

    Raises:
        ValueError: A saga twice, a request that is too large, or this incarnation itself as the target.
    """
    if to.incarnation == incarnation:
        raise ValueError("sagas are to be handed off to the incarnation that has them")
    if len({hand_off.claim.saga_id for hand_off in hand_offs}) != len(hand_offs):
        raise ValueError("a saga is to be handed off twice in one call")
    for hand_off in hand_offs:
        check_saga_id(hand_off.claim.saga_id)
        if len(hand_off.control) > WRITE_BYTES_MAX:
            raise ValueError(f"the request for the new owner of saga {hand_off.claim.saga_id!r} is too large")


def check_log_range(saga_id: str, from_seq: int, limit_batches: int = 1) -> None:
    """Refuse to read a log from before its beginning, or a page of it that could hold nothing."""
    check_saga_id(saga_id)
    if from_seq < 1:
        raise ValueError(f"a log is to be read from {from_seq}; entries count from 1")
    if limit_batches < 1:
        raise ValueError(f"a page of {limit_batches} batches was asked for")


def check_control_id(control_id: str) -> None:
    """Refuse an id of a request that would reach into other keys."""
    if not control_id or "/" in control_id:
        raise ValueError(f"{control_id!r} is no id of a request")


def check_subject(subject: str) -> None:
    """Check what a condition is on.

    Raises:
        ValueError: It is empty.
    """
    if not subject:
        raise ValueError("a condition is on something")


def check_saga_id(saga_id: str) -> None:
    """Refuse an id that would reach into another saga's keys."""
    if not saga_id or "/" in saga_id:
        raise ValueError(f"{saga_id!r} is no saga id")


def check_sagas(sagas: Sequence[OwnedSaga]) -> None:
    """Refuse to adopt a saga twice in one call."""
    if len({saga.saga_id for saga in sagas}) != len(sagas):
        raise ValueError("a saga is to be adopted twice in one call")


def check_limit(limit: int) -> None:
    """Refuse a page that could hold nothing: it would look like the end of the list."""
    if limit < 1:
        raise ValueError(f"a page of {limit} sagas was asked for")


def saga_of(write: Write) -> str:
    """Return the id of the saga that a write is of."""
    return write.saga_id if isinstance(write, NewSaga) else write.claim.saga_id


def payload_bytes(write: Write) -> int:
    """Return how many bytes a write has to store, keys not counted."""
    if isinstance(write, NewSaga):
        return len(write.record) + len(write.batch)
    return len(write.batch) + len(write.done or b"")


def has_writer(batch: bytes, writer_id: bytes) -> bool:
    """Tell whether an encoded LogBatch is the one that this writer wrote."""
    if batch[:BATCH_HEAD_BYTES] == BATCH_HEAD + writer_id:
        return True
    try:
        found = log_pb2.LogBatch.FromString(batch).writer_id
    except DecodeError:
        return False
    return len(found) == WRITER_ID_BYTES and found == writer_id


def in_order(controls: Iterable[StoredControl]) -> list[StoredControl]:
    """Return requests in the order in which they were accepted."""
    return sorted(controls, key=lambda control: (control.control_id, control.saga_id))


def refuse_problems(problems: Mapping[str, str]) -> None:
    """Raise what the writes of a commit brought to light, by saga, once the others are settled."""
    if problems:
        raise WriteRefused(problems)


def conflict(write: Append) -> str:
    """Say that another writer's batch is where this one belongs."""
    return f"saga {write.claim.saga_id!r} has another writer's batch at {write.first_seq}, though its claim holds"
