"""Figures of sagas that run: how many, how long one takes, what an action costs, and how shapes compare."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import msgspec

from tests.bench.line import Line, Target, at_least, at_most, median
from tests.bench.load import CallLoop, ClientLoop, ClosedLoop, Load, OpenLoop, UnaryLoop, histogram_ms, quantile_ms
from tests.bench.options import Options
from tests.bench.shapes import Shape, chain, linear, mapped, parallel, unwinding
from tests.bench.stand import Stand, Window, stand

LINEAR = linear(3)
STREAM = {"etcd": 6_000.0, "sqlite": 7_000.0}
ALONE_MS = {"etcd": 5.0, "sqlite": 3.0}
UNARY = 2_000.0
P99_MS = 40.0
SEC_CPU_US, WORKER_CPU_US = 45.0, 40.0
SHAPE_SHARE = 0.9
WARM_UP_SECONDS = 1.5


class Compared(msgspec.Struct, frozen=True):
    """A shape whose actions a second are compared with those of linear3, with as many actions in flight."""

    shape: Shape
    in_flight: int


SHAPES = (
    Compared(parallel(10), 26),
    Compared(chain(100), 256),
    Compared(mapped(1_000), 2),
    Compared(unwinding(), 256),
)


async def running_figures(options: Options) -> AsyncIterator[Line]:
    """Measure each store on a stand of its own."""
    for store in options.stores:
        alone = (f"linear3.{store}", f"unary.{store}", f"client-run.{store}", f"alone.{store}", f"half-rate.{store}")
        shapes = tuple(f"{each.shape.name}.{store}" for each in SHAPES)
        if options.wants(*alone, f"linear3.{store}.sec-cpu", f"linear3.{store}.worker-cpu", *shapes):
            async with stand(store) as made:
                async for line in _On(made, options).figures():
                    yield line


class _On:
    """All figures of one stand."""

    def __init__(self, made: Stand, options: Options) -> None:
        self._stand = made
        self._options = options
        self._store = made.store

    async def figures(self) -> AsyncIterator[Line]:
        """Measure what is wanted; linear3 always, as the others are compared with it."""
        windows = [await self._window(self._closed(LINEAR, self._options.in_flight)) for _ in self._runs()]
        for line in self._linear(windows):
            if self._options.wants(line.name):
                yield line
        rate = median([window.sagas_per_s for window in windows])
        if self._options.wants(f"half-rate.{self._store}"):
            yield await self._half_rate(rate / 2)
        if self._options.wants(f"unary.{self._store}"):
            yield await self._called("unary", UnaryLoop, "RunSaga")
        if self._options.wants(f"client-run.{self._store}"):
            yield await self._called("client-run", ClientLoop, "Client.run, which share a stream")
        if self._options.wants(f"alone.{self._store}"):
            yield await self._alone()
        for compared in SHAPES:
            if self._options.wants(f"{compared.shape.name}.{self._store}"):
                yield await self._compared(compared)

    def _runs(self) -> range:
        return range(self._options.runs)

    def _closed(self, shape: Shape, in_flight: int) -> Callable[[], Load]:
        return lambda: ClosedLoop(self._stand.address, shape, in_flight)

    async def _window(self, load: Callable[[], Load]) -> Window:
        return await self._stand.window([load()], warm_up=WARM_UP_SECONDS, seconds=self._options.seconds)

    def _linear(self, windows: list[Window]) -> list[Line]:
        latencies = [latency for window in windows for latency in window.latencies]
        middle = sorted(windows, key=lambda window: window.sagas_per_s)[len(windows) // 2]
        value = median([window.sagas_per_s for window in windows])
        about = {
            "bench": "linear3",
            "store": self._store,
            "sagas_per_s": value,
            "actions_per_s": median([window.calls_per_s for window in windows]),
            "p50_ms": round(quantile_ms(latencies, 0.5), 2),
            "p99_ms": round(quantile_ms(latencies, 0.99), 2),
            "in_flight": self._options.in_flight,
            "secs": 1,
            "runs": len(windows),
            "cpu_us_per_action": middle.cpu_us_by_part,
            "sagas_per_s_of_the_cpu": round(middle.calls_per_s_of_the_cpu / LINEAR.calls),
            "cores_used_by_others": round(middle.others, 2),
            "latency_ms": histogram_ms(latencies),
            "all_sagas_per_s": [round(window.sagas_per_s) for window in windows],
        }
        name = f"linear3.{self._store}"
        sec = median([window.cpu_us("sec") for window in windows])
        worker = median([window.cpu_us("worker") for window in windows])
        return [
            Line(name, value, "sagas/s", at_least(STREAM[self._store]), about),
            Line(f"{name}.sec-cpu", sec, "us/action", at_most(SEC_CPU_US)),
            Line(f"{name}.worker-cpu", worker, "us/action", at_most(WORKER_CPU_US)),
        ]

    async def _half_rate(self, rate: float) -> Line:
        windows = [await self._window(lambda: OpenLoop(self._stand.address, LINEAR, rate)) for _ in self._runs()]
        value = median([quantile_ms(window.latencies, 0.99) for window in windows], 2)
        about = {
            "rate": round(rate),
            "reached": median([window.sagas_per_s for window in windows]),
            "latency_ms": histogram_ms([latency for window in windows for latency in window.latencies]),
            "cpu_us_per_action": windows[0].cpu_us_by_part,
        }
        return Line(f"half-rate.{self._store}", value, "ms p99", at_most(P99_MS), about)

    async def _called(self, name: str, loop: type[CallLoop], how: str) -> Line:
        in_flight = self._options.in_flight
        windows = [await self._window(lambda: loop(self._stand.address, LINEAR, in_flight)) for _ in self._runs()]
        value = median([window.sagas_per_s for window in windows])
        latencies = [latency for window in windows for latency in window.latencies]
        about = {
            "calls": how,
            "cpu_us_per_action": windows[0].cpu_us_by_part,
            "sagas_per_s_of_the_cpu": round(windows[0].calls_per_s_of_the_cpu / LINEAR.calls),
            "cores_used_by_others": round(windows[0].others, 2),
            "latency_ms": histogram_ms(latencies),
        }
        return Line(f"{name}.{self._store}", value, "sagas/s", at_least(UNARY), about)

    async def _alone(self) -> Line:
        windows = [await self._window(self._closed(LINEAR, 1)) for _ in self._runs()]
        value = median([quantile_ms(window.latencies, 0.5) for window in windows], 2)
        latencies = [latency for window in windows for latency in window.latencies]
        about = {"latency_ms": histogram_ms(latencies), "cpu_us_per_action": windows[0].cpu_us_by_part}
        return Line(f"alone.{self._store}", value, "ms p50", at_most(ALONE_MS[self._store]), about)

    async def _compared(self, compared: Compared) -> Line:
        """Compare a shape with linear3, each time side by side, so that both see the same machine."""
        pairs = []
        for _ in self._runs():
            plain = await self._window(self._closed(LINEAR, self._options.in_flight))
            pairs.append((await self._window(self._closed(compared.shape, compared.in_flight)), plain))
        value = median([shaped.calls_per_s / plain.calls_per_s for shaped, plain in pairs], 3)
        target: Target = at_least(SHAPE_SHARE)
        about = {
            "actions_per_s": median([shaped.calls_per_s for shaped, _ in pairs]),
            "linear3_actions_per_s": median([plain.calls_per_s for _, plain in pairs]),
            "cpu_share_of_linear3": median([shaped.cpu_us_in_all / plain.cpu_us_in_all for shaped, plain in pairs], 3),
            "in_flight": compared.in_flight,
            "cpu_us_per_action": pairs[0][0].cpu_us_by_part,
        }
        return Line(f"{compared.shape.name}.{self._store}", value, "of linear3's actions/s", target, about)
