"""`python -m tests.bench.retention`: what a finished saga costs etcd, before and after it is compacted."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from aetcd import rpc

from sagaline_server.app.system import SystemClock
from sagaline_server.ports.store import ListQuery
from sagaline_server.store.etcd.channel import EtcdChannel
from sagaline_server.store.etcd.keys import Keys, after, after_all
from sagaline_server.store.etcd.lineage import Lineage
from sagaline_server.store.etcd.options import EtcdOptions
from sagaline_server.store.etcd.store import EtcdStore
from tests.bench.load import ClosedLoop
from tests.bench.shapes import linear
from tests.bench.stand import start_etcd
from tests.processes import free_port, running, start, until_serving

SECONDS = 2.0
PAGE = 500


async def weigh_finished() -> dict[str, Any]:
    """Run sagas of three actions with payloads of 200 bytes, and weigh what is left of them."""
    with tempfile.TemporaryDirectory(prefix="sagaline-bench-") as scratch:
        endpoint, etcd = await start_etcd(Path(scratch) / "etcd")
        async with running(etcd):
            address = f"127.0.0.1:{free_port()}"
            settings = ("--listen", address, "--store", "etcd", "--etcd-endpoints", endpoint, "--log-level", "warning")
            sec = await start("sec", sys.executable, "-m", "sagaline_server", *settings)
            async with running(sec):
                await until_serving(address)
                worker = await start("worker", sys.executable, "-m", "tests.bench.actions", address, "100")
                async with running(worker):
                    sagas = (await ClosedLoop(address, linear(3), 16).run(SECONDS)).sagas
            return {"bench": "retention", "sagas": sagas, **await weigh(EtcdOptions(endpoints=(endpoint,)), sagas)}


async def weigh(options: EtcdOptions, sagas: int) -> dict[str, object]:
    """Return the bytes of keys and values for each saga: finished, compacted, removed."""
    store = EtcdStore(options, SystemClock())
    await store.open(sec_id="weigher", address="", version="")
    weights: dict[str, object] = {"finished": await weight(options, sagas)}
    for name, keep_summary in (("compacted", True), ("removed", False)):
        after_id = ""
        while heads := await store.list_heads(ListQuery(after_id, PAGE, unfinished=False)):
            await store.remove_finished([head.saga_id for head in heads], keep_summary=keep_summary)
            after_id = heads[-1].saga_id
        weights[name] = await weight(options, sagas)
    await store.close()
    return {"bytes_per_saga": weights}


async def weight(options: EtcdOptions, sagas: int) -> dict[str, float]:
    """Add up keys and values by kind."""
    channel, keys = EtcdChannel(options, Lineage()), Keys(options.prefix)
    kinds = {"record": keys.records, "log": keys.logs, "done": keys.dones, "owner": keys.owners}
    sums = {}
    for kind, start_key in kinds.items():
        total, key, more = 0, start_key, True
        while more:
            page = await channel.read(rpc.RangeRequest(key=key, range_end=after_all(start_key), limit=PAGE))
            total += sum(len(kv.key) + len(kv.value) for kv in page.kvs)
            more = page.more
            key = after(page.kvs[-1].key) if page.kvs else key
        sums[kind] = round(total / sagas, 1)
    await channel.close()
    return {**sums, "all": round(sum(sums.values()), 1)}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(weigh_finished())) + "\n")
