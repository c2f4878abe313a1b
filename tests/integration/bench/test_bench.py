"""The benchmarks run, and print what other programs read."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.bench.line import Line, at_least, at_most
from tests.bench.load import OpenLoop
from tests.bench.shapes import linear

BENCH_SECONDS = 60


def test_a_figure_is_a_line_and_the_last_line_counts_them() -> None:
    command = [sys.executable, "-m", "tests.bench", "--only", "linear3", "--store", "sqlite", "--seconds", "0.5"]
    ended = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=BENCH_SECONDS)
    *lines, last = ended.stdout.splitlines()
    figures = [json.loads(line) for line in lines]
    assert [each["figure"] for each in figures] == [
        "linear3.sqlite",
        "linear3.sqlite.sec-cpu",
        "linear3.sqlite.worker-cpu",
    ]
    assert all(each["value"] > 0 and each["unit"] and each["target"] > 0 for each in figures)
    met = sum(each["met"] for each in figures)
    assert last == f"BENCH figures=3 met={met}"


@pytest.mark.parametrize(("value", "more", "less"), [(9.0, False, True), (10.0, True, True), (11.0, True, False)])
def test_a_target_is_met_from_its_side(value: float, more: bool, less: bool) -> None:
    assert Line("rate", value, "sagas/s", at_least(10)).met is more
    assert Line("time", value, "ms", at_most(10)).met is less


class OpenLoopOfOneFrame(OpenLoop):
    """Shows when the sagas of its first frame were due."""

    async def first_due(self) -> list[float]:
        self._next = time.perf_counter() - 1.0
        return list(await self._due())


def test_latencies_of_an_open_loop_count_from_when_sagas_were_due() -> None:
    """A load that was held up for a second starts what came due in it, and each as of its own moment."""
    loop_rate = 200.0

    async def due() -> list[float]:
        return await OpenLoopOfOneFrame("127.0.0.1:1", linear(3), loop_rate).first_due()

    before = time.perf_counter()
    moments = asyncio.run(due())
    assert len(moments) > loop_rate / 2
    assert before - moments[0] > 0.5
    assert moments == sorted(moments)


def test_a_peer_that_cant_be_had_is_skipped_and_the_reason_told(tmp_path: Path) -> None:
    """Here there is no Go to get it with."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.peers", "--only", "dtm"],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        timeout=BENCH_SECONDS,
        env={**os.environ, "PATH": str(tmp_path), "SAGALINE_PEERS": str(tmp_path)},
    )
    line, last = done.stdout.splitlines()
    told = json.loads(line)
    assert told["peer"] == "dtm"
    assert told["skipped"].startswith("go does not run: ")
    assert last == "BENCH peers=0 skipped=1 broken=0"
