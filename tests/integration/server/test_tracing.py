"""Spans of sagas that real SECs run, as a collector gets them."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from urllib.request import urlopen

import grpc
import pytest
import trustme
from opentelemetry.proto.trace.v1 import trace_pb2

from sagaline import Action, Context, Failed, GraphBuilder, Retry, Worker, action
from sagaline.client import Client
from sagaline.errors import SagaUnwound
from sagaline.graph import Graph
from sagaline_server.core.entries import Kind
from sagaline_server.core.traces import saga_span_id, span_id
from tests.etcd_server import EtcdServer
from tests.integration.collector import collecting, told
from tests.integration.secs import ANY_PORT, SECONDS, SERVER, LoggedProcess, run, started

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = {"traceparent": f"00-{TRACE}-{CALLER}-01", "tracestate": "vendor=1"}
ERROR = trace_pb2.Status.STATUS_CODE_ERROR
SECRET = "4711"

seen: dict[str, Mapping[str, str]] = {}
"""The trace context that the last attempt of each action was given."""
go_on = asyncio.Event()
"""Holds `tracing.wait`."""
started_waiting = asyncio.Event()


@action("tracing.pay")
async def pay(context: Context, card: str) -> str:
    seen["pay"] = context.trace_context
    return f"receipt of {card}"


@pay.undo
async def refund(context: Context, card: str) -> None:
    seen["refund"] = context.trace_context
    if context.attempt == 1:
        raise Retry("Away", f"no word of {card}", timedelta(0))


@action("tracing.book")
async def book(receipt: str) -> str:
    return receipt


@book.undo
async def unbook(receipt: str) -> None:
    """Nothing was booked."""


@action("tracing.full")
async def full(context: Context, receipt: str) -> str:
    if context.attempt == 1:
        raise Retry("Busy", f"not yet, {receipt}", timedelta(0))
    raise Failed("SoldOut", f"no room for {receipt}")


@full.undo
async def unfull(receipt: str) -> None:
    """Nothing was booked."""


@action("tracing.wait")
async def wait(receipt: str) -> str:
    started_waiting.set()
    await go_on.wait()
    return receipt


@wait.undo
async def unwait(receipt: str) -> None:
    """Nothing was booked."""


def trip(last: Action[tuple[str], str]) -> Graph[str, str]:
    graph = GraphBuilder("trip", params=str)
    receipt = graph.add("pay", pay, graph.params)
    return graph.build(result=graph.add("book", last, receipt))


def sqlite(tmp_path: Path, endpoint: str, *more: str) -> tuple[str, ...]:
    where = ("--listen", ANY_PORT, "--data-dir", str(tmp_path / "data"), "--sec-id", "sec-1")
    return (*SERVER, *where, "--trace-endpoint", endpoint, *more)


@asynccontextmanager
async def working(*addresses: str) -> AsyncIterator[Client]:
    """Run a worker, and give a client."""
    where = ",".join(addresses)
    worker = Worker(where, actions=[pay, book, full, wait])
    running = asyncio.create_task(worker.run(handle_signals=False))
    try:
        async with Client(where) as client:
            yield client
    finally:
        worker.drain(timedelta(0))
        await running


async def end(sec: LoggedProcess) -> None:
    sec.signal(signal.SIGTERM)
    assert await sec.ended() == 0


def below(node: str, kind: Kind = Kind.ACTION, attempt: int = 1) -> dict[str, str]:
    """Return the trace context that names the span of an attempt of saga s-1 as the parent."""
    return SAMPLED | {"traceparent": f"00-{TRACE}-{span_id('s-1', node, kind, attempt).hex()}-01"}


async def test_a_saga_that_succeeds_is_a_span_below_its_callers(tmp_path: Path) -> None:
    async with collecting() as collector, started(*sqlite(tmp_path, collector.address)) as sec:
        async with working(await sec.address()) as client:
            await client.run(trip(book), SECRET, saga_id="s-1", trace_context=SAMPLED)
        spans = await collector.saga()
        await end(sec)
    assert set(spans) == {"saga trip", "action pay 1", "action book 1"}
    assert {span.trace_id.hex() for span in spans.values()} == {TRACE}
    assert {span.trace_state for span in spans.values()} == {"vendor=1"}
    saga, paid, booked = spans["saga trip"], spans["action pay 1"], spans["action book 1"]
    assert (saga.parent_span_id.hex(), saga.span_id) == (CALLER, saga_span_id("s-1"))
    assert (paid.parent_span_id, booked.parent_span_id) == (saga.span_id, saga.span_id)
    assert saga.start_time_unix_nano <= paid.start_time_unix_nano <= paid.end_time_unix_nano
    assert paid.end_time_unix_nano <= booked.end_time_unix_nano <= saga.end_time_unix_nano
    assert (saga.kind, paid.kind) == (trace_pb2.Span.SPAN_KIND_INTERNAL, trace_pb2.Span.SPAN_KIND_CLIENT)
    assert not any(span.HasField("status") for span in spans.values())
    assert told(saga)["sagaline.saga.state"] == "succeeded"
    assert told(booked)["sagaline.outcome"] == "succeeded"
    assert collector.resources[0]["service.name"] == "sagaline"
    assert collector.resources[0]["service.instance.id"] == "sec-1"
    assert seen["pay"] == below("pay")


async def test_a_saga_that_unwinds_tells_of_every_attempt(tmp_path: Path) -> None:
    async with collecting() as collector, started(*sqlite(tmp_path, collector.address)) as sec:
        async with working(await sec.address()) as client:
            with pytest.raises(SagaUnwound):
                await client.run(trip(full), SECRET, saga_id="s-1", trace_context=SAMPLED)
        spans = await collector.saga()
        await end(sec)
    problems = {name: (span.status.code == ERROR, told(span).get("error.type")) for name, span in spans.items()}
    assert problems == {
        "saga trip": (True, "SoldOut"),
        "action pay 1": (False, None),
        "action book 1": (True, "Busy"),
        "action book 2": (True, "SoldOut"),
        "undo pay 1": (True, "Away"),
        "undo pay 2": (False, None),
    }
    assert told(spans["saga trip"])["sagaline.saga.state"] == "unwound"
    assert seen["refund"] == below("pay", Kind.UNDO, 2)
    assert not any(SECRET.encode() in span.SerializeToString() for span in spans.values())


async def test_what_its_caller_does_not_sample_has_no_spans(tmp_path: Path) -> None:
    """A worker is told what the caller said, unchanged."""
    ignored = {"traceparent": f"00-{TRACE}-{CALLER}-00"}
    async with collecting() as collector, started(*sqlite(tmp_path, collector.address)) as sec:
        async with working(await sec.address()) as client:
            await client.run(trip(book), SECRET, saga_id="without")
            assert seen["pay"] == {}
            await client.run(trip(book), SECRET, saga_id="not-sampled", trace_context=ignored)
            assert seen["pay"] == ignored
        await end(sec)
    assert collector.spans == []


async def test_where_no_collector_is_named_the_trace_context_goes_on_as_it_is(tmp_path: Path) -> None:
    async with started(*sqlite(tmp_path, "")) as sec, working(await sec.address()) as client:
        await client.run(trip(book), SECRET, trace_context=SAMPLED)
    assert seen["pay"] == SAMPLED


async def test_spans_that_are_left_are_exported_before_the_end(tmp_path: Path) -> None:
    """The collector takes nothing at first: the export is tried again, and the SEC that stops waits for it."""
    async with collecting() as collector, started(*sqlite(tmp_path, collector.address)) as sec:
        collector.failures = [grpc.StatusCode.UNAVAILABLE] * 2
        async with working(await sec.address()) as client:
            await client.run(trip(book), SECRET, trace_context=SAMPLED)
        await end(sec)
        assert collector.failures == []
        assert len(collector.spans) == 3
    assert "spans_left" not in [line["event"] for line in sec.lines]


@pytest.fixture
def free() -> str:
    """An address that nobody serves on yet."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def nowhere() -> Iterator[str]:
    """An address that nobody serves on, and nobody else takes."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{held.getsockname()[1]}"


def metric(address: str, name: str) -> float:
    with urlopen(f"http://{address}/metrics", timeout=SECONDS) as answer:
        found = re.search(rf"^sagaline_{name}_total (\S+)$", answer.read().decode(), re.MULTILINE)
    assert found is not None
    return float(found[1])


async def test_a_collector_that_refuses_costs_no_saga_and_is_counted(tmp_path: Path, free: str) -> None:
    async with (
        collecting() as collector,
        started(*sqlite(tmp_path, collector.address, "--metrics-listen", free)) as sec,
    ):
        collector.failures = [grpc.StatusCode.PERMISSION_DENIED]
        async with working(await sec.address()) as client:
            assert await client.run(trip(book), SECRET, trace_context=SAMPLED)
            assert (await sec.logged("spans_not_taken"))["error"] == "PERMISSION_DENIED: not now"
            assert await asyncio.to_thread(metric, free, "spans_dropped") == 3
            assert await client.run(trip(book), SECRET, trace_context=SAMPLED)
            await collector.saga()
            await sec.logged("spans_taken_again")
        assert await asyncio.to_thread(metric, free, "spans_exported") == 3
        await end(sec)


async def test_a_collector_that_is_away_costs_no_saga_and_delays_no_end(tmp_path: Path, nowhere: str) -> None:
    async with started(*sqlite(tmp_path, nowhere)) as sec:
        async with working(await sec.address()) as client:
            for _ in range(3):
                assert await client.run(trip(book), SECRET, trace_context=SAMPLED)
        await end(sec)
    (left,) = [line for line in sec.lines if line["event"] == "spans_left"]
    assert left["spans"] + 3 * left["sagas"] == 9


async def test_a_collector_by_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    own = authority.issue_cert("localhost")
    pair = (own.private_key_pem.bytes(), own.cert_chain_pems[0].bytes())
    credentials = grpc.ssl_server_credentials([pair])
    async with collecting("localhost:0", credentials) as collector:
        command = sqlite(tmp_path, collector.address, "--trace-ca", str(tmp_path / "ca.pem"))
        async with started(*command) as sec, working(await sec.address()) as client:
            await client.run(trip(book), SECRET, trace_context=SAMPLED)
            assert len(await collector.saga()) == 3


@pytest.mark.etcd
async def test_a_new_owner_tells_of_the_attempts_of_the_old_one(
    etcd_server: EtcdServer, prefix: str, tmp_path: Path
) -> None:
    """One action has succeeded and one is in flight when their SEC is killed; the other SEC ends the saga."""
    store = ("--store", "etcd", "--etcd-endpoints", etcd_server.endpoint, "--etcd-prefix", prefix, "--lease-ttl", "2")
    async with collecting() as collector:
        common = (*SERVER, *store, "--listen", ANY_PORT, "--trace-endpoint", collector.address, "--sec-id")
        async with started(*common, "a", directory=tmp_path) as old, started(*common, "b", directory=tmp_path) as new:
            async with working(await old.address(), await new.address()) as client:
                creator = Client(await old.address())
                await creator.create(trip(wait), SECRET, saga_id="s-1", trace_context=SAMPLED)
                await creator.close()
                async with asyncio.timeout(SECONDS):
                    await started_waiting.wait()
                await old.stop()
                await new.logged("sagas_adopted")
                go_on.set()
                await client.wait("s-1")
            spans = await collector.saga()
    assert {"saga trip", "action pay 1", "action book 1"} <= set(spans)
    assert told(spans["action pay 1"])["sagaline.outcome"] == "succeeded"
    assert {resource["service.instance.id"] for resource in collector.resources} == {"b"}


async def test_what_is_missing_is_named(tmp_path: Path) -> None:
    """A SEC without the extra ends with the name of it; one that makes no spans does not miss it."""
    hidden = (
        "import sys; sys.modules['opentelemetry'] = None; from sagaline_server.app.main import main; sys.exit(main())"
    )
    data = ("--data-dir", str(tmp_path / "data"), "--listen", ANY_PORT)
    code, _, said = await run(sys.executable, "-c", hidden, *data, "--trace-endpoint", "localhost:4317")
    assert code == 2
    assert said.splitlines()[-1].startswith(
        "sagaline server: settings: trace_endpoint: spans need opentelemetry-proto;"
    )
    assert "sagaline-server[tracing]" in said
    async with started(sys.executable, "-c", hidden, *data) as sec:
        await sec.address()
        await end(sec)


async def test_a_certificate_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    code, _, said = await run(*sqlite(tmp_path, "localhost:4317", "--trace-ca", "nowhere.pem"))
    assert code == 2
    assert said.splitlines()[-1] == "sagaline server: settings: trace_ca nowhere.pem: No such file or directory"
