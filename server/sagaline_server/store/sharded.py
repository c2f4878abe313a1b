"""`ClusterStore` over several: each saga is in one of them, which its id names, and is fenced there.

A SEC lives in every part, with an incarnation in each. Parts count their
revisions by themselves, so outside of them an incarnation is told apart by a
number that names its part too: `revision * parts + part`. The SEC's own is that
of the first part; what it owns anywhere is shown as owned by that one.

A part that is away takes nothing of the others with it: what is written or
asked of a saga goes to its part alone. Of all parts at once there are three
kinds of questions. What leads to action (who owns what, what is asked of
owners) is answered for the parts that are there; what is seldom changed (who
lives, conditions) is as it was last heard of a part that is not; everything else
is an error.

An incarnation that is dead in one part is dead: the SEC begins a new life in
all of them, so that there is one life to tell of and to think about.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import TypeVar

import msgspec
import structlog

from sagaline_server.core.sharding import shard_of
from sagaline_server.ports.clock import Clock
from sagaline_server.ports.cluster import (
    RELIST_SECONDS,
    ClusterEvent,
    ClusterStore,
    HandOff,
    HandOffFate,
    LogPart,
    StoredCondition,
    StoredControl,
)
from sagaline_server.ports.store import (
    Claim,
    ListQuery,
    OwnedSaga,
    Pace,
    SecRecord,
    StoredHead,
    StoredSaga,
    StoreError,
    StoreRolledBack,
    Write,
    WriteRefused,
    WriteResult,
)
from sagaline_server.store.checks import check_hand_offs, check_sagas, check_writes, in_order, saga_of
from sagaline_server.store.sharded_watch import merged

T = TypeVar("T")
K = TypeVar("K")

NOBODY = -1
"""An incarnation that never lives."""

log = structlog.get_logger(__name__)


class ShardedStore:
    """One store over several.

    Args:
        parts: The stores, in the order that decides which has a saga.
        clock: What their `serving_until` is on.
        agree: Makes sure that they are the right ones; called before they are opened. Raises WrongShards.
        relist_seconds: How long a watch waits for parts that are away before it begins without them.
    """

    def __init__(
        self,
        parts: Sequence[ClusterStore],
        clock: Clock,
        *,
        agree: Callable[[], Awaitable[None]] | None = None,
        relist_seconds: float = RELIST_SECONDS,
    ) -> None:
        self._parts = tuple(parts)
        self._clock = clock
        self._agree = agree
        self._relist_seconds = relist_seconds
        self._sec_id = ""
        self._is_open = False
        self._secs: list[Sequence[SecRecord] | None] = [None] * len(self._parts)
        """As last heard of each part."""
        self._conditions: Sequence[StoredCondition] | None = None

    # ---- parts

    @property
    def parts(self) -> Sequence[ClusterStore]:
        return self._parts

    def part_of(self, saga_id: str) -> int:
        return shard_of(saga_id, len(self._parts))

    def _part(self, saga_id: str) -> ClusterStore:
        return self._parts[self.part_of(saga_id)]

    def _divided(self, items: Sequence[T], id_of: Callable[[T], str]) -> dict[int, list[int]]:
        """Return the places of what belongs to each part that has something."""
        places: dict[int, list[int]] = {}
        for place, item in enumerate(items):
            places.setdefault(self.part_of(id_of(item)), []).append(place)
        return places

    async def _each(
        self, items: Sequence[T], id_of: Callable[[T], str], ask: Callable[[int, list[T]], Awaitable[Sequence[K]]]
    ) -> list[K]:
        """Ask every part about its own; one answer for each, in order."""
        places = self._divided(items, id_of)
        if not items:
            await ask(0, [])  # a closed store says so
        asked = [ask(part, [items[place] for place in its]) for part, its in places.items()]
        answers = dict[int, K]()
        for its, found in zip(places.values(), await _all(asked), strict=True):
            answers.update(zip(its, found, strict=True))
        return [answers[place] for place in range(len(items))]

    def _is_away(self, part: ClusterStore) -> bool:
        """True of a part that has not renewed the lease for so long that it may have ended."""
        until = part.serving_until or float("inf")  # 0.0 is no time: it says that the incarnation is dead
        return until <= self._clock.boottime()

    async def _reachable(self, ask: Callable[[ClusterStore], Awaitable[T]]) -> list[T | None]:
        """Ask the parts that are there; None of those that are not.

        Raises:
            StoreRolledBack: A part must not be believed.
            StoreError: No part is there.
        """
        errors: dict[int, StoreError] = {}

        async def one(number: int, part: ClusterStore) -> T | None:
            try:
                if self._is_away(part) and not all(map(self._is_away, self._parts)):
                    raise StoreError("its lease has not been renewed")
                return await ask(part)
            except StoreRolledBack:
                raise
            except StoreError as error:
                errors[number] = error
                return None

        answers = await _all([one(number, part) for number, part in enumerate(self._parts)])
        if len(errors) == len(answers):
            raise errors[0]
        for number, error in errors.items():
            log.info("shard_left_out", shard=number + 1, error=str(error))
        return answers

    # ---- incarnations

    def _number(self, part: int, incarnation: int) -> int:
        return incarnation * len(self._parts) + part

    def _raw(self, part: int, number: int) -> int:
        """Return the incarnation that a number stands for in a part."""
        if number == self.incarnation:
            return self._parts[part].incarnation
        return number // len(self._parts) if number % len(self._parts) == part else NOBODY

    def _shown(self, part: int, owned: OwnedSaga) -> OwnedSaga:
        """Return an owner of a part as it is told apart from those of others."""
        is_mine = owned.sec_id == self._sec_id and owned.incarnation == self._parts[part].incarnation
        number = self.incarnation if is_mine else self._number(part, owned.incarnation)
        return msgspec.structs.replace(owned, incarnation=number)

    async def open(self, *, sec_id: str, address: str, version: str) -> int:
        try:
            if self._agree is not None:
                await self._agree()
            await _all([part.open(sec_id=sec_id, address=address, version=version) for part in self._parts])
        except BaseException:
            if not self._is_open:
                await self._close()
            raise
        self._sec_id, self._is_open = sec_id, True
        self._secs = [None] * len(self._parts)
        log.info("store_opened", store="sharded", shards=len(self._parts), sec_id=sec_id, incarnation=self.incarnation)
        return self.incarnation

    async def close(self) -> None:
        self._is_open = False
        await self._close()

    async def _close(self) -> None:
        await _all([part.close() for part in self._parts])

    @property
    def incarnation(self) -> int:
        return self._number(0, self._parts[0].incarnation)

    @property
    def serving_until(self) -> float | None:
        """Until when anything may be dispatched, in whichever part; 0.0 if a part says that the incarnation is dead."""
        until = [part.serving_until for part in self._parts]
        if 0.0 in until:
            return 0.0
        bounds = [each for each in until if each is not None]
        return max(bounds) if len(bounds) == len(until) else None

    @property
    def cluster_id(self) -> str:
        return "+".join(part.cluster_id for part in self._parts) if all(p.cluster_id for p in self._parts) else ""

    @property
    def revision(self) -> int:
        return sum(part.revision for part in self._parts)

    async def register(self, *, draining: bool) -> None:
        await _all([part.register(draining=draining) for part in self._parts])

    async def list_secs(self) -> Sequence[SecRecord]:
        for part, secs in enumerate(await self._reachable(lambda part: part.list_secs())):
            if secs is not None:
                self._secs[part] = secs
        if None in self._secs:
            raise StoreError("a shard has never been reached")
        found: dict[str, list[tuple[int, SecRecord]]] = {}
        for part, secs in enumerate(self._secs):
            for sec in secs or ():
                found.setdefault(sec.sec_id, []).append((part, sec))
        if not self._lives(found.get(self._sec_id, ())):
            self._leave_out_mine(found)
        return [self._sec(found[sec_id]) for sec_id in sorted(found)]

    def _lives(self, mine: Sequence[tuple[int, SecRecord]]) -> bool:
        """Tell whether this SEC lives in every part: it is dead if it is in one."""
        return [sec.incarnation for _, sec in mine] == [part.incarnation for part in self._parts]

    def _leave_out_mine(self, found: dict[str, list[tuple[int, SecRecord]]]) -> None:
        """Leave this SEC out, being dead; but not a younger process of its name, where the two can be compared."""
        registered = found.pop(self._sec_id, [])
        others = [(part, sec) for part, sec in registered if sec.incarnation != self._parts[part].incarnation]
        if others and others[0][0] == 0:
            found[self._sec_id] = others

    def _sec(self, registered: Sequence[tuple[int, SecRecord]]) -> SecRecord:
        """Put the registrations of one SEC together. Where one is missing, it can't be given sagas."""
        numbers = [self._number(part, sec.incarnation) for part, sec in registered]
        sec = registered[0][1]
        draining = len(registered) < len(self._parts) or any(sec.draining for _, sec in registered)
        return msgspec.structs.replace(sec, incarnation=numbers[0], elsewhere=tuple(numbers[1:]), draining=draining)

    # ---- writing

    @property
    def pace(self) -> Pace:
        return self._parts[0].pace

    async def commit(self, writes: Sequence[Write]) -> Sequence[WriteResult]:
        check_writes(writes)
        refused: dict[str, str] = {}

        async def commit(part: int, its: list[Write]) -> Sequence[WriteResult | None]:
            try:
                return await self._parts[part].commit(its)
            except WriteRefused as error:
                refused.update(error.reasons)
                return [None] * len(its)

        results = await self._each(writes, saga_of, commit)
        if refused:
            raise WriteRefused(refused)
        return [result for result in results if result is not None]

    async def adopt(self, sagas: Sequence[OwnedSaga]) -> Sequence[Claim | None]:
        check_sagas(sagas)

        async def adopt(part: int, its: list[OwnedSaga]) -> Sequence[Claim | None]:
            stored = [msgspec.structs.replace(each, incarnation=self._raw(part, each.incarnation)) for each in its]
            return await self._parts[part].adopt(stored)

        return await self._each(sagas, lambda saga: saga.saga_id, adopt)

    async def hand_off(self, hand_offs: Sequence[HandOff], to: SecRecord) -> Sequence[HandOffFate]:
        check_hand_offs(hand_offs, to, self.incarnation)

        async def hand_off(part: int, its: list[HandOff]) -> Sequence[HandOffFate]:
            numbers = [self._raw(part, number) for number in to.incarnations]
            there = next((number for number in numbers if number != NOBODY), NOBODY)
            return await self._parts[part].hand_off(its, msgspec.structs.replace(to, incarnation=there, elsewhere=()))

        return await self._each(hand_offs, lambda each: each.claim.saga_id, hand_off)

    async def remove_finished(
        self, saga_ids: Sequence[str], *, keep_summary: bool, dones: Mapping[str, bytes] | None = None
    ) -> None:
        async def remove(part: int, its: list[str]) -> Sequence[None]:
            await self._parts[part].remove_finished(its, keep_summary=keep_summary, dones=dones)
            return [None] * len(its)

        await self._each(list(dict.fromkeys(saga_ids)), _itself, remove)

    async def put_control(self, saga_id: str, control_id: str, control: bytes) -> bool:
        return await self._part(saga_id).put_control(saga_id, control_id, control)

    async def put_condition(self, subject: str, value: bytes) -> None:
        await self._parts[0].put_condition(subject, value)

    # ---- reading

    async def read(self, saga_id: str) -> StoredSaga | None:
        return (await self.read_many([saga_id]))[0]

    async def read_many(self, saga_ids: Sequence[str]) -> Sequence[StoredSaga | None]:
        async def read(part: int, its: list[str]) -> Sequence[StoredSaga | None]:
            return [self._shown_saga(part, saga) for saga in await self._parts[part].read_many(its)]

        return await self._each(saga_ids, _itself, read)

    def _shown_saga(self, part: int, saga: StoredSaga | None) -> StoredSaga | None:
        if saga is None or saga.owner is None:
            return saga
        return msgspec.structs.replace(saga, owner=self._shown(part, saga.owner))

    async def read_log(self, saga_id: str, from_seq: int, limit_batches: int) -> Sequence[bytes]:
        return await self._part(saga_id).read_log(saga_id, from_seq, limit_batches)

    async def list_heads(self, query: ListQuery) -> Sequence[StoredHead]:
        pages = await _all([part.list_heads(query) for part in self._parts])
        shown = [[self._shown_head(part, head) for head in page] for part, page in enumerate(pages)]
        ordered = heapq.merge(*shown, key=lambda head: head.saga_id.encode())
        return list(itertools.islice(ordered, query.limit))

    def _shown_head(self, part: int, head: StoredHead) -> StoredHead:
        return head if head.owner is None else msgspec.structs.replace(head, owner=self._shown(part, head.owner))

    async def list_owned(self) -> Sequence[OwnedSaga]:
        lists = await self._reachable(lambda part: part.list_owned())
        shown = [self._shown(part, saga) for part, sagas in enumerate(lists) for saga in sagas or ()]
        return sorted(shown, key=lambda saga: saga.saga_id.encode())

    async def read_owners(self, saga_ids: Sequence[str]) -> Sequence[OwnedSaga | None]:
        async def owners(part: int, its: list[str]) -> Sequence[OwnedSaga | None]:
            found = await self._parts[part].read_owners(its)
            return [None if owner is None else self._shown(part, owner) for owner in found]

        return await self._each(saga_ids, _itself, owners)

    async def list_controls(self, saga_id: str | None = None) -> Sequence[StoredControl]:
        if saga_id is not None:
            return await self._part(saga_id).list_controls(saga_id)
        lists = await self._reachable(lambda part: part.list_controls())
        return in_order(control for controls in lists for control in controls or ())

    async def list_conditions(self) -> Sequence[StoredCondition]:
        first = self._parts[0]
        try:
            if self._conditions is None or not self._is_away(first):
                self._conditions = await first.list_conditions()
        except StoreRolledBack:
            raise
        except StoreError:
            if self._conditions is None or not self._is_open:
                raise
        return self._conditions

    # ---- watching

    async def watch(self) -> AsyncIterator[ClusterEvent]:
        if not self._is_open:
            raise StoreError("the store is not open")
        async with aclosing(merged([part.watch() for part in self._parts], self._relist_seconds)) as events:
            async for event in events:
                yield event

    def watch_log(self, saga_id: str, from_seq: int) -> AsyncIterator[LogPart]:
        return self._part(saga_id).watch_log(saga_id, from_seq)


def _itself(saga_id: str) -> str:
    return saga_id


async def _all(asked: Iterable[Awaitable[T]]) -> list[T]:
    """Wait for all of them, and then raise what one of them raised; a store that must not be believed comes first."""
    answers = await asyncio.gather(*asked, return_exceptions=True)
    errors = [answer for answer in answers if isinstance(answer, BaseException)]
    if errors:
        raise next((error for error in errors if isinstance(error, StoreRolledBack)), errors[0])
    return [answer for answer in answers if not isinstance(answer, BaseException)]
