"""admin health: what each SEC says, and an exit code that a probe understands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from tests.unit.cli.conftest import Sagaline

Status = health_pb2.HealthCheckResponse


@pytest.fixture
def probed() -> Iterator[tuple[str, health.HealthServicer]]:
    """A server that says what it is told to, and its address."""
    server = grpc.server(ThreadPoolExecutor(max_workers=2), options=[("grpc.so_reuseport", 0)])
    servicer = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}", servicer
    server.stop(None).wait(10)


def test_a_sec_that_serves(sagaline_offline: Sagaline, probed: tuple[str, health.HealthServicer]) -> None:
    address, servicer = probed
    servicer.set("", Status.SERVING)
    result = sagaline_offline("admin", "health", "--address", address, "--timeout", "30s")
    assert (result.exit_code, result.stdout.split()) == (0, ["ADDRESS", "STATE", address, "SERVING"])


def test_one_of_several_that_does_not(sagaline_offline: Sagaline, probed: tuple[str, health.HealthServicer]) -> None:
    address, servicer = probed
    servicer.set("", Status.NOT_SERVING)
    result = sagaline_offline(
        "admin", "health", "--address", f"{address},127.0.0.1:1", "--timeout", "30s", "-o", "json"
    )
    assert result.exit_code == 5
    assert [json.loads(line)["state"] for line in result.stdout.splitlines()] == ["NOT_SERVING", "UNAVAILABLE"]


def test_what_is_no_address(sagaline_offline: Sagaline) -> None:
    result = sagaline_offline("admin", "health", "--address", "nowhere")
    assert (result.exit_code, "give HOST:PORT" in result.stderr) == (2, True)
