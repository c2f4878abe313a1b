"""Watches that go from SEC to SEC, and find out whether a log has been shown whole: no gap, no repetition.

They read the raw stream: the client of the SDK would hide a repetition.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import grpc

from sagaline.client.states import is_final
from sagaline.v1 import log_pb2, saga_pb2, saga_service_pb2, saga_service_pb2_grpc

STREAM_SECONDS = (1.0, 8.0)
"""A stream is given up after a time between these, so that every watch changes its SEC."""
PAUSE_SECONDS = 0.2


class Watch:
    """One saga, watched over one SEC after the other."""

    def __init__(self, saga_id: str, channels: Sequence[grpc.aio.Channel], chance: random.Random) -> None:
        self.saga_id = saga_id
        self.entries: list[log_pb2.LogEntry] = []
        self.streams = 0
        self.problem = ""
        self._channels = channels
        self._chance = chance
        self._state = saga_pb2.SAGA_STATE_UNSPECIFIED

    @property
    def next_seq(self) -> int:
        """Number of the next entry."""
        return len(self.entries) + 1

    async def run(self) -> None:
        """Watch until the saga has ended. The caller bounds it."""
        while not is_final(self._state) and not self.problem:
            try:
                await self._stream()
            except grpc.aio.AioRpcError:
                await asyncio.sleep(PAUSE_SECONDS)

    async def _stream(self) -> None:
        self.streams += 1
        stub = saga_service_pb2_grpc.SagaServiceStub(self._chance.choice(self._channels))
        request = saga_service_pb2.WatchSagaRequest(saga_id=self.saga_id, from_seq=self.next_seq)
        call = stub.WatchSaga(request, timeout=self._chance.uniform(*STREAM_SECONDS))
        shown = 0
        async for frame in call:
            for entry in frame.entries:
                self._take(entry)
            shown += len(frame.entries)
            self._state = frame.state
        if not shown and not is_final(self._state):
            # Ended without a word: the saga has ended, and had been shown whole before. Another look says so.
            view: saga_service_pb2.GetSagaResponse = await stub.GetSaga(
                saga_service_pb2.GetSagaRequest(saga_id=self.saga_id), timeout=STREAM_SECONDS[1]
            )
            self._state = view.saga.state

    def _take(self, entry: log_pb2.LogEntry) -> None:
        if entry.seq != self.next_seq:
            kind = "a gap" if entry.seq > self.next_seq else "a repetition"
            self.problem = self.problem or f"{kind}: entry {entry.seq} was shown where {self.next_seq} was due"
        else:
            self.entries.append(entry)

    def compare(self, log: Sequence[log_pb2.LogEntry]) -> str:
        """Return what is wrong with what was shown, given the log as it is in the end; empty: nothing."""
        if self.problem:
            return self.problem
        if len(self.entries) != len(log):
            return f"{len(self.entries)} entries were shown, and the log has {len(log)}"
        for shown, stored in zip(self.entries, log, strict=True):
            if shown != stored:
                return f"entry {shown.seq} was shown as something else than is stored"
        return ""
