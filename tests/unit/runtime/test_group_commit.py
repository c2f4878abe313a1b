"""Group commit: several under way over different sagas, in order within one, and what is unknown sent again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagaline_server.ports.store import Append, Claim, Pace, Status, Write, WriteResult
from sagaline_server.runtime import commit
from sagaline_server.runtime.commit import GroupCommit
from sagaline_server.store.checks import saga_of
from sagaline_server.store.memory import MemoryBackend, MemoryStore
from tests.contracts.sagas import append, new_saga


class SlowStore(MemoryStore):
    """The store in memory, each of whose commits waits until it is let go."""

    def __init__(self, pace: Pace) -> None:
        super().__init__(MemoryBackend())
        self._pace = pace
        self.under_way: list[tuple[Sequence[Write], asyncio.Future[bool]]] = []
        self.came = asyncio.Event()

    @property
    def pace(self) -> Pace:
        return self._pace

    async def commit(self, writes: Sequence[Write]) -> Sequence[WriteResult]:
        answered: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.under_way.append((writes, answered))
        self.came.set()
        is_known = await answered
        results = await super().commit(writes)
        return results if is_known else [WriteResult(Status.UNKNOWN, error="no answer") for _ in writes]

    async def until(self, count: int) -> None:
        """Wait until so many commits are under way."""
        async with asyncio.timeout(30):
            while len(self.under_way) < count:
                self.came.clear()
                await self.came.wait()

    def end(self, number: int = 0, *, is_known: bool = True) -> list[str]:
        """Let a commit end; returns its sagas."""
        writes, answered = self.under_way.pop(number)
        answered.set_result(is_known)
        return [saga_of(write) for write in writes]


async def settle() -> None:
    """Let everything happen that needs no event from outside."""
    for _ in range(10):
        await asyncio.sleep(0)


@asynccontextmanager
async def committing(at_once: int, full: int) -> AsyncIterator[tuple[SlowStore, GroupCommit, list[str]]]:
    store = SlowStore(Pace(at_once, full))
    await store.open(sec_id="sec-a", address="", version="")
    group = GroupCommit(store)
    running = asyncio.create_task(group.run())
    written: list[str] = []
    try:
        yield store, group, written
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def create(group: GroupCommit, written: list[str], *saga_ids: str) -> None:
    for saga_id in saga_ids:
        group.submit(new_saga(saga_id), noting(written, saga_id))


def noting(written: list[str], what: str) -> Callable[[WriteResult], None]:
    return lambda result: written.append(f"{what} {result.status.value}")


async def test_what_comes_meanwhile_is_the_next_commit() -> None:
    async with committing(at_once=1, full=1) as (store, group, written):
        create(group, written, "a")
        await store.until(1)
        create(group, written, "b", "c")
        await settle()
        assert len(store.under_way) == 1

        assert store.end() == ["a"]
        await store.until(1)
        assert store.end() == ["b", "c"]
        assert await group.flush(30)
        assert written == ["a done", "b done", "c done"]


async def test_a_full_commit_does_not_wait_for_the_one_before() -> None:
    async with committing(at_once=2, full=2) as (store, group, written):
        create(group, written, "a")
        await store.until(1)
        create(group, written, "b")
        await settle()
        assert len(store.under_way) == 1, "one write is not worth a transaction beside another"

        create(group, written, "c")
        await store.until(2)
        create(group, written, "d", "e")
        await settle()
        assert len(store.under_way) == 2, "no more than the store wants"
        assert store.end(1) == ["b", "c"]
        await store.until(2)
        assert written == ["b done", "c done"], "each is told of when it ends"
        assert store.end(1) == ["d", "e"]
        assert store.end(0) == ["a"]
        assert await group.flush(30)


async def test_no_two_writes_of_one_saga_are_under_way() -> None:
    async with committing(at_once=4, full=1) as (store, group, written):
        create(group, written, "a", "a", "b")
        await store.until(2)
        await settle()
        assert [[saga_of(write) for write in writes] for writes, _ in store.under_way] == [["a"], ["b"]]

        store.end(0)
        await store.until(2)
        store.end(0)
        store.end(0)
        assert await group.flush(30)
        assert written == ["a done", "b done", "a exists"]


async def test_what_is_unknown_is_sent_again_and_holds_up_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commit, "RETRY_SECONDS", 0.0)
    async with committing(at_once=2, full=1) as (store, group, written):
        create(group, written, "a")
        await store.until(1)
        (first,) = store.under_way[0][0]
        store.end(is_known=False)
        await store.until(1)
        assert store.under_way[0][0] == [first], "unchanged: its writer id tells that it was carried out"
        assert not group.is_healthy
        create(group, written, "a", "b")
        await store.until(2)
        assert store.end(1) == ["b"]
        await settle()
        assert written == ["b done"]
        store.end()
        await store.until(1)
        store.end()
        assert await group.flush(30)
        assert written == ["b done", "a done", "a exists"]
        assert group.is_healthy


async def test_an_abandoned_write_is_not_sent_again_and_bars_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commit, "RETRY_SECONDS", 3600.0)
    async with committing(at_once=2, full=1) as (store, group, written):
        create(group, written, "a", "b")
        await store.until(2)
        store.end(0, is_known=False)
        await settle()
        assert group.depth == 1
        create(group, written, "c")

        group.abandon()
        assert store.end(0) == ["b"]
        create(group, written, "a")
        await store.until(1)
        assert store.end() == ["a"]
        assert await group.flush(30)
        assert written == ["b done", "a exists"]


@settings(max_examples=40, deadline=None)
@given(
    at_once=st.integers(1, 4),
    full=st.integers(1, 4),
    sagas=st.lists(st.sampled_from("abc"), max_size=12),
    ends=st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=40),
)
def test_every_write_ends_once_and_those_of_a_saga_in_order(
    at_once: int, full: int, sagas: list[str], ends: list[tuple[int, bool]]
) -> None:
    async def run() -> None:
        async with committing(at_once, full) as (store, group, written):
            create(group, written, "a", "b", "c")
            claims = {}
            while len(written) < 3:
                await store.until(1)
                store.end()
                await settle()
            for saga_id in "abc":
                stored = await store.read(saga_id)
                assert stored is not None
                assert stored.owner is not None
                claims[saga_id] = Claim(saga_id, 1, stored.owner.revision)
            written.clear()
            appends: list[Append] = []
            for number, saga_id in enumerate(sagas, 2):
                appends.append(append(claims[saga_id], number))
                group.submit(appends[-1], noting(written, f"{saga_id}{number}"))
            await settle()
            for number, is_known in ends:
                if store.under_way:
                    under_way = [saga_of(write) for writes, _ in store.under_way for write in writes]
                    assert len(under_way) == len(set(under_way)), "two writes of one saga are under way"
                    assert len(store.under_way) <= at_once
                    store.end(number % len(store.under_way), is_known=is_known)
                await settle()
            while len(written) < len(sagas):
                await store.until(1)
                store.end()
                await settle()
            assert sorted(written) == sorted(f"{each}{number} done" for number, each in enumerate(sagas, 2))
            for saga_id in "abc":
                mine = [int(each.split()[0][1:]) for each in written if each.startswith(saga_id)]
                assert mine == sorted(mine)

    before, commit.RETRY_SECONDS = commit.RETRY_SECONDS, 0.0
    try:
        asyncio.run(run())
    finally:
        commit.RETRY_SECONDS = before
