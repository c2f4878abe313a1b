"""`make bench-peers`: the same work on Sagaline and on its peers, one JSON line for each.

Three actions a saga that do nothing, 200 bytes of payload, as many sagas in flight for each, one after the other on
the machine as it is. What can't be had here is skipped, with the reason. docs/performance.md says what differs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys

from sagaline_server.app.logs import set_up_logs
from tests.bench.load import ClientLoop, ClosedLoop
from tests.bench.peers.getting import CannotBeHad
from tests.bench.peers.running import Load, Measured
from tests.bench.peers.systems import PEERS, Peer
from tests.bench.shapes import linear
from tests.bench.stand import stand

WARM_UP_SECONDS = 10.0
LOOPS: dict[str, type[ClosedLoop | ClientLoop]] = {"stream": ClosedLoop, "client-run": ClientLoop}


def sagaline(store: str, loop: str) -> Peer:
    """Sagaline itself: one SEC, one worker process."""

    async def measure(load: Load) -> Measured:
        async with stand(store) as made:
            given = LOOPS[loop](made.address, linear(3), load.in_flight)
            window = await made.window([given], warm_up=WARM_UP_SECONDS, seconds=load.seconds)
        ordered = sorted(window.latencies) or [0.0]
        details = {
            "p50_ms": round(ordered[len(ordered) // 2] * 1000, 2),
            "p99_ms": round(ordered[int(len(ordered) * 0.99)] * 1000, 2),
            "cpu_us_per_action": window.cpu_us_by_part,
            "cores_used_by_others": round(window.others, 2),
        }
        return Measured(window.sagas_per_s, details)

    return measure


async def compare(only: str, load: Load) -> int:
    """Measure everything whose name has `only` in it; returns the exit code."""
    ours = {f"sagaline.{store}.{loop}": sagaline(store, loop) for store in ("sqlite", "etcd") for loop in LOOPS}
    measured, skipped, broken = 0, 0, 0
    for name, peer in {**ours, **PEERS}.items():
        if only not in name:
            continue
        try:
            figures = await peer(load)
        except CannotBeHad as reason:
            skipped += 1
            _say({"peer": name, "skipped": str(reason)})
            continue
        except Exception as error:  # noqa: BLE001 - whatever it was, it is told, and the others are measured
            broken += 1
            _say({"peer": name, "went_wrong": repr(error)})
            continue
        measured += 1
        _say({"peer": name, "value": round(figures.sagas_per_s, 1), "unit": "sagas/s", **figures.details})
    sys.stdout.write(f"BENCH peers={measured} skipped={skipped} broken={broken}\n")
    return 1 if broken else 0


def _say(line: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(prog="make bench-peers")
    parser.add_argument("--only", default="", help="only what has this in its name")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each window")
    parser.add_argument("--in-flight", type=int, default=256, help="sagas at once")
    given = parser.parse_args()
    set_up_logs("error")
    sys.exit(asyncio.run(compare(given.only, Load(given.in_flight, given.seconds))))


if __name__ == "__main__":
    main()
