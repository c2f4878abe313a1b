"""The store: records, logs and ownership, durable and fenced.

Two adapters keep it (SQLite, etcd) and a twin in memory that simulations use.
One contract suite, `tests/contracts`, holds all three to every sentence here.

What is stored is bytes to the store: records, entries and summaries are
encoded by `sagaline_server.wire` before they come here. Only what a list can
be filtered by is given beside them.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec


class Claim(msgspec.Struct, frozen=True, gc=False):
    """Proof that this incarnation claimed a saga. Part of the fence of every append to it."""

    saga_id: str
    epoch: int
    """Which ownership of the saga this is, from 1."""
    revision: int
    """Store revision of the claim: the owner key's modification revision."""


class ListedSaga(msgspec.Struct, frozen=True, gc=False):
    """What a list can be filtered by, as of the last append."""

    graph_name: str
    create_time: float
    """Seconds since 1970."""
    labels: tuple[tuple[str, str], ...] = ()
    scopes: tuple[str, ...] = ()


class NewSaga(msgspec.Struct, frozen=True, gc=False):
    """A saga to create and claim in one write."""

    saga_id: str
    record: bytes
    """Encoded SagaRecord."""
    batch: bytes
    """Encoded LogBatch whose first entry is seq 1."""
    listed: ListedSaga
    writer_id: bytes
    """16 bytes, new for each write: how the write is recognised after an unknown outcome."""


class Append(msgspec.Struct, frozen=True, gc=False):
    """Entries to append to a saga's log."""

    claim: Claim
    first_seq: int
    """Sequence number of the batch's first entry; no batch may have it yet."""
    batch: bytes
    """Encoded LogBatch. Empty: nothing is logged, only `consumes` is removed.

    Such a write leaves nothing that it could be recognised by once the claim is gone: if it is sent again and FENCED,
    an earlier sending may have been carried out. All that can hang on it is whether requests without effect are there.
    """
    writer_id: bytes
    consumes: tuple[str, ...] = ()
    """Ids of the requests (see `ports.cluster`) whose effect this is; removed in the same transaction."""
    done: bytes | None = None
    """Encoded DoneRecord. Set: the saga has ended; ownership ends with this write, and the requests for its owner that
    are still there are removed with it."""


Write = NewSaga | Append


class Status(enum.Enum):
    """How a write ended. Never a guess."""

    DONE = "done"
    """Durable."""
    FENCED = "fenced"
    """Not written, and it never will be: this incarnation is dead or no longer owns the saga."""
    EXISTS = "exists"
    """Of a NewSaga: not written, because a saga has this id. `WriteResult.record` is its record."""
    REFUSED = "refused"
    """Not written, and it never can be: it breaks the store's limits. Never a store's answer: `commit` raises, and
    whoever gathers writes finds out which one it was."""
    UNKNOWN = "unknown"
    """May or may not be durable, or become so. Send the same write again, unchanged, until it is known."""


class WriteResult(msgspec.Struct, frozen=True, gc=False):
    """How one write of a commit ended."""

    status: Status
    revision: int = 0
    """Of DONE: store revision of the write; grows from write to write over the whole store, or over each of its parts
    where it is divided. A saga is in one of them, so over all writes of a saga it grows."""
    claim: Claim | None = None
    """Of a NewSaga that is DONE."""
    record: bytes | None = None
    """Of EXISTS."""
    error: str = ""
    """Of UNKNOWN: what went wrong, for logs."""


class OwnedSaga(msgspec.Struct, frozen=True):
    """An unfinished saga and its owner as stored."""

    saga_id: str
    sec_id: str
    incarnation: int
    epoch: int
    revision: int
    """Modification revision of the owner key."""


class StoredSaga(msgspec.Struct, frozen=True):
    """Everything stored of one saga, read at one instant."""

    saga_id: str
    record: bytes
    batches: tuple[bytes, ...]
    """Encoded LogBatches in order of first_seq. Empty once compacted away."""
    owner: OwnedSaga | None
    """None once the saga has ended."""
    done: bytes | None
    """DoneRecord, once the saga has ended."""


