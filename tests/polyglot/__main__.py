"""`make demo-polyglot`: pay in Java, hotel in Go, flight in TypeScript, car in Python; one of them is killed."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import psycopg
from psycopg import sql

from sagaline import Client, NewSaga
from sagaline.v1 import saga_pb2
from sagaline_examples.polyglot.graph import PolyglotTrip, polyglot_graph
from tests.bench.stand import start_etcd
from tests.polyglot.audit import violations
from tests.polyglot.crew import Member, crew, stand_in
from tests.postgres_server import PostgresServer
from tests.processes import Process, free_port, running, start, until_serving

LANGUAGES = 4
TROUBLES = ("", "", "", "slow", "confirm", "hotel", "", "flight", "car", "confirm", "pay", "")
"""What is to go wrong, saga by saga, round and round."""
KILLED = "hotel"
RUN_SECONDS = 240.0
SLOTS = "8"


def databases(server: PostgresServer, nodes: Sequence[str]) -> dict[str, str]:
    """Make one for each node; returns their URLs."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        for node in nodes:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(node)))
    return {node: server.url.rpartition("/")[0] + f"/{node}" for node in nodes}


def gather(*, may_stand_in: bool, nobody_else: bool) -> tuple[list[Member], int]:
    """Build every worker; returns the crew and how many languages are in it.

    Raises:
        SystemExit: A language is missing, and nobody may stand in for it.
    """
    members: list[Member] = []
    if nobody_else:
        return [stand_in(member.node) for member in crew()], 1
    for member in crew():
        print(f"{member.node:8} {member.language:12} building", flush=True)
        problem = member.problem()
        if problem:
            print(f"{member.node:8} {member.language:12} MISSING: {problem}", flush=True)
            if not may_stand_in:
                raise SystemExit(f"DEMO FAILED: no worker in {member.language}; --stand-in lets Python serve its node")
        members.append(stand_in(member.node) if problem else member)
    return members, len({member.language for member in members})


async def start_worker(member: Member, addresses: str, port: int, log: Path) -> Process:
    """Start the worker of a node, on its own database."""
    environment = {
        "SAGALINE_ADDRESS": addresses,
        "SAGALINE_SLOTS": SLOTS,
        "PGHOST": "127.0.0.1",
        "PGPORT": str(port),
        "PGUSER": "postgres",
        "PGDATABASE": member.node,
    }
    return await start(member.node, *member.command(), log=log, environment=environment)


async def start_secs(folder: Path, endpoint: str) -> tuple[list[Process], list[str]]:
    """Two of them, on one etcd."""
    addresses = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    secs = [
        await start(
            f"sec-{number}",
            *(sys.executable, "-m", "sagaline_server", "--sec-id", f"sec-{number}", "--listen", address),
            *("--advertise", address, "--store", "etcd", "--etcd-endpoints", endpoint, "--log-level", "warning"),
            log=folder / f"sec-{number}.log",
        )
        for number, address in enumerate(addresses, 1)
    ]
    return secs, addresses


async def tell_story(
    folder: Path, members: Sequence[Member], port: int, count: int
) -> Mapping[str, saga_pb2.SagaState.ValueType]:
    """Run the sagas, kill a worker among them, and return how each has ended."""
    states: dict[str, saga_pb2.SagaState.ValueType] = {}
    graph = polyglot_graph()
    async with AsyncExitStack() as stack:
        endpoint, etcd = await start_etcd(folder / "etcd")
        await stack.enter_async_context(running(etcd))
        secs, addresses = await start_secs(folder, endpoint)
        await stack.enter_async_context(running(*secs))
        for address in addresses:
            await until_serving(address)
        everywhere = ",".join(addresses)
        workers = {
            member.node: await start_worker(member, everywhere, port, folder / f"{member.node}.log")
            for member in members
        }
        await stack.enter_async_context(running(*workers.values()))
        news = [
            NewSaga(graph, PolyglotTrip(f"item-{number}", TROUBLES[number % len(TROUBLES)]), saga_id=f"trip-{number}")
            for number in range(count)
        ]
        clients = [await stack.enter_async_context(Client(address)) for address in addresses]

        async def run(client: Client, part: Sequence[NewSaga[str]]) -> None:
            async for ended in client.run_many(part, window=6):
                states[ended.new.saga_id] = ended.state
                print(f"{len(states):4} {ended.new.saga_id:10} {_word(ended.state)} {ended.failure or ''}", flush=True)
                if len(states) == count // 3:
                    print(f"     kill -9 of the worker of {KILLED}, and another one takes its place", flush=True)
                    workers[KILLED].signal(signal.SIGKILL)
                    await workers[KILLED].ended()
                    (member,) = (member for member in members if member.node == KILLED)
                    again = await start_worker(member, everywhere, port, folder / f"{KILLED}-2.log")
                    await stack.enter_async_context(running(again))

        async with asyncio.timeout(RUN_SECONDS), asyncio.TaskGroup() as runs:
            for number, client in enumerate(clients):
                runs.create_task(run(client, news[number :: len(clients)]))
    return states


def _word(state: saga_pb2.SagaState.ValueType) -> str:
    return saga_pb2.SagaState.Name(state).removeprefix("SAGA_STATE_").lower()


def main() -> int:
    """Return 0 only if every saga ended, all or nothing, in four languages (or as many as were asked for)."""
    parser = argparse.ArgumentParser(prog="make demo-polyglot")
    parser.add_argument("--sagas", type=int, default=60)
    parser.add_argument("--stand-in", action="store_true", help="let Python serve the nodes of missing languages")
    parser.add_argument("--all-stand-in", action="store_true", help="let Python serve all nodes; nothing is built")
    options = parser.parse_args()
    options.stand_in = options.stand_in or options.all_stand_in
    members, languages = gather(may_stand_in=options.stand_in, nobody_else=options.all_stand_in)
    server = PostgresServer()
    with tempfile.TemporaryDirectory(prefix="sagaline-polyglot-") as folder:
        try:
            server.start()
            urls = databases(server, [member.node for member in members])
            try:
                states = asyncio.run(tell_story(Path(folder), members, server.port, options.sagas))
            except Exception:
                for log in sorted(Path(folder).glob("*.log")):
                    print(f"--- {log.name}\n{log.read_text()[-2000:]}")
                raise
            of = {
                state: [saga for saga, ended in states.items() if ended == state]
                for state in (saga_pb2.SAGA_STATE_SUCCEEDED, saga_pb2.SAGA_STATE_UNWOUND)
            }
            succeeded, unwound = of.values()
            found = violations(urls, succeeded, unwound)
        finally:
            server.stop()
    for violation in found:
        print(f"VIOLATION: {violation}")
    counts = Counter(states.values())
    stuck = options.sagas - len(succeeded) - len(unwound)
    is_ok = not found and not stuck and bool(succeeded) and bool(unwound)
    is_ok = is_ok and (languages == LANGUAGES or options.stand_in)
    print(
        f"DEMO {'OK' if is_ok else 'FAILED'} sagas={options.sagas} succeeded={len(succeeded)} unwound={len(unwound)} "
        f"stuck={stuck} violations={len(found)} languages={languages}"
    )
    return 0 if is_ok and counts else 1


if __name__ == "__main__":
    sys.exit(main())
