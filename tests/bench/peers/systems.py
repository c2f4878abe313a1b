"""The peers: how each is set up, as its documentation advises where nothing may be lost, and loaded."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg

from tests.bench.load import pause
from tests.bench.peers import getting
from tests.bench.peers.getting import CannotBeHad
from tests.bench.peers.running import ENVIRONMENT, Load, Measured, measured, module, started
from tests.bench.peers.temporal_config import SHARDS, config_of, small_port
from tests.postgres_server import PostgresServer, PostgresUnavailable
from tests.processes import free_port

READY_SECONDS = 60.0
POLL_SECONDS = 0.2
SQLITE_IN_FLIGHT = 8
"""Of DBOS on SQLite: where it was fastest. With 256 it ended one saga in two seconds."""

Peer = Callable[[Load], Awaitable[Measured]]


@asynccontextmanager
async def scratch() -> AsyncIterator[Path]:
    """Lend a folder."""
    with tempfile.TemporaryDirectory(prefix="sagaline-peers-") as folder:
        yield Path(folder)


@asynccontextmanager
async def postgres() -> AsyncIterator[PostgresServer]:
    """Run a PostgreSQL that writes through to the disk at every commit, as it does by default.

    Raises:
        CannotBeHad: There is none.
    """
    try:
        server = await asyncio.to_thread(PostgresServer, durable=True)
    except PostgresUnavailable as error:
        raise CannotBeHad(str(error)) from error
    try:
        await asyncio.to_thread(server.start)
        yield server
    finally:
        await asyncio.to_thread(server.stop)


# ---- Restate


def restate(handler: str) -> Peer:
    """Restate: its server as one node, whose log is synced to the disk by default, and a service in Python."""

    async def measure(load: Load) -> Measured:
        server, python = await getting.restate_server(), await getting.python()
        ingress, admin, node, service = (free_port() for _ in range(4))
        async with scratch() as folder:
            environment = {
                "RESTATE_INGRESS__BIND_ADDRESS": f"127.0.0.1:{ingress}",
                "RESTATE_ADMIN__BIND_ADDRESS": f"127.0.0.1:{admin}",
                "RESTATE_BIND_ADDRESS": f"127.0.0.1:{node}",
                "RESTATE_LISTEN_MODE": "tcp",
                "RESTATE_LOG_FILTER": "error",
                "DO_NOT_TRACK": "1",
            }
            command = (str(server), "--base-dir", str(folder / "data"), "--node-name", "bench", "--no-logo")
            actions = (str(python), *module("restate_service"), f"127.0.0.1:{service}")
            async with (
                started("restate", *command, log=folder / "server.log", environment=environment) as sec,
                started("service", *actions, log=folder / "service.log", environment=ENVIRONMENT) as worker,
            ):
                await _registered(f"http://127.0.0.1:{admin}/deployments", f"http://127.0.0.1:{service}")
                program = (*module("restate_load"), f"http://127.0.0.1:{ingress}", handler)
                parts = {"server": sec.pid, "service": worker.pid}
                return await measured(parts, str(python), *program, str(load.in_flight), str(load.seconds))

    return measure


async def _registered(deployments: str, service: str) -> None:
    """Tell Restate of its service, as soon as both are there."""
    body = json.dumps({"uri": service}).encode()
    request = urllib.request.Request(deployments, body, {"content-type": "application/json"}, method="POST")

    def register() -> None:
        urllib.request.urlopen(request, timeout=READY_SECONDS).close()

    await _until(lambda: asyncio.to_thread(register), OSError)


async def _until(attempt: Callable[[], Awaitable[object]], not_yet: type[Exception]) -> None:
    """Try until it does not raise `not_yet`: what it speaks to has only just been started."""
    give_up = time.monotonic() + READY_SECONDS
    while True:
        try:
            await attempt()
        except not_yet:
            if time.monotonic() > give_up:
                raise
            await pause(POLL_SECONDS)
        else:
            return


# ---- DBOS


async def dbos_sqlite(load: Load) -> Measured:
    """DBOS on the SQLite that is its default; with many at once its transactions get in each other's way."""
    python = await getting.python()
    few = Load(min(load.in_flight, SQLITE_IN_FLIGHT), load.seconds)
    async with scratch() as folder:
        figures = await _dbos(python, f"sqlite:///{folder / 'dbos.sqlite'}", {}, few)
    figures.details["in_flight"] = few.in_flight
    return figures


async def dbos_postgres(load: Load) -> Measured:
    """DBOS on PostgreSQL, which it advises for production."""
    python = await getting.python()
    async with postgres() as database:
        return await _dbos(python, database.url, {"postgres": database.pid}, load)


async def _dbos(python: Path, url: str, parts: dict[str, int], load: Load) -> Measured:
    return await measured(parts, str(python), *module("dbos_load"), url, str(load.in_flight), str(load.seconds))


# ---- Temporal


async def temporal(load: Load) -> Measured:
    """Temporal: all services of its server in one process, on PostgreSQL, and a worker in Python."""
    server, tool = await getting.temporal_programs()
    python = await getting.python()
    async with postgres() as database, scratch() as folder:
        for name, schema in (("temporal", "temporal"), ("temporal_visibility", "visibility")):
            await asyncio.to_thread(_make_database, database, name)
            base = ("--plugin", "postgres12_pgx", "--ep", "127.0.0.1", "-p", str(database.port), "-u", "postgres")
            here = (str(tool), *base, "--db", name)
            await getting.run(*here, "setup-schema", "-v", "0.0")
            await getting.run(*here, "update-schema", "--schema-name", f"postgresql/v12/{schema}")
        address = f"127.0.0.1:{small_port()}"
        (folder / "config").mkdir()
        (folder / "config" / "bench.yaml").write_text(config_of(address, database.port))
        command = (str(server), "--root", str(folder), "--config", "config", "--env", "bench", "start")
        async with started("temporal", *command, log=folder / "server.log") as sec:
            load_of = (str(python), *module("temporal_load"), address)
            await _until(lambda: getting.run(*load_of, "0", "0", environment=ENVIRONMENT), CannotBeHad)  # its namespace
            actions = (str(python), *module("temporal_worker"), address)
            async with started("worker", *actions, log=folder / "worker.log", environment=ENVIRONMENT) as worker:
                parts = {"server": sec.pid, "worker": worker.pid, "postgres": database.pid}
                figures = await measured(parts, *load_of, str(load.in_flight), str(load.seconds))
        figures.details["history_shards"] = SHARDS
        return figures


def _make_database(server: PostgresServer, name: str) -> None:
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())


# ---- dtm


async def dtm(load: Load) -> Measured:
    """Say of dtm why it is not measured."""
    await getting.dtm()
    raise AssertionError("it says so by an error")


PEERS: dict[str, Peer] = {
    "restate.steps": restate("by_steps"),
    "restate.calls": restate("by_calls"),
    "dbos.sqlite": dbos_sqlite,
    "dbos.postgres": dbos_postgres,
    "temporal.postgres": temporal,
    "dtm": dtm,
}