class StoredHead(msgspec.Struct, frozen=True):
    """A saga as lists see it, without its log."""

    saga_id: str
    record: bytes
    done: bytes | None
    owner: OwnedSaga | None


class ListQuery(msgspec.Struct, frozen=True):
    """Which sagas a page of a list starts with. Filters beyond these are the caller's."""

    after_id: str = ""
    """Sagas with an id greater than this, in the order of their ids' bytes."""
    limit: int = 100
    graph_name: str | None = None
    unfinished: bool | None = None
    """True: only unfinished sagas. False: only finished ones. None: both."""


class SecRecord(msgspec.Struct, frozen=True):
    """A live SEC."""

    sec_id: str
    incarnation: int
    address: str
    version: str
    draining: bool = False
    """True: it is leaving, takes no new sagas, and is not to be given any."""
    elsewhere: tuple[int, ...] = ()
    """Of a store of several parts: its incarnations in the others, each a number of its own."""

    @property
    def incarnations(self) -> tuple[int, ...]:
        """All of its incarnations: what any of them owns is its."""
        return (self.incarnation, *self.elsewhere)


class StoreError(Exception):
    """The store could not be asked; nothing is known to have changed. Try again later."""


class SecNameTaken(StoreError):
    """Another live process is this SEC, or holds this data directory. Stop it, or choose another name."""


class WrongShards(StoreError):
    """The clusters that the settings name are not those that the sagas were spread over. Set them right."""


class StoreRolledBack(StoreError):
    """The store is not the one that this process knew: restored from a backup, or another one answers in its place.

    What was written since is missing there, so that a write could leave a gap in a log, and what workers did may be
    done again. From then on this store says `serving_until` in the past, its commits are UNKNOWN and everything else
    raises this, until the store that it knew is back (if it met another one) or for good (if the one it knew went
    back). A new process takes the store as it is. So an operator stops every SEC, restores, and starts them again.

    What nobody can detect: that a store was restored while no process ran that had seen more of it (a mark inside the
    store would have been restored with it), and that one was restored and has come further than this process had
    seen before the two met. Hence: stop every SEC *before* the store is restored.
    """


class WriteRefused(ValueError):
    """Writes that can never be written as they are: a programming error, or more than a store can hold.

    Args:
        reasons: For each saga whose write is refused, why.
    """

    def __init__(self, reasons: Mapping[str, str]) -> None:
        super().__init__("; ".join(reasons.values()))
        self.reasons = dict(reasons)
        self.saga_ids = tuple(reasons)
        """Whose writes. The others of the commit can be sent again, unchanged: those that were done are DONE."""


class Pace(msgspec.Struct, frozen=True):
    """How commits are best given to a store."""

    at_once: int
    """Commits that gain from being under way side by side."""
    full: int
    """Writes that are worth a commit of their own while another one is under way."""


