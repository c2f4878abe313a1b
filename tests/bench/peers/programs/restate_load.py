"""Load on Restate: one HTTP call of its ingress for each saga, answered when the saga has ended."""

from __future__ import annotations

import asyncio
import json
import sys

import aiohttp

from tests.bench.peers.programs.closed_loop import PAYLOAD, measure


async def main(ingress: str, handler: str, in_flight: int, seconds: float) -> None:
    """Measure one handler."""
    connector = aiohttp.TCPConnector(limit=in_flight)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def run() -> None:
            async with session.post(f"{ingress}/Sagas/{handler}", json=PAYLOAD) as answer:
                answer.raise_for_status()
                if json.loads(await answer.read()) != PAYLOAD:
                    raise RuntimeError("a saga went wrong")

        await measure(run, in_flight, seconds)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
