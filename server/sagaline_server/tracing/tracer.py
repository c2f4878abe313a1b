"""Makes the spans of sagas that end here, and exports them.

It hears of the end of a saga as whoever waits for one does: when it is
durable. Then the saga is put into a queue, and one task reads the logs of
those in the queue, page by page, and exports their spans; what gathers while
an export is under way makes up the next one. Nothing waits for it. Where the
queue is full, a log is gone or the collector takes nothing, spans are lost,
and counted.
"""

from __future__ import annotations

import asyncio
from collections import deque

import msgspec
import structlog

from sagaline_server.core.spans import Attempts, Span, TracedSaga
from sagaline_server.core.traces import sampled_parent
from sagaline_server.ports.spans import ExportError, SpanExporter
from sagaline_server.ports.store import SagaStore, StoreError
from sagaline_server.runtime.live import LiveSaga
from sagaline_server.runtime.metrics import RuntimeMetrics
from sagaline_server.wire.entries import UnreadableLog, decode_part

log = structlog.get_logger("sagaline.tracing")

QUEUED_MAX = 10_000
"""Sagas whose spans are still to be made; of those beyond it none are."""
PAGE_BATCHES = 16
"""Batches of a log that are decoded in one go: little enough to keep nobody waiting."""
SPANS_AT_ONCE = 512
"""Spans of one export: with the longest names that there are, well below the 4 MiB that a collector takes."""


class _LogGone(Exception):
    """The log of a saga that has ended is not there any more."""


class Tracer:
    """The spans of one SEC."""

    def __init__(self, store: SagaStore, exporter: SpanExporter, metrics: RuntimeMetrics) -> None:
        """Make the tracer.

        Args:
            store: Where the logs are.
            exporter: Where the spans go.
            metrics: Counts what is exported and what is lost.
        """
        self._store = store
        self._exporter = exporter
        self._metrics = metrics
        self._queue: deque[TracedSaga] = deque()
        self._batch: list[Span] = []
        """Spans that have not been exported, or are being."""
        self._more = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._running: asyncio.Task[None] | None = None
        self._is_taken = True
        """Whether the last export went well."""

    def begun(self, live: LiveSaga) -> None:
        """Take note of a saga that begins to run here: if its caller samples it, its spans will be made."""
        if live.about.trace_context:
            parent = sampled_parent(live.about.trace_context)
            if parent is not None:
                live.about = msgspec.structs.replace(live.about, span_parent=parent)
                live.follow(self._gone)

    def _gone(self, live: LiveSaga) -> None:
        """Take the end of a saga; one that only runs here no longer is another SEC's to make spans of."""
        parent, saga = live.about.span_parent, live.state
        if saga.finished is None or parent is None:
            return
        if len(self._queue) >= QUEUED_MAX:
            self._metrics.sagas_untraced += 1
            return
        error_type = "" if saga.failure is None else saga.failure.type
        self._queue.append(TracedSaga(live.saga_id, saga.topology.graph_name, parent, error_type))
        self._idle.clear()
        self._more.set()

    def start(self) -> None:
        """Begin to make and export spans; `finish` ends that."""
        self._running = asyncio.create_task(self._run(), name="spans")

    async def finish(self, seconds: float) -> None:
        """Export what is there, in the given time, count the rest as lost, and end."""
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            self._metrics.sagas_untraced += len(self._queue)
            self._metrics.spans_dropped += len(self._batch)
            log.warning("spans_left", sagas=len(self._queue), spans=len(self._batch))
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        await self._exporter.close()

    async def _run(self) -> None:
        while True:
            await self._more.wait()
            self._more.clear()
            try:
                await self._drain()
            except Exception:  # an error of ours costs spans, and the SEC goes on
                log.exception("tracing_failed")
                self._metrics.sagas_untraced += 1
                self._metrics.spans_dropped += len(self._batch)
                self._batch = []
                self._more.set()

    async def _drain(self) -> None:
        while self._queue:
            await self._add(self._queue.popleft())
        if self._batch:
            await self._export()
        if not self._queue:
            self._idle.set()

    async def _add(self, saga: TracedSaga) -> None:
        """Add the spans of a saga to the next export."""
        try:
            attempts = await self._read(saga.saga_id)
        except (StoreError, UnreadableLog, _LogGone) as error:
            self._metrics.sagas_untraced += 1
            log.warning("saga_not_traced", saga_id=saga.saga_id, error=str(error))
            return
        for span in attempts.spans(saga):
            self._batch.append(span)
            if len(self._batch) >= SPANS_AT_ONCE:
                await self._export()

    async def _read(self, saga_id: str) -> Attempts:
        attempts, following = Attempts(), 1
        while not attempts.is_whole:
            entries = decode_part(await self._store.read_log(saga_id, following, PAGE_BATCHES), following)
            if not entries:
                raise _LogGone("its log was removed before it could be read: compact_after is too short")
            attempts.read(entries)
            following += len(entries)
        return attempts

    async def _export(self) -> None:
        problem = ""
        try:
            refused = await self._exporter.export(self._batch)
        except ExportError as error:
            refused, problem = len(self._batch), str(error)
        self._metrics.spans_exported += len(self._batch) - refused
        self._metrics.spans_dropped += refused
        self._batch = []
        self._note(problem or (f"{refused} spans were refused" if refused else ""))

    def _note(self, problem: str) -> None:
        """Say in the log when exports begin to fail, and when they go well again."""
        if problem and self._is_taken:
            log.warning("spans_not_taken", error=problem)
        elif not problem and not self._is_taken:
            log.info("spans_taken_again")
        self._is_taken = not problem
