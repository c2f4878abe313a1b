"""The tracer of a SEC: what it makes spans of, and what becomes of spans that it can't get rid of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from prometheus_client import CollectorRegistry

from sagaline.v1 import saga_pb2
from sagaline_server.core.spans import Span
from sagaline_server.ports.spans import ExportError
from sagaline_server.ports.store import StoreError
from sagaline_server.runtime.metrics import RuntimeMetrics
from sagaline_server.store.memory import MemoryBackend, MemoryStore
from sagaline_server.tracing import tracer as tracing
from sagaline_server.tracing.tracer import Tracer
from tests.unit.ownership.fleet import PlayedSec
from tests.unit.ownership.waiting import until

SAMPLED = f"00-{'ab' * 16}-{'cd' * 8}-01"
NOT_SAMPLED = f"00-{'ab' * 16}-{'cd' * 8}-00"


class PlayedCollector:
    """Takes spans as a test says."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.sizes: list[int] = []
        """Of the exports that were asked for."""
        self.refused = 0
        """Spans of each export that it refuses."""
        self.error: Exception | None = None
        self.answers = asyncio.Event()
        """Set: it answers at once."""
        self.answers.set()
        self.is_closed = False

    async def export(self, spans: Sequence[Span]) -> int:
        self.sizes.append(len(spans))
        await self.answers.wait()
        if self.error is not None:
            raise self.error
        self.taken += [span.name for span in spans]
        return self.refused

    async def close(self) -> None:
        self.is_closed = True


class AwayStore(MemoryStore):
    """A store whose logs can't be read when a test wants it."""

    is_away = False
    pages = 0

    async def read_log(self, saga_id: str, from_seq: int, limit_batches: int) -> Sequence[bytes]:
        self.pages += 1
        if self.is_away:
            raise StoreError("away")
        return await super().read_log(saga_id, from_seq, limit_batches)


class Scene:
    """A SEC with a tracer, and a worker that does everything at once."""

    def __init__(self) -> None:
        self.store = AwayStore(MemoryBackend())
        self.sec = PlayedSec(self.store, "sec-1")
        self.collector = PlayedCollector()
        self.metrics = RuntimeMetrics(CollectorRegistry())
        self.tracer = Tracer(self.store, self.collector, self.metrics)
        self.sec.engine.on_begin = self.tracer.begun

    async def close(self) -> None:
        await self.sec.close()
        await self.tracer.finish(0.0)

    async def run(self, *saga_ids: str, traceparent: str = SAMPLED, nodes: int = 1) -> None:
        """Run sagas to their end."""
        for saga_id in saga_ids:
            spec = saga_pb2.SagaSpec(saga_id=saga_id)
            spec.params.json = "{}"
            spec.graph.name = "g"
            for number in range(nodes):
                spec.graph.nodes.add(name=f"n{number}").action.action = "a"
            if traceparent:
                spec.trace_context["traceparent"] = traceparent
            await self.sec.create(spec)
        while self.sec.engine.sagas:
            self.sec.receive()
            for key in list(self.sec.held):
                self.sec.finish(key, failed=False)
            await asyncio.sleep(0)

    def counted(self) -> tuple[int, int, int]:
        return self.metrics.spans_exported, self.metrics.spans_dropped, self.metrics.sagas_untraced


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    made = Scene()
    await made.sec.open()
    yield made
    await made.close()


async def test_only_what_the_caller_samples_is_traced(scene: Scene) -> None:
    scene.tracer.start()
    await scene.run("plain", traceparent="")
    await scene.run("odd", traceparent="00-1-2-01")
    await scene.run("unsampled", traceparent=NOT_SAMPLED)
    await scene.run("sampled")
    await scene.tracer.finish(30.0)
    assert scene.collector.taken == ["saga g", "action n0"]
    assert scene.counted() == (2, 0, 0)
    assert scene.collector.is_closed


async def test_a_log_is_read_in_pages_and_its_spans_exported_in_parts(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing, "SPANS_AT_ONCE", 4)
    monkeypatch.setattr(tracing, "PAGE_BATCHES", 1)
    scene.tracer.start()
    await scene.run("s", nodes=9)
    await scene.tracer.finish(30.0)
    assert scene.collector.sizes == [4, 4, 2]
    assert sorted(scene.collector.taken) == [*(f"action n{number}" for number in range(9)), "saga g"]
    assert scene.store.pages > 1


async def test_what_gathers_during_an_export_makes_up_the_next(scene: Scene) -> None:
    scene.tracer.start()
    scene.collector.answers.clear()
    await scene.run("first")
    await until(lambda: scene.collector.sizes == [2])
    await scene.run("a", "b", "c")
    scene.collector.answers.set()
    await scene.tracer.finish(30.0)
    assert scene.collector.sizes == [2, 6]


async def test_a_full_queue_drops_and_counts(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "QUEUED_MAX", 2)
    await scene.run("a", "b", "c", "d", "e")
    assert scene.counted() == (0, 0, 3)
    scene.tracer.start()
    await scene.tracer.finish(30.0)
    assert scene.counted() == (4, 0, 3)


async def test_what_is_not_taken_is_counted_and_the_next_is_tried(scene: Scene) -> None:
    scene.tracer.start()
    scene.collector.error = ExportError("UNAVAILABLE: away")
    await scene.run("lost")
    await until(lambda: scene.counted() == (0, 2, 0))
    scene.collector.error = None
    scene.collector.refused = 1
    await scene.run("taken")
    await scene.tracer.finish(30.0)
    assert scene.counted() == (1, 3, 0)


async def test_an_error_of_ours_costs_spans_and_nothing_else(scene: Scene) -> None:
    scene.tracer.start()
    scene.collector.error = ZeroDivisionError()
    await scene.run("lost")
    await until(lambda: scene.metrics.spans_dropped == 2)
    scene.collector.error = None
    await scene.run("taken")
    await scene.tracer.finish(30.0)
    assert scene.collector.taken == ["saga g", "action n0"]


async def test_a_log_that_can_not_be_read_is_counted(scene: Scene) -> None:
    scene.store.is_away = True
    scene.tracer.start()
    await scene.run("away")
    await until(lambda: scene.counted() == (0, 0, 1))
    scene.store.is_away = False
    await scene.run("there")
    await scene.tracer.finish(30.0)
    assert scene.counted() == (2, 0, 1)


async def test_a_log_that_was_compacted_before_is_counted(scene: Scene) -> None:
    await scene.run("s")
    await scene.store.remove_finished(["s"], keep_summary=True)
    scene.tracer.start()
    await scene.tracer.finish(30.0)
    assert scene.counted() == (0, 0, 1)


async def test_the_end_does_not_wait_for_a_collector_that_does_not_answer(scene: Scene) -> None:
    scene.tracer.start()
    scene.collector.answers.clear()
    await scene.run("in-flight")
    await until(lambda: scene.collector.sizes == [2])
    await scene.run("queued")
    await scene.tracer.finish(0.01)
    assert scene.counted() == (0, 2, 1)
    assert scene.collector.is_closed


async def test_a_saga_that_moves_is_another_secs_to_trace(scene: Scene) -> None:
    spec = saga_pb2.SagaSpec(saga_id="s", trace_context={"traceparent": SAMPLED})
    spec.params.json = "{}"
    spec.graph.name = "g"
    spec.graph.nodes.add(name="n").action.action = "a"
    await scene.sec.create(spec)
    scene.tracer.start()
    scene.sec.engine.lose(scene.sec.engine.sagas["s"])
    await scene.tracer.finish(30.0)
    assert scene.counted() == (0, 0, 0)
