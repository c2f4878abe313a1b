"""Reflection, v1 and v1alpha: a saga is created, watched and unwound by a tool that has no protos of ours."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2

from sagaline_server.core.entries import Kind
from tests.unit.api.conftest import Served
from tests.unit.api.fake_runtime import DONE

SECONDS = 30.0
BUF = shutil.which("buf", path=str(Path(sys.executable).parent)) or shutil.which("buf")
PROTOCOLS = ["grpc-v1", "grpc-v1alpha"]

needs_buf = pytest.mark.skipif(BUF is None, reason="buf is not installed: `make setup` installs it")

SAGA = {
    "sagaId": "hello-1",
    "graph": {
        "name": "hello",
        "nodes": [
            {"name": "greet", "action": {"action": "hello.greet", "inputs": {"name": {"params": {}}}}},
            {"name": "wave", "after": ["greet"], "action": {"action": "hello.wave"}},
        ],
    },
    "params": {"json": '"Ann"'},
}


class Curl:
    """`buf curl` against a server."""

    def __init__(self, served: Served, protocol: str) -> None:
        self._url = f"http://{served.address}"
        self._options = ("--http2-prior-knowledge", "--protocol", "grpc", "--reflect-protocol", protocol)

    async def begin(self, *arguments: str) -> asyncio.subprocess.Process:
        assert BUF is not None
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            BUF, "curl", *self._options, *arguments, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe
        )

    async def call(self, method: str, request: dict[str, Any]) -> asyncio.subprocess.Process:
        return await self.begin("-d", json.dumps(request), f"{self._url}/sagaline.v1.SagaService/{method}")

    async def answer(self, method: str, request: dict[str, Any]) -> Any:
        out, error, code = await finished(await self.call(method, request))
        assert code == 0, error
        return json.loads(out)

    async def lines(self, option: str) -> list[str]:
        out, error, code = await finished(await self.begin(option, self._url))
        assert code == 0, error
        return out.split()


async def finished(process: asyncio.subprocess.Process) -> tuple[str, str, int | None]:
    async with asyncio.timeout(SECONDS):
        out, error = await process.communicate()
    return out.decode(), error.decode(), process.returncode


@needs_buf
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_services_are_listed(served: Served, protocol: str) -> None:
    curl = Curl(served, protocol)
    services = await curl.lines("--list-services")
    assert {"sagaline.v1.SagaService", "sagaline.v1.AdminService", "grpc.health.v1.Health"} <= set(services)
    assert "sagaline.v1.SagaService/UnwindSaga" in await curl.lines("--list-methods")


@needs_buf
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_saga_lives_by_reflection_alone(served: Served, protocol: str) -> None:
    curl = Curl(served, protocol)
    created = await curl.answer("CreateSaga", {"saga": SAGA})
    assert created["saga"]["state"] == "SAGA_STATE_RUNNING"
    served.runtime.finish("hello-1", "greet")
    watch = await curl.call("WatchSaga", {"sagaId": "hello-1"})
    unwinding = await curl.answer("UnwindSaga", {"sagaId": "hello-1", "by": {"actor": "ann", "reason": "enough"}})
    assert unwinding["saga"]["state"] == "SAGA_STATE_UNWINDING"
    served.runtime.finish("hello-1", "wave")
    served.runtime.run_on(lambda _, kind: DONE if kind is Kind.UNDO else None)
    out, error, code = await finished(watch)
    assert code == 0, error
    assert "unwindRequested" in out
    assert '"SAGA_STATE_UNWOUND"' in out
    full = await curl.answer("GetSaga", {"sagaId": "hello-1"})
    assert [node["status"] for node in full["saga"]["nodes"]] == ["NODE_STATUS_UNDONE", "NODE_STATUS_UNDONE"]


@needs_buf
async def test_a_refusal_is_readable(served: Served) -> None:
    bad = SAGA | {"sagaId": "a/b"}
    _, error, code = await finished(await Curl(served, "grpc-v1").call("CreateSaga", {"saga": bad}))
    assert code
    assert "saga.saga_id: an id has" in error
    assert "google.rpc.BadRequest" in error


@pytest.mark.parametrize("service", ["grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"])
@pytest.mark.parametrize(
    "symbol", ["sagaline.v1.SagaService", "sagaline.v1.SagaService.UnwindSaga", "sagaline.v1.Saga"]
)
async def test_symbols_are_found(served: Served, service: str, symbol: str) -> None:
    answer = await asked(served, service, reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol))
    assert answer.file_descriptor_response.file_descriptor_proto


async def test_symbols_that_do_not_exist_are_not_found(served: Served) -> None:
    for symbol in ("sagaline.v1.Nothing", "sagaline.v1.SagaService.Nothing", ""):
        request = reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol)
        answer = await asked(served, "grpc.reflection.v1.ServerReflection", request)
        assert answer.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]


async def asked(served: Served, service: str, request: Any) -> Any:
    """Ask a reflection service one question."""

    async def questions() -> AsyncIterator[Any]:
        yield request

    stream = served.channel.stream_stream(
        f"/{service}/ServerReflectionInfo",
        reflection_pb2.ServerReflectionRequest.SerializeToString,
        reflection_pb2.ServerReflectionResponse.FromString,
    )(questions())
    return await stream.read()
