"""A closed loop: as many callers as sagas are to be in flight, each running one after the other."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Sequence

PAYLOAD = "x" * 198
"""As JSON it has 200 bytes, as the payloads of Sagaline's sagas."""
WARM_UP_SECONDS = 10.0


async def measure(run: Callable[[], Awaitable[object]], in_flight: int, seconds: float) -> None:
    """Keep sagas in flight; a line tells when the while begins that is looked at, and one its figures."""
    ends: list[tuple[float, float]] = []
    until = time.perf_counter() + WARM_UP_SECONDS + seconds

    async def caller() -> None:
        while time.perf_counter() < until:
            began = time.perf_counter()
            await run()
            ended = time.perf_counter()
            ends.append((ended, ended - began))

    callers = asyncio.gather(*(caller() for _ in range(in_flight)))
    await _pass(WARM_UP_SECONDS, callers)
    _say({"begins": True})
    began = time.perf_counter()
    await _pass(max(until - time.perf_counter(), 0.0), callers)
    ended = time.perf_counter()
    latencies = sorted(latency for at, latency in ends if began <= at < ended)
    _say(
        {
            "sagas": len(latencies),
            "seconds": ended - began,
            "p50_ms": _quantile_ms(latencies, 0.5),
            "p99_ms": _quantile_ms(latencies, 0.99),
        }
    )
    await callers


async def pause(seconds: float) -> None:
    """Let time pass."""
    await asyncio.wait({asyncio.get_running_loop().create_future()}, timeout=seconds)


async def _pass(seconds: float, callers: asyncio.Future[list[None]]) -> None:
    """Let time pass, and no more of it once a caller has failed."""
    await asyncio.wait({callers}, timeout=seconds)
    if callers.done():
        callers.result()


def _quantile_ms(ordered: Sequence[float], share: float) -> float:
    return round(ordered[min(int(len(ordered) * share), len(ordered) - 1)] * 1000, 2) if ordered else 0.0


def _say(line: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