class SagaStore(Protocol):
    """Durable, fenced storage of sagas.

    A store belongs to one SEC process: `open` makes it an incarnation. All
    methods may be called concurrently. Every call has a deadline of its own.
    """

    async def open(self, *, sec_id: str, address: str, version: str) -> int:
        """Register this process as an incarnation of `sec_id` and return its number.

        A new incarnation replaces an older one of the same name: every later
        write of the older one is FENCED. May be called again, on an open store
        and on a closed one: this process is a new incarnation then, and has to
        adopt what the one before it owned. If it fails on an open store,
        nothing has changed for it but that its incarnation may be dead.

        Raises:
            SecNameTaken: Another live process holds the store exclusively (SQLite).
            StoreRolledBack: The store is not the one that this process knew.
            StoreError: The store can't be reached.
        """
        ...

    async def close(self) -> None:
        """Give up the incarnation and close. Idempotent. Sagas stay owned until they are adopted.

        A closed store answers every write with UNKNOWN and everything else
        with StoreError; its watches end.
        """
        ...

    @property
    def incarnation(self) -> int:
        """Number of the incarnation; greater than that of every earlier one of any SEC."""
        ...

    @property
    def pace(self) -> Pace:
        """How commits are best given to it."""
        ...

    async def commit(self, writes: Sequence[Write]) -> Sequence[WriteResult]:
        """Write all that can be written, in as few transactions as the store's limits allow.

        Each write stands alone: it is durable whole or not at all, and one
        that is refused does not hinder the others. All writes of a commit are
        of different sagas. A write is conditional on the incarnation being
        alive and, for an append, on the claim being current and no batch at
        `first_seq`; these conditions are part of the same transaction.

        A write sent again unchanged after UNKNOWN is recognised by its
        `writer_id`: the answer is DONE, and it is not written twice, even if
        the first one finished the saga.

        Returns:
            One result for each write, in order. Never raises for the store
            being away: that is UNKNOWN.

        Raises:
            WriteRefused: Some writes can never be written. What the writes
                themselves show (no id, too large, a saga twice, a batch
                without its writer id) is found before anything is written.
                What only the store can show (another writer's batch at
                `first_seq` while the claim holds, an etcd with narrower
                limits) is told when the other writes are settled.
        """
        ...

    async def read(self, saga_id: str) -> StoredSaga | None:
        """Read one saga at one instant; None if there is none.

        Raises:
            StoreError: The store can't be reached.
        """
        ...

    async def read_many(self, saga_ids: Sequence[str]) -> Sequence[StoredSaga | None]:
        """Read sagas, each at one instant of its own; what `read` would return of each, in order.

        Raises:
            StoreError: The store can't be reached.
        """
        ...

    async def read_log(self, saga_id: str, from_seq: int, limit_batches: int) -> Sequence[bytes]:
        """Read the batches of a saga that contain entries with numbers from `from_seq` on, in order.

        At most `limit_batches` of them; fewer only at the end of the log. None
        of a saga that is not there, or whose log has been removed.

        Raises:
            StoreError: The store can't be reached.
        """
        ...

    async def list_heads(self, query: ListQuery) -> Sequence[StoredHead]:
        """Read at most `limit` sagas in the order of their ids. Fewer only at the end.

        Raises:
            StoreError: The store can't be reached.
        """
        ...

    async def list_owned(self) -> Sequence[OwnedSaga]:
        """Read every unfinished saga with its owner.

        Raises:
            StoreError: The store can't be reached.
        """
        ...

    async def adopt(self, sagas: Sequence[OwnedSaga]) -> Sequence[Claim | None]:
        """Claim sagas whose owning incarnation is dead.

        Conditional, in the same transaction, on this incarnation being alive,
        the owner key being unchanged since it was read, and the old
        incarnation being gone.

        Returns:
            One claim for each saga, in order, with an epoch one higher; None
            where a condition did not hold.

        Raises:
            StoreError: The store can't be reached; the claims are not known.
                Read the owners again.
        """
        ...

    async def list_secs(self) -> Sequence[SecRecord]:
        """Read the live SECs.

        Raises:
            StoreError: The store can't be reached.
        """
        ...

    async def remove_finished(
        self, saga_ids: Sequence[str], *, keep_summary: bool, dones: Mapping[str, bytes] | None = None
    ) -> None:
        """Remove the logs of finished sagas; with `keep_summary` false also their records and summaries.

        Sagas that are not finished are left alone, and so are those whose
        summary is not the one in `dones`, if that is given: their ids belong
        to other sagas by now.

        Raises:
            StoreError: The store can't be reached.
        """
        ...

    @property
    def serving_until(self) -> float | None:
        """Until when this incarnation may dispatch, on the clock of `Clock.boottime`, in seconds.

        None: without bound (the store is exclusive). In the past: nothing may
        be dispatched, though sagas may still be owned.
        """
        ...
