"""Figures of sagas that stand still, come back, or are left behind; of two SECs; and of starting."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from tests.bench.line import Line, at_least, at_most, median
from tests.bench.load import ClosedLoop, create
from tests.bench.options import Options
from tests.bench.retention import weigh_finished
from tests.bench.shapes import linear, waiting
from tests.bench.stand import ADOPTED, ENTRIES, INSTALLED, Stand, Window, stand
from tests.failover.figures import adoption
from tests.processes import free_port, running, start, until_serving

LINEAR = linear(3)
RECOVERED = waiting(before=4, after=1)
"""Nine entries until it waits; the change of owner is the tenth."""
ENTRIES_BEFORE = 9
LIVE_COST = 1.10
LIVE_KIB = 3.0
RECOVERY_SECONDS = 2.0
SAGAS_OF_TARGET = 10_000
ADOPTION_FACTOR = 2.0
TWO_SECS_SHARE, TWO_SECS_COST = 1.0, 1.10
TWO_CLUSTERS_COST = 1.20
DEV_SECONDS, IMPORT_SECONDS = 0.8, 0.25
STARTS = 5
WARM_UP_SECONDS = 1.5
WAIT_SECONDS = 180.0
SAGALINE = Path(sys.executable).with_name("sagaline")
IMPORT = "import time; began = time.perf_counter(); import sagaline; print(time.perf_counter() - began)"


async def live_figures(options: Options) -> AsyncIterator[Line]:
    """Measure what sagas cost that only wait: their memory, and what they do to those that run."""
    for store in options.stores:
        cost, memory = f"live.{store}.cost", f"live.{store}.memory"
        if not options.wants(cost, memory):
            continue
        async with stand(store) as made:
            sec = made.secs[0].process
            without = await _windows(made, options)
            before, count = sec.resident_bytes(), options.live_sagas
            await create(made.address, waiting(before=0, after=2), count)
            kib = (sec.resident_bytes() - before) / count / 1024
            beside = await _windows(made, options)
        shares = [late.cpu_us("sec") / early.cpu_us("sec") for late, early in zip(beside, without, strict=True)]
        about = {
            "live_sagas": count,
            "sec_cpu_us_without": median([window.cpu_us("sec") for window in without]),
            "sec_cpu_us_beside": median([window.cpu_us("sec") for window in beside]),
            "sagas_per_s_without": median([window.sagas_per_s for window in without]),
            "sagas_per_s_beside": median([window.sagas_per_s for window in beside]),
            "cores_used_by_others_without": median([window.others for window in without], 2),
            "cores_used_by_others_beside": median([window.others for window in beside], 2),
        }
        yield Line(cost, median(shares, 3), "of the SEC's CPU without them", at_most(LIVE_COST), about)
        yield Line(memory, round(kib, 2), "KiB of the SEC", at_most(LIVE_KIB), {"live_sagas": count})


async def _windows(made: Stand, options: Options, secs: int = 1) -> list[Window]:
    windows = []
    for _ in range(options.runs):
        loads = [ClosedLoop(sec.address, LINEAR, options.in_flight) for sec in made.secs[:secs]]
        windows.append(await made.window(loads, warm_up=WARM_UP_SECONDS, seconds=options.seconds))
    return windows


async def recovery_figures(options: Options) -> AsyncIterator[Line]:
    """Measure how long a SEC that was killed takes to own and fold its sagas again."""
    for store in options.stores:
        name, count = f"recovery.{store}", options.recovered_sagas
        if not options.wants(name):
            continue
        async with stand(store) as made:
            sec = made.secs[0]
            await create(made.address, RECOVERED, count)
            await made.until(ENTRIES, count * ENTRIES_BEFORE, WAIT_SECONDS)
            taken, used, ready = [], [], []
            for _ in range(options.runs):
                began = await made.restart(sec)
                await until_serving(sec.address)
                ready.append(time.perf_counter() - began)
                await made.until(ADOPTED, count, WAIT_SECONDS)
                taken.append(time.perf_counter() - began)
                used.append(sec.process.cpu_seconds())
        value = median([each * SAGAS_OF_TARGET / count for each in taken], 2)
        about = {
            "sagas": count,
            "entries_of_each": ENTRIES_BEFORE + 1,
            "serving_s": median(ready, 2),
            "sec_cpu_s": median(used, 2),
            "from": "the start of the process; on etcd it waits for the lease of the dead one, 5 s, first",
        }
        yield Line(name, value, "s for 10,000 sagas", at_most(RECOVERY_SECONDS), about)


async def adoption_figures(options: Options) -> AsyncIterator[Line]:
    """Measure how live sagas of two SECs fare while they take over those of a third, on three etcd members."""
    if "etcd" not in options.stores or not options.wants("adoption.etcd"):
        return
    with tempfile.TemporaryDirectory(prefix="sagaline-bench-") as scratch:
        figure = await adoption.measure(Path(scratch), options.adopted_sagas)
    if figure.problems:
        raise RuntimeError(f"adoption: {figure.problems[0]}")
    factor = figure.values["live_beside_p99_ms"] / figure.values["live_before_p99_ms"]
    yield Line("adoption.etcd", round(factor, 2), "of p99 before", at_most(ADOPTION_FACTOR), figure.values)


async def two_sec_figures(options: Options) -> AsyncIterator[Line]:
    """Measure two SECs, and one of them alone, on one etcd, with as many sagas in flight on each."""
    rate, cost = "two-secs.etcd", "two-secs.etcd.cpu"
    if "etcd" not in options.stores or not options.wants(rate, cost):
        return
    async with stand("etcd", secs=2) as made:
        one = await _windows(made, options, 1)
        two = await _windows(made, options, 2)
    shares = [both.calls_per_s / alone.calls_per_s for both, alone in zip(two, one, strict=True)]
    costs = [both.cpu_us("sec") / alone.cpu_us("sec") for both, alone in zip(two, one, strict=True)]
    about = {
        "sagas_per_s_of_one": median([window.sagas_per_s for window in one]),
        "sagas_per_s_of_two": median([window.sagas_per_s for window in two]),
        "cpu_us_per_action_of_one": one[0].cpu_us_by_part,
        "cpu_us_per_action_of_two": two[0].cpu_us_by_part,
    }
    yield Line(rate, median(shares, 3), "of one SEC's actions/s", at_least(TWO_SECS_SHARE), about)
    yield Line(cost, median(costs, 3), "of one SEC's CPU for each action", at_most(TWO_SECS_COST))


async def two_cluster_figures(options: Options) -> AsyncIterator[Line]:
    """Measure what it costs to spread the sagas over two etcd clusters, beside one, with one SEC and the same load."""
    name = "two-clusters.etcd.cpu"
    if "etcd" not in options.stores or not options.wants(name):
        return
    one: list[Window] = []
    two: list[Window] = []
    for _ in range(options.runs):
        for clusters, its in ((1, one), (2, two)):
            async with stand("etcd", clusters=clusters) as made:
                its.extend(await _windows(made, msgspec.structs.replace(options, runs=1)))
    costs = [both.cpu_us("sec") / alone.cpu_us("sec") for both, alone in zip(two, one, strict=True)]
    in_all = [both.cpu_us_in_all / alone.cpu_us_in_all for both, alone in zip(two, one, strict=True)]
    about = {
        "everything": median(in_all, 3),
        "sagas_per_s_of_one": median([window.sagas_per_s for window in one]),
        "sagas_per_s_of_two": median([window.sagas_per_s for window in two]),
        "cpu_us_per_action_of_one": one[0].cpu_us_by_part,
        "cpu_us_per_action_of_two": two[0].cpu_us_by_part,
    }
    yield Line(
        name, median(costs, 3), "of one cluster's CPU of the SEC for each action", at_most(TWO_CLUSTERS_COST), about
    )


async def start_figures(options: Options) -> AsyncIterator[Line]:
    """Measure `sagaline dev` until it serves, and the import of the SDK."""
    if options.wants("dev-ready"):
        await _dev_ready()  # may have to compile
        starts = [await _dev_ready() for _ in range(STARTS)]
        about = {"runs": STARTS, "cpu_s": median([used for _, used in starts], 3)}
        yield Line("dev-ready", median([taken for taken, _ in starts], 3), "s", at_most(DEV_SECONDS), about)
    if options.wants("sdk-import"):
        await _import_seconds()
        times = [await _import_seconds() for _ in range(STARTS)]
        yield Line("sdk-import", median(times, 3), "s", at_most(IMPORT_SECONDS), {"runs": STARTS})


async def _dev_ready() -> tuple[float, float]:
    """Return the time until it serves, and the CPU that it has used by then."""
    with tempfile.TemporaryDirectory(prefix="sagaline-bench-") as scratch:
        address = f"127.0.0.1:{free_port()}"
        command = ("dev", "--listen", address, "--data-dir", f"{scratch}/data")
        began = time.perf_counter()
        sec = await start("dev", str(SAGALINE), *command, log=Path(scratch) / "dev.log", environment=INSTALLED)
        async with running(sec):
            await until_serving(address)
            return time.perf_counter() - began, sec.cpu_seconds()


async def _import_seconds() -> float:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", IMPORT, stdout=asyncio.subprocess.PIPE, env={**os.environ, **INSTALLED}
    )
    output, _ = await process.communicate()
    return float(output)


async def retention_figures(options: Options) -> AsyncIterator[Line]:
    """Weigh finished sagas in etcd."""
    if "etcd" not in options.stores or not options.wants("retention.etcd"):
        return
    weights = await weigh_finished()
    left = weights["bytes_per_saga"]["compacted"]["log"]
    yield Line("retention.etcd", left, "bytes of log for each saga once compacted", at_most(0.0), weights)
