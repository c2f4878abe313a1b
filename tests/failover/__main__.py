"""`make failover`: crashes at named points, runs by seed, figures; the last line says how it went."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.etcd_server import EtcdServer
from tests.failover.crashes.cases import cases, play
from tests.failover.figures import adoption, hand_off, rolling, take_over
from tests.failover.figures.figure import Figure
from tests.failover.run import RunReport, run_once
from tests.failover.schedule import make_schedule

RUNS = 4
RUN_SECONDS = 25.0
SAGAS_A_RUN = 600
KILLS = 6
HANDED_OFF = 1_000
ROLLS = 2
ADOPTED = 10_000
LOAD_MAX = 1.5
"""Load average above which times say more about the machine than about SECs."""


@dataclass
class Outcome:
    """What all parts came to."""

    runs: int = 0
    sagas: int = 0
    lost: int = 0
    doubled: int = 0
    takeover_p99_ms: float = 0.0
    ttl_ms: int = 0
    problems: list[str] = field(default_factory=list)

    def line(self) -> str:
        """Return the line that other programs read."""
        facts = (
            f"runs={self.runs} sagas={self.sagas} lost={self.lost} doubled={self.doubled} "
            f"takeover_p99_ms={self.takeover_p99_ms:.0f} ttl_ms={self.ttl_ms}"
        )
        return f"FAILOVER FAILED {facts} problems={len(self.problems)}" if self.problems else f"FAILOVER OK {facts}"


class Program:
    """All parts, one after the other, in one folder that is kept when something is wrong."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self._options = options
        self._folder = folder
        self.outcome = Outcome()

    def run(self) -> None:
        """Run what was asked for."""
        parts = self._options.only or ("crashes", "runs", "figures")
        if "crashes" in parts:
            self._crashes()
        if "runs" in parts:
            for seed in range(self._options.seed, self._options.seed + self._options.runs):
                self._run(seed)
        if "figures" in parts:
            self._figures()

    def _crashes(self) -> None:
        chosen = cases(thorough=True)
        say(f"{len(chosen)} crashes at named points:")
        folder = self._part("crashes")
        logging.basicConfig(filename=folder / "workers.log")
        etcd = EtcdServer(folder)
        etcd.start()
        try:
            verdicts = play(chosen, folder, etcd.endpoint, say)
        finally:
            etcd.kill()
        for case, error in verdicts.items():
            if error is not None:
                self.outcome.problems.append(f"crash {case.name}: {error}")
        emit({"crashes": len(verdicts), "failed": sum(error is not None for error in verdicts.values())})

    def _run(self, seed: int) -> None:
        schedule = make_schedule(seed, self._options.seconds)
        began = time.monotonic()
        report = asyncio.run(
            run_once(
                schedule, self._part(f"run-{seed}"), sagas=self._options.sagas, seconds=self._options.seconds, say=say
            )
        )
        self._take(report)
        emit(
            {
                "run": report.seed,
                "seconds": round(time.monotonic() - began, 1),
                "sagas": report.sagas,
                "faults": report.faults,
                "lost": report.lost,
                "doubled": report.doubled,
                "problems": report.problems,
                **report.counts,
            }
        )
        if not report.is_right:
            say(f"repeat it with: make failover RUNS=1 SEED={seed}")

    def _take(self, report: RunReport) -> None:
        outcome = self.outcome
        outcome.runs += 1
        outcome.sagas += report.sagas
        outcome.lost += report.lost
        outcome.doubled += report.doubled
        outcome.problems += [f"seed {report.seed}: {problem}" for problem in report.problems]
        if report.lost and not report.problems:
            outcome.problems.append(f"seed {report.seed}: {report.lost} sagas were lost")

    def _figures(self) -> None:
        load = os.getloadavg()[0]
        if load > LOAD_MAX:
            say(f"the machine is busy (load {load:.1f}): read the times below as upper bounds")
        figure = self._figure("take-over", lambda folder: take_over.measure(folder, KILLS))
        self.outcome.takeover_p99_ms = figure.values.get("p99_ms", 0.0)
        self.outcome.ttl_ms = figure.values.get("ttl_ms", 0)
        self._figure("hand-off", lambda folder: hand_off.measure(folder, HANDED_OFF))
        self._figure("rolling", lambda folder: rolling.measure(folder, ROLLS))
        self._figure("adoption", lambda folder: adoption.measure(folder, ADOPTED))

    def _figure(self, name: str, measure: Callable[[Path], Coroutine[Any, Any, Figure]]) -> Figure:
        load = round(os.getloadavg()[0], 1)
        try:
            figure = asyncio.run(measure(self._part(name)))
        except Exception as error:  # noqa: BLE001 - a figure that can't be taken is a finding
            figure = Figure(name, problems=[f"{type(error).__name__}: {error}"])
        emit({**figure.line(), "machine_load": load})
        self.outcome.problems += [f"figure {name}: {problem}" for problem in figure.problems]
        return figure

    def _part(self, name: str) -> Path:
        folder = self._folder / name
        folder.mkdir()
        return folder


def say(text: str) -> None:
    """Print a line for people."""
    print(text, flush=True)


def emit(line: dict[str, Any]) -> None:
    """Print a line for programs."""
    print(json.dumps(line), flush=True)


def main() -> int:
    """Run what was asked for; returns the exit code."""
    parser = argparse.ArgumentParser(prog="make failover")
    parser.add_argument("--runs", type=int, default=RUNS, help="runs by seed")
    parser.add_argument("--seed", type=int, help="of the first run; the others follow. Absent: by the clock")
    parser.add_argument("--seconds", type=float, default=RUN_SECONDS, help="of each run, before everything is healed")
    parser.add_argument("--sagas", type=int, default=SAGAS_A_RUN, help="in each run")
    parser.add_argument("--only", action="append", choices=["crashes", "runs", "figures"], help="parts to run")
    parser.add_argument("--keep", action="store_true", help="keep the folder with stores and logs")
    options = parser.parse_args()
    if options.seed is None:
        options.seed = int(time.time()) % 1_000_000
    folder = Path(tempfile.mkdtemp(prefix="sagaline-failover-"))
    program = Program(options, folder)
    try:
        program.run()
    except KeyboardInterrupt:
        program.outcome.problems.append("interrupted")
    outcome = program.outcome
    for problem in outcome.problems:
        say(f"PROBLEM {problem}")
    if outcome.problems or options.keep:
        say(f"stores and logs are in {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    say(outcome.line())
    return 1 if outcome.problems else 0


if __name__ == "__main__":
    sys.exit(main())
