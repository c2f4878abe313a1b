"""A SEC from its start to its end, as operators and orchestrators see it: health, metrics, signals, exit codes."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from sagaline import errors
from sagaline.client import Client
from sagaline.v1 import worker_service_pb2
from sagaline.v1.worker_service_pb2_grpc import WorkerServiceStub
from tests.integration.secs import ANY_PORT, CLI, SECONDS, SERVER, run, started

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICES = ("", "sagaline.v1.SagaService", "sagaline.v1.AdminService", "sagaline.v1.WorkerService")


@pytest.fixture
def taken() -> Iterator[str]:
    """An address that somebody else serves on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def nowhere() -> str:
    """An address that nobody serves on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


def sqlite(tmp_path: Path, *more: str) -> tuple[str, ...]:
    return (*SERVER, "--listen", ANY_PORT, "--data-dir", str(tmp_path / "data"), *more)


# ---- start and end


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_in_order(tmp_path: Path, number: signal.Signals) -> None:
    async with started(*sqlite(tmp_path)) as sec:
        await sec.address()
        sec.signal(number)
        assert await sec.ended() == 0
    assert [line["event"] for line in sec.lines][-1] == "server_stopped"
    assert sec.words == []


@pytest.mark.parametrize("command", ["dev", "server"])
async def test_the_commands_start_a_real_one(tmp_path: Path, command: str) -> None:
    data = str(tmp_path / "data")
    options = (
        ("--listen", ANY_PORT, "--data-dir", data)
        if command == "dev"
        else ("--set", f"listen={ANY_PORT}", "--set", f"data_dir={data}")
    )
    async with started(*CLI, command, *options) as sec:
        address = await sec.address()
        code, out, _ = await run(*CLI, "list", "-o", "json", environment={"SAGALINE_ADDRESS": address})
        assert (code, out) == (0, "")
        code, out, _ = await run(*CLI, "admin", "secs", "--address", address)
        assert code == 0
        assert out.splitlines()[1].split()[1:5] == [address, "serving", "0", "0"]
        sec.signal(signal.SIGTERM)
        assert await sec.ended() == 0


async def test_dev_keeps_its_sagas_beside_the_program(tmp_path: Path) -> None:
    async with started(*CLI, "dev", "--listen", ANY_PORT, directory=tmp_path) as sec:
        await sec.address()
        assert (tmp_path / ".sagaline-dev").is_dir()


@pytest.mark.parametrize("what", ["listen", "metrics_listen"])
async def test_an_address_that_is_taken_is_named(tmp_path: Path, taken: str, what: str) -> None:
    addresses = {"listen": ANY_PORT} | {what: taken}
    given = [part for name, address in addresses.items() for part in ("--set", f"{name}={address}")]
    code, _, said = await run(*CLI, "server", *given, "--set", f"data_dir={tmp_path / 'data'}")
    assert code == 2
    assert f"can't serve {'metrics ' if what == 'metrics_listen' else ''}on {taken}" in said.splitlines()[-1]
    assert "Traceback" not in said


# ---- health


async def health(channel: grpc.aio.Channel) -> set[int]:
    """Return what is said of each service."""
    stub = health_pb2_grpc.HealthStub(channel)
    return {
        (await stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=SECONDS)).status for name in SERVICES
    }


async def until_listening(address: str) -> None:
    """Wait until connections are taken."""
    host, _, port = address.rpartition(":")
    async with asyncio.timeout(SECONDS):
        while True:
            try:
                _, writer = await asyncio.open_connection(host, int(port))
            except ConnectionError:
                await asyncio.sleep(0)
            else:
                writer.close()
                return


async def test_before_it_has_recovered_it_says_that_it_is_not_serving(nowhere: str) -> None:
    """Its store is away: it can be asked how it is, answers no more than that, and can be stopped."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    command = (*SERVER, "--listen", address, "--store", "etcd", "--etcd-endpoints", nowhere)
    async with started(*command) as sec, grpc.aio.insecure_channel(address) as channel:
        await until_listening(address)
        assert await health(channel) == {NOT_SERVING}
        async with Client(address, patience_s=0.0) as client:
            with pytest.raises(errors.Unavailable):
                await client.get("s")
        stream = WorkerServiceStub(channel).Connect()
        hello = worker_service_pb2.Hello(protocol_version=1, worker_id="w", stream_epoch=1)
        await stream.write(worker_service_pb2.ConnectRequest(hello=hello))
        assert await stream.code() is grpc.StatusCode.UNAVAILABLE
        sec.signal(signal.SIGTERM)
        assert await sec.ended() == 0
    assert "server_ready" not in [line["event"] for line in sec.lines]


async def test_from_its_drain_on_it_says_that_it_is_not_serving(tmp_path: Path) -> None:
    async with started(*sqlite(tmp_path)) as sec:
        address = await sec.address()
        async with grpc.aio.insecure_channel(address) as channel:
            assert await health(channel) == {SERVING}
            watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
            assert (await watch.read()).status == SERVING
            code, _, said = await run(*CLI, "admin", "drain", "--address", address)
            assert (code, said) == (0, "the SEC leaves\n")
            async with asyncio.timeout(SECONDS):
                assert (await watch.read()).status == NOT_SERVING
        assert await sec.ended() == 0


async def test_another_sec_than_this_one_is_not_drained(tmp_path: Path) -> None:
    async with started(*sqlite(tmp_path, "--sec-id", "sec-1")) as sec:
        address = await sec.address()
        code, _, said = await run(*CLI, "admin", "drain", "sec-9", "--address", address)
        assert code == 3
        assert "[SEC_NOT_FOUND]" in said
        code, _, said = await run(*CLI, "admin", "handoff", "s-1", "--address", address)
        assert code == 3
        assert "[SAGA_NOT_FOUND]" in said


# ---- metrics


async def test_metrics_are_served_where_they_are_asked_for(tmp_path: Path, nowhere: str) -> None:
    async with started(*sqlite(tmp_path, "--metrics-listen", nowhere)) as sec:
        address = await sec.address()
        async with Client(address) as client:
            with pytest.raises(errors.SagaNotFound):
                await client.get("s")
        # A call is counted once it has ended, which is a moment after its answer has arrived.
        async with asyncio.timeout(SECONDS):
            while not is_counted(text := await asyncio.to_thread(read, f"http://{nowhere}/metrics")):
                pass
    assert "sagaline_" in text


def is_counted(text: str) -> bool:
    handled = 'grpc_server_handled_total{grpc_code="NOT_FOUND",grpc_method="GetSaga"'
    return any(line.startswith(handled) and line.endswith(" 1.0") for line in text.splitlines())


def read(url: str) -> str:
    with urlopen(url, timeout=SECONDS) as response:
        body: bytes = response.read()
    return body.decode()
