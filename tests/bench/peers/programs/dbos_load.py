"""DBOS: workflows of three steps. It is a library: workflows, steps and load are one process beside the database."""

from __future__ import annotations

import asyncio
import sys

from dbos import DBOS, DBOSConfig

from tests.bench.peers.programs.closed_loop import PAYLOAD, measure


@DBOS.step()
async def act(value: str) -> str:
    """Return what came in."""
    return value


@DBOS.workflow()
async def saga(value: str) -> str:
    """Run three actions."""
    for _ in range(3):
        value = await act(value)
    return value


async def main(url: str, in_flight: int, seconds: float) -> None:
    """Measure on one database."""
    config: DBOSConfig = {"name": "bench", "system_database_url": url, "log_level": "ERROR"}
    DBOS(config=config)
    DBOS.launch()

    async def run() -> None:
        if await saga(PAYLOAD) != PAYLOAD:
            raise RuntimeError("a saga went wrong")

    await measure(run, in_flight, seconds)
    DBOS.destroy()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
