"""One commit: its transactions sent, refusals settled, and what is left tried again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from sagaline_server.ports.store import Status, StoreError, Write, WriteResult
from sagaline_server.store.checks import payload_bytes, saga_of
from sagaline_server.store.etcd.channel import EtcdChannel, EtcdError
from sagaline_server.store.etcd.keys import Keys
from sagaline_server.store.etcd.transactions import Fence, done_results, settle, split_writes, write_request

LEFT_OUT = WriteResult(Status.FENCED)
"""In the place of a write that `Commit.problems` tells of; nobody sees it."""


class Commit:
    """The writes of one `commit` call on their way.

    Args:
        slots: Bounds the transactions in flight over all commits.
    """

    def __init__(self, channel: EtcdChannel, keys: Keys, fence: Fence, slots: asyncio.Semaphore) -> None:
        self._channel = channel
        self._keys = keys
        self._fence = fence
        self._slots = slots
        self.problems: dict[str, str] = {}
        """Writes that can't be written, by saga, and why. The others are settled all the same."""

    async def run(self, writes: Sequence[Write]) -> list[WriteResult]:
        """Write what can be written. Returns one result for each write, in order."""
        parts = split_writes(writes)
        if len(parts) == 1:
            return await self._write(parts[0])
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._write(part)) for part in parts]
        return [result for task in tasks for result in task.result()]

    async def _write(self, writes: Sequence[Write]) -> list[WriteResult]:
        """Write a part that fits in one transaction."""
        results: dict[str, WriteResult] = {}
        pending, explain = writes, False
        while pending:
            request = write_request(self._keys, self._fence, pending, explain=explain)
            try:
                async with self._slots:
                    response = await self._channel.txn(request)
            except StoreError as error:
                _record(results, pending, await self._failed(pending, error))
                break
            if response.succeeded:
                done = done_results(pending, response)
                if pending is writes:
                    return done
                _record(results, pending, done)
                break
            if not explain:
                explain = True  # the same again, but with the reason
                continue
            settled = settle(self._fence, pending, response, self.problems)
            _record(results, pending, settled)
            left = [write for write, result in zip(pending, settled, strict=True) if result is None]
            if len(left) == len(pending):
                reason = "etcd refused the transaction although every condition held"
                _record(results, left, _unknown(left, reason))
                break
            pending = left
        return [results[saga_of(write)] for write in writes]

    async def _failed(self, writes: Sequence[Write], error: StoreError) -> list[WriteResult]:
        if not isinstance(error, EtcdError) or not error.too_large:
            return _unknown(writes, str(error))
        # This etcd allows less than others do. It was refused whole, so the halves can be sent.
        if len(writes) > 1:
            middle = len(writes) // 2
            return [*await self._write(writes[:middle]), *await self._write(writes[middle:])]
        (write,) = writes
        saga_id, size = saga_of(write), payload_bytes(write)
        self.problems[saga_id] = f"the write of saga {saga_id!r}, {size} bytes, is too large for etcd: {error}"
        return [LEFT_OUT]


def _record(results: dict[str, WriteResult], writes: Sequence[Write], outcomes: Sequence[WriteResult | None]) -> None:
    for write, outcome in zip(writes, outcomes, strict=True):
        if outcome is not None:
            results[saga_of(write)] = outcome


def _unknown(writes: Sequence[Write], error: str) -> list[WriteResult]:
    return [WriteResult(Status.UNKNOWN, error=error) for _ in writes]
