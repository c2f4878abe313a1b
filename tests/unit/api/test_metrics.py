"""Calls are counted under the standard names, with the codes that clients see."""

from __future__ import annotations

from sagaline.v1 import saga_service_pb2 as pb
from tests.unit.api.conftest import Served
from tests.unit.api.refusals import raw_call, refused
from tests.unit.api.specs import trip
from tests.unit.api.waiting import until

SERVICE = "sagaline.v1.SagaService"


def count(served: Served, name: str, kind: str, method: str, **labels: str) -> float:
    given = {"grpc_type": kind, "grpc_service": SERVICE, "grpc_method": method} | labels
    return served.registry.get_sample_value(name, given) or 0.0


async def test_unary_calls(served: Served) -> None:
    await served.sagas.CreateSaga(pb.CreateSagaRequest(saga=trip("s1")))
    await served.sagas.GetSaga(pb.GetSagaRequest(saga_id="s1"))
    await refused(served.sagas.GetSaga(pb.GetSagaRequest()))
    await refused(served.sagas.GetSaga(pb.GetSagaRequest(saga_id="s2")))
    served.runtime.trouble = ValueError()
    await refused(served.sagas.GetSaga(pb.GetSagaRequest(saga_id="s1")))
    served.runtime.trouble, served.runtime.hangs = None, True
    await refused(served.sagas.GetSaga(pb.GetSagaRequest(saga_id="s1")))
    # A call is counted once it has ended, which is a moment after its answer has arrived.
    await until(lambda: count(served, "grpc_server_handling_seconds_count", "unary", "GetSaga") == 5)
    assert count(served, "grpc_server_started_total", "unary", "GetSaga") == 5
    for code in ("OK", "INVALID_ARGUMENT", "NOT_FOUND", "INTERNAL", "DEADLINE_EXCEEDED"):
        assert count(served, "grpc_server_handled_total", "unary", "GetSaga", grpc_code=code) == 1


async def test_streams(served: Served) -> None:
    await served.sagas.CreateSaga(pb.CreateSagaRequest(saga=trip("s1")))
    stream = served.sagas.WatchSaga(pb.WatchSagaRequest(saga_id="s1"))
    await stream.read()
    stream.cancel()
    handled = ("grpc_server_handled_total", "server_stream", "WatchSaga")
    await until(lambda: count(served, *handled, grpc_code="CANCELLED") > 0)
    served.runtime.run_on()
    async for _ in served.sagas.WatchSaga(pb.WatchSagaRequest(saga_id="s1")):
        pass
    await refused(served.sagas.WatchSaga(pb.WatchSagaRequest()).read())
    run = served.sagas.RunSagas()
    await run.done_writing()
    await run.read()
    await until(lambda: count(served, "grpc_server_handling_seconds_count", "server_stream", "WatchSaga") == 3)
    await until(lambda: count(served, "grpc_server_handling_seconds_count", "bidi_stream", "RunSagas") == 1)
    assert count(served, "grpc_server_started_total", "server_stream", "WatchSaga") == 3
    for code in ("OK", "CANCELLED", "INVALID_ARGUMENT"):
        assert count(served, *handled, grpc_code=code) == 1
    assert count(served, "grpc_server_handled_total", "bidi_stream", "RunSagas", grpc_code="OK") == 1


async def test_methods_that_do_not_exist_make_no_series(served: Served) -> None:
    for number in range(5):
        await refused(raw_call(served, f"/sagaline.v1.SagaService/Nothing{number}", b""))
    names = {sample.labels.get("grpc_method") for metric in served.registry.collect() for sample in metric.samples}
    assert not any(name and name.startswith("Nothing") for name in names)
