"""The half of the store that several SECs need: who lives, who hands what to whom, and what is asked of whom.

`SagaStore` adapters implement it too. On a store that has one SEC only
(SQLite) there is nobody to hand off to, and nothing above the store notices.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Sequence
from typing import Protocol, runtime_checkable

import msgspec

from sagaline_server.ports.store import Claim, OwnedSaga, SagaStore, SecRecord


class HandOffFate(enum.Enum):
    """What became of a hand-off."""

    DONE = "done"
    """The target owns the saga, or did and has passed it on or finished it; this SEC must not write to it again."""
    FENCED = "fenced"
    """This SEC does not own it any more, or is dead. Of a hand-off sent again this may mean that it happened, when too
    much has happened since: see `ClusterStore.hand_off`."""
    TARGET_GONE = "target gone"
    """The target's incarnation is dead. This SEC still owns the saga."""


class HandOff(msgspec.Struct, frozen=True):
    """A saga to give away."""

    claim: Claim
    control: bytes
    """Encoded ControlRecord with a RunOrder, put in the same transaction, which tells the target. Its id is
    `hand_off_id` of the claim."""


def hand_off_id(claim: Claim) -> str:
    """Return the id of the request that tells the new owner of a saga to run it.

    It follows from the claim that is given up, so a hand-off sent again is the
    same. It sorts before every id that is made from the time (a ULID, a
    UUIDv7), because all else that is asked of the saga waits for it.
    """
    return f"00-{claim.revision:019d}"


class StoredControl(msgspec.Struct, frozen=True):
    """A request for the owner of a saga."""

    saga_id: str
    control_id: str
    """Sorts by the time it was accepted; that of a hand-off before all others."""
    control: bytes
    """Encoded ControlRecord."""


class StoredCondition(msgspec.Struct, frozen=True):
    """A condition of the gate that is the whole cluster's: a limit, or a breakpoint on an action."""

    subject: str
    """What it is on: "scope:" or "action:" and the name for a limit, "break:" and the action for a breakpoint."""
    value: bytes
    """Encoded Limit, or ActionBreakpoint."""


class SecsChanged(msgspec.Struct, frozen=True):
    """A SEC came, went, or changed its registration. Read `list_secs`."""


class ControlPut(msgspec.Struct, frozen=True):
    """A request was accepted for a saga."""

    control: StoredControl


class ControlGone(msgspec.Struct, frozen=True):
    """A request has been consumed by the owner, with its effect, or the saga has ended and nobody is left to ask."""

    saga_id: str
    control_id: str


class Resync(msgspec.Struct, frozen=True):
    """Events may have been missed: read everything anew. The first event of every watch."""


class ConditionsChanged(msgspec.Struct, frozen=True):
    """A limit or a breakpoint on an action was set or lifted. Read `list_conditions`."""


ClusterEvent = SecsChanged | ControlPut | ControlGone | ConditionsChanged | Resync


class LogPart(msgspec.Struct, frozen=True):
    """New batches of a saga's log, in order."""

    batches: tuple[bytes, ...]
    is_done: bool
    """True once the saga has ended, with these batches the last."""


