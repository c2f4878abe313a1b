"""The guard of access: every method is for some role, and a guarded stream ends like one that is not."""

from __future__ import annotations

import hashlib

import grpc
import pytest
from prometheus_client import CollectorRegistry

from sagaline.v1 import admin_service_pb2, saga_service_pb2, worker_service_pb2
from sagaline.v1.saga_service_pb2_grpc import SagaServiceStub
from sagaline_server.api.creation import CreationMaker
from sagaline_server.api.registration import add_services, interceptors
from sagaline_server.runtime.access import ADMIN, CLIENT, READ, READING, WORK, Access, Party, bearer, may_call
from tests.unit.api.conftest import counting_bytes
from tests.unit.api.fake_runtime import FakeRuntime, ManualClock
from tests.unit.api.specs import trip
from tests.unit.api.waiting import SECONDS, until

SERVICES = (
    saga_service_pb2.DESCRIPTOR.services_by_name["SagaService"],
    admin_service_pb2.DESCRIPTOR.services_by_name["AdminService"],
    worker_service_pb2.DESCRIPTOR.services_by_name["WorkerService"],
)
METHODS = [f"/{service.full_name}/{method.name}" for service in SERVICES for method in service.methods]


def party(*roles: str) -> Party:
    return Party(name="x", may=roles, token_sha256=hashlib.sha256(b"secret").hexdigest())


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_for_its_roles(method: str) -> None:
    service = method.split("/")[1].rpartition(".")[2]
    expected = {
        READ: method in READING,
        CLIENT: method in READING or service == "SagaService",
        WORK: service == "WorkerService",
        ADMIN: True,
    }
    assert {role: may_call(party(role), method) for role in expected} == expected


def test_what_is_called_reading_exists_and_changes_nothing() -> None:
    assert set(METHODS) >= READING
    verbs = ("Get", "List", "Count", "Watch", "Wait", "Explain")
    assert {method for method in METHODS if method.rpartition("/")[2].startswith(verbs)} == READING | {
        "/sagaline.v1.WorkerService/GetMembership"
    }


def test_only_a_bearer_s_word_is_a_token() -> None:
    assert [bearer(text) for text in ("Bearer a", "bearer  a ", "Basic a", "a", "")] == ["a", "a", "", "", ""]


async def test_a_watch_that_its_client_leaves_ends() -> None:
    clock = ManualClock()
    runtime = FakeRuntime(clock)
    maker = CreationMaker(clock, counting_bytes())
    await runtime.create([maker.make(trip("s1"), maker.moment())])
    guards = interceptors(CollectorRegistry(), clock, counting_bytes(), access=Access([party(READ)]))
    server = grpc.aio.server(interceptors=guards, options=[("grpc.so_reuseport", 0)])
    await add_services(server, runtime, clock, counting_bytes())
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        request = saga_service_pb2.WatchSagaRequest(saga_id="s1")
        shown = (("authorization", "Bearer secret"),)
        watch = SagaServiceStub(channel).WatchSaga(request, metadata=shown, timeout=SECONDS)
        frame = await watch.read()
        assert isinstance(frame, saga_service_pb2.WatchSagaResponse)
        assert runtime.watching == 1
        watch.cancel()
        await until(lambda: not runtime.watching)
    await server.stop(None)
