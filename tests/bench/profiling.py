"""`make profile`: where the SEC's and the worker's time goes while linear3 runs, by function."""

from __future__ import annotations

import argparse
import asyncio
import pstats
import sys
import tempfile
from pathlib import Path

from tests.bench.shapes import linear
from tests.bench.stand import stand

SHOWN = 40
IN_FLIGHT = 256


async def _record(store: str, seconds: float, folder: Path) -> None:
    async with stand(store, profiles=folder) as made:
        await made.run(linear(3), IN_FLIGHT, seconds)


def main() -> None:
    """Run linear3 under cProfile and print what took the most time.

    The profile itself takes time, of small functions more than of large ones; it sees the event loop's thread only,
    not that in which SQLite writes.
    """
    parser = argparse.ArgumentParser(prog="make profile")
    parser.add_argument("--store", choices=["sqlite", "etcd"], default="etcd")
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--by", choices=["tottime", "cumtime"], default="tottime")
    parser.add_argument("--keep", type=Path, help="folder that the profiles are left in, for pstats and viewers")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sagaline-bench-") as scratch:
        folder: Path = given.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        asyncio.run(_record(given.store, given.seconds, folder))
        for path in sorted(folder.glob("*.prof")):
            sys.stdout.write(f"---- {path.stem} ({given.store})\n")
            pstats.Stats(str(path)).strip_dirs().sort_stats(given.by).print_stats(SHOWN)


if __name__ == "__main__":
    main()