class ClusterStore(SagaStore, Protocol):
    """A store that several SECs may share."""

    @property
    def cluster_id(self) -> str:
        """Identity of the store's cluster; another one behind the same address is another cluster. Empty until open.

        It outlives restarts of the store, but a cluster that was restored
        from a snapshot may have the same (see `StoreRolledBack`).
        """
        ...

    @property
    def revision(self) -> int:
        """Highest store revision seen by this process. Never falls."""
        ...

    async def register(self, *, draining: bool) -> None:
        """Change this SEC's registration, for `list_secs`. Fenced by its incarnation, which stays the same.

        `open` registers it as not draining. Calling it again with the same
        value does no harm.

        Raises:
            StoreError: The store can't be reached, or the incarnation is dead.
        """
        ...

    async def hand_off(self, hand_offs: Sequence[HandOff], to: SecRecord) -> Sequence[HandOffFate]:
        """Make another SEC the owner of sagas, each alone, in as few transactions as possible.

        Conditional, in one transaction, on this incarnation being alive, each
        claim being current, and the target's incarnation being alive. The
        epoch rises by one. No append of these sagas may be under way.

        Called again unchanged, a hand-off that has happened is DONE while the
        target owns the saga at that epoch, and also when it has handed it on,
        died or finished it since, as long as the store still knows who owned
        it then. etcd forgets that with compaction: then it is FENCED. Either
        way this SEC has no more to do with the saga, and a saga that is
        neither DONE nor FENCED was not and will not be handed off.

        Returns:
            One fate for each hand-off, in order. On a store that has one SEC
            only: TARGET_GONE, or FENCED.

        Raises:
            ValueError: A saga twice, a request that is too large, or this
                incarnation itself as the target.
            StoreError: The outcome is not known. Call it again unchanged.
        """
        ...

    async def put_control(self, saga_id: str, control_id: str, control: bytes) -> bool:
        """Put a request for the owner; False when the saga has ended or never was.

        Putting the same id again changes nothing, so it may be repeated after
        an error. An id that was consumed meanwhile may so be put twice; the
        requests are such that this does no harm.

        Raises:
            StoreError: The store can't be reached.
        """
        ...

    async def list_controls(self, saga_id: str | None = None) -> Sequence[StoredControl]:
        """Read the requests not consumed, of one saga or of all, in the order of their ids.

        Raises:
            StoreError: The store can't be reached.
        """
        ...

    async def put_condition(self, subject: str, value: bytes) -> None:
        """Set the condition of a subject; an empty one lifts it. Putting the same again does no harm.

        Raises:
            ValueError: The subject is empty.
            StoreError: The store can't be reached.
        """
        ...

    async def list_conditions(self) -> Sequence[StoredCondition]:
        """Read all conditions, in the order of their subjects' bytes.

        Raises:
            StoreError: The store can't be reached.
        """
        ...

    async def read_owners(self, saga_ids: Sequence[str]) -> Sequence[OwnedSaga | None]:
        """Read who owns sagas, one answer for each; None: the saga has ended or never was.

        Raises:
            StoreError: The store can't be reached.
        """
        ...

    def watch(self) -> AsyncIterator[ClusterEvent]:
        """Yield what changes among SECs, requests and limits, until the store is closed.

        Begins with Resync, and yields it again whenever events may have been
        missed (a break that could not be made up for, compaction, an overfull
        buffer), and in any case every `RELIST_SECONDS`. Whatever changes
        after a Resync was yielded is in what is read then, in the events that
        follow, or in both; what it makes superfluous may be left out. Changes
        of one saga's requests come in order. Heals itself; never raises for
        the store being away.

        Raises:
            StoreError: The store is not open.
        """
        ...

    def watch_log(self, saga_id: str, from_seq: int) -> AsyncIterator[LogPart]:
        """Yield a saga's batches from the one that has entry `from_seq` on, then new ones, until it has ended.

        No gap and no repetition, whoever writes. The last part says `is_done`
        and may be empty: always where the saga's log has been removed. Without
        such a part it ends only where there is no such saga (any more).

        Raises:
            StoreError: The store is closed, or could not be reached for a
                while. Watch again from the next entry.
        """
        ...


@runtime_checkable
class DividedStore(Protocol):
    """What a store has besides that is made of several, each of which may be away while the others go on."""

    @property
    def parts(self) -> Sequence[ClusterStore]:
        """The stores that sagas are spread over. Whatever is written of a saga may be written to its part directly."""
        ...

    def part_of(self, saga_id: str) -> int:
        """Return the index of the part that has a saga."""
        ...


RELIST_SECONDS = 10.0
"""Longest time between two Resyncs of a watch: what a lost event can cost, as a rule."""
