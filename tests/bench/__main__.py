"""`make bench`: every figure of docs/performance.md, one JSON line for each, beside its target."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Callable

import msgspec

from sagaline_server.app.logs import set_up_logs
from tests.bench.line import Line
from tests.bench.options import QUICK, THOROUGH, Options
from tests.bench.raw import raw_limits
from tests.bench.running import running_figures
from tests.bench.standing import (
    adoption_figures,
    live_figures,
    recovery_figures,
    retention_figures,
    start_figures,
    two_cluster_figures,
    two_sec_figures,
)

GROUPS: tuple[Callable[[Options], AsyncIterator[Line]], ...] = (
    raw_limits,
    running_figures,
    live_figures,
    recovery_figures,
    adoption_figures,
    two_sec_figures,
    two_cluster_figures,
    start_figures,
    retention_figures,
)


async def measure(options: Options) -> int:
    """Measure what is wanted and print it; returns the exit code.

    A group that goes wrong does not hinder the others: it is told on standard error, and the exit code is 1.
    """
    figures = met = broken = 0
    for group in GROUPS:
        try:
            async for line in group(options):
                sys.stdout.write(line.as_json() + "\n")
                sys.stdout.flush()
                figures += line.met is not None
                met += line.met is True
        except Exception as error:  # noqa: BLE001 - whatever it was, it is told and counted
            broken += 1
            sys.stderr.write(f"make bench: {group.__name__} went wrong: {error!r}\n")
    sys.stdout.write(f"BENCH figures={figures} met={met}\n")
    return 1 if broken or not figures else 0


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--store", choices=["sqlite", "etcd"], action="append", help="only this store")
    parser.add_argument("--only", default="", help="only figures with this in their names")
    parser.add_argument("--thorough", action="store_true", help="medians over five runs, 100,000 live sagas")
    parser.add_argument("--runs", type=int, help="runs that medians are over")
    parser.add_argument("--seconds", type=float, help="length of each window")
    parser.add_argument("--in-flight", type=int, help="sagas at once, of linear3")
    given = parser.parse_args()
    set_up_logs("error")
    chosen = {
        "stores": tuple(given.store) if given.store else None,
        "only": given.only,
        "runs": given.runs,
        "seconds": given.seconds,
        "in_flight": given.in_flight,
    }
    extent = THOROUGH if given.thorough else QUICK
    options = msgspec.structs.replace(extent, **{name: value for name, value in chosen.items() if value is not None})
    sys.exit(asyncio.run(measure(options)))


if __name__ == "__main__":
    main()
