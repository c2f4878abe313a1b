"""What the pages show, that nothing which sagas say breaks out of them, and that they stay live to the end."""

from __future__ import annotations

import asyncio
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest

from sagaline.v1 import admin_service_pb2, failure_pb2, log_pb2, payload_pb2, saga_pb2, worker_service_pb2
from sagaline_server.api.creation import CreationMaker
from sagaline_server.core.entries import Kind
from sagaline_server.runtime.requests import NotServing
from sagaline_server.web import pages
from sagaline_server.web.drawing import NODES_MAX, graph_svg, layers_of
from tests.unit.api.conftest import counting_bytes
from tests.unit.api.fake_runtime import NO_EFFECT
from tests.unit.api.specs import TRIP, trip
from tests.unit.api.waiting import until
from tests.unit.web.conftest import SECONDS, Browser

EVIL = "<script>alert(1)</script>\"'&\x1b[2J\u202e"
TAGS = {
    "html head meta title link script body header a nav form input main h1 h2 p div span table thead tbody tr th td",
    "dl dt dd code svg g rect path text",
}


async def create(browser: Browser, saga_id: str = "s1", **fields: object) -> None:
    maker = CreationMaker(browser.runtime.clock, counting_bytes())
    await browser.runtime.create([maker.make(trip(saga_id, **fields), maker.moment())])


class Tags(HTMLParser):
    """Notes which elements there are, and what scripts hold."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.handlers: list[str] = []
        self.scripts: list[str | None] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        if tag == "script":
            self.scripts.append(dict(attrs).get("src"))


def check_harmless(markup: str) -> None:
    tags = Tags()
    tags.feed(markup)
    assert tags.seen <= set(" ".join(TAGS).split())
    assert tags.handlers == []
    assert set(tags.scripts) <= {"/static/live.js"}
    assert "\x1b" not in markup
    assert "\u202e" not in markup


async def test_a_saga_with_its_graph_its_nodes_and_its_log(browser: Browser) -> None:
    await create(browser, labels={"team": "a"})
    browser.runtime.finish("s1", "pay")
    status, _, body = await browser.get("/sagas/s1")
    assert status == 200
    check_harmless(body)
    for part in ("trip.hotel", "team=a", "node succeeded", "attempt started", 'class="node succeeded"', "in flight"):
        assert part in body
    assert 'data-events="/sagas/s1/events"' in body


async def test_the_list_shows_what_is_unfinished_unless_told_otherwise(browser: Browser) -> None:
    await create(browser, "open")
    await create(browser, "ended")
    for node in TRIP:
        browser.runtime.finish("ended", node)
    _, _, body = await browser.get("/")
    assert "/sagas/open" in body
    assert "/sagas/ended" not in body
    _, _, body = await browser.get("/?show=all&graph=trip")
    assert "/sagas/ended" in body
    assert "None on this page" in (await browser.get("/?show=operator"))[2]
    assert (await browser.get("/?show=odd"))[0] == 404


async def test_a_list_goes_on_from_page_to_page(browser: Browser) -> None:
    for number in range(pages.PAGE_SIZE + 1):
        await create(browser, f"s{number:03}")
    _, _, body = await browser.get("/")
    assert f"after=s{pages.PAGE_SIZE - 1:03}" in body
    _, _, body = await browser.get(f"/?after=s{pages.PAGE_SIZE - 1:03}")
    assert f"/sagas/s{pages.PAGE_SIZE:03}" in body
    assert "more</a>" not in body


async def test_a_page_hears_of_every_change_until_the_saga_has_ended(browser: Browser) -> None:
    await create(browser)
    reader, writer = await asyncio.open_connection("127.0.0.1", browser.port)
    writer.write(f"GET /sagas/s1/events HTTP/1.1\r\nHost: localhost:{browser.port}\r\n\r\n".encode())
    async with asyncio.timeout(SECONDS):
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"text/event-stream" in head
        await reader.readuntil(b"retry: 2000\n\n")
        for node in TRIP:
            browser.runtime.finish("s1", node)
            assert b"event: changed" in await reader.readuntil(b"\n\n")
        assert await reader.read() == b"event: ended\ndata: \n\n"
    writer.close()


async def test_a_browser_that_goes_away_is_forgotten_though_nothing_happens(browser: Browser) -> None:
    """Else every page that was looked at would keep its place, until nobody could look at anything."""
    await create(browser)
    reader, writer = await asyncio.open_connection("127.0.0.1", browser.port)
    writer.write(f"GET /sagas/s1/events HTTP/1.1\r\nHost: localhost:{browser.port}\r\n\r\n".encode())
    async with asyncio.timeout(SECONDS):
        await reader.readuntil(b"retry: 2000\n\n")
        await until(lambda: browser.runtime.watching == 1)
        writer.close()
        await until(lambda: browser.runtime.watching == 0 and not browser.server._tasks)


async def test_secs_and_workers(browser: Browser) -> None:
    worker = admin_service_pb2.WorkerStatus(worker_id="w-1", identity=EVIL, connected=True)
    worker.actions.add(action="trip.pay")
    browser.runtime.worker_statuses = [worker]
    browser.runtime.other_secs = [worker_service_pb2.Sec(sec_id="sec-2", address="b:7070")]
    _, _, body = await browser.get("/secs")
    check_harmless(body)
    assert all(part in body for part in ("sec-2", "w-1", "trip.pay"))


async def test_what_is_not_there_and_what_cannot_be_had(browser: Browser) -> None:
    assert (await browser.get("/sagas/nobody"))[0] == 404
    assert (await browser.get("/sagas/a%2F..%2Fb"))[0] == 404
    assert (await browser.get("/nowhere"))[0] == 404
    assert (await browser.get("/static/../pages.py"))[0] == 404
    assert (await browser.get("/find?saga=%3Cscript%3E"))[0] == 404
    status, headers, _ = await browser.get("/find?saga=s1")
    assert (status, headers["location"]) == (303, "/sagas/s1")
    browser.runtime.trouble = NotServing("the store can't be reached; try again")
    status, _, body = await browser.get("/")
    assert status == 503
    assert "the store can&#x27;t be reached" in body
    browser.runtime.trouble = RuntimeError("a secret of the server")
    status, _, body = await browser.get("/")
    assert status == 500
    assert "secret" not in body


def evil_saga() -> saga_pb2.Saga:
    saga = saga_pb2.Saga(saga_id="s", graph_name=EVIL, failed_node=EVIL, owner=EVIL, state=saga_pb2.SAGA_STATE_STUCK)
    saga.needs_operator = True
    saga.labels[EVIL] = EVIL
    saga.scopes.append(EVIL)
    saga.failure.CopyFrom(failure_pb2.Failure(type=EVIL, message=EVIL))
    saga.params.CopyFrom(payload_pb2.Payload(json=EVIL))
    saga.output.CopyFrom(payload_pb2.Payload(data=b"x", encoding=EVIL))
    saga.nodes.add(name=EVIL, action=EVIL, kind=EVIL, waiting_for=EVIL, status=saga_pb2.NODE_STATUS_HELD)
    saga.nodes.add(name="b", parents=[EVIL], failure=failure_pb2.Failure(type=EVIL))
    return saga


def test_nothing_that_a_saga_says_becomes_markup() -> None:
    saga = evil_saga()
    wait = admin_service_pb2.NodeWait(node=EVIL, message=EVIL)
    entries = [log_pb2.LogEntry(seq=1), log_pb2.LogEntry(seq=2)]
    entries[0].node_failed.node = EVIL
    entries[0].node_failed.failure.message = EVIL
    entries[1].operator_resolved.node = EVIL
    entries[1].operator_resolved.reason = EVIL
    fragment = pages.saga_fragment(saga, [wait], entries, EVIL)
    check_harmless(pages.saga_page(saga, fragment).decode())
    check_harmless(pages.list_page([saga], "all", EVIL, EVIL).decode())
    check_harmless(pages.message_page(EVIL, EVIL).decode())
    ET.fromstring(graph_svg(saga.nodes))  # well-formed, so nothing of it ends where it should not


@pytest.mark.parametrize("field", [field.name for field in log_pb2.LogEntry.DESCRIPTOR.oneofs_by_name["entry"].fields])
def test_every_kind_of_entry_has_words(field: str) -> None:
    entry = log_pb2.LogEntry(seq=1)
    getattr(entry, field).SetInParent()
    assert pages.entry_cells(entry)[0] == field.replace("_", " ")
    assert pages.entry_cells(log_pb2.LogEntry()) == ("unknown entry", "")


def test_a_node_stands_to_the_right_of_all_that_it_needs() -> None:
    nodes = [
        saga_pb2.NodeView(name="a"),
        saga_pb2.NodeView(name="b", parents=["a"]),
        saga_pb2.NodeView(name="c", parents=["a", "b"]),
        saga_pb2.NodeView(name="d"),
    ]
    assert layers_of(nodes) == {"a": 0, "b": 1, "c": 2, "d": 0}
    assert graph_svg(nodes).count('class="edge"') == 3


def test_a_graph_that_nobody_could_read_is_not_drawn() -> None:
    many = [saga_pb2.NodeView(name=f"n{number}") for number in range(NODES_MAX + 1)]
    assert graph_svg(many) == ""
    saga = saga_pb2.Saga(saga_id="s", nodes=many * 4)
    fragment = pages.saga_fragment(saga, [], [], "")
    assert "are drawn" in fragment
    assert fragment.count("<tr>") <= pages.NODES_SHOWN + 1


async def test_a_saga_that_failed_says_so(browser: Browser) -> None:
    await create(browser)
    browser.runtime.finish("s1", "pay")
    browser.runtime.finish("s1", "hotel", NO_EFFECT)
    browser.runtime.finish("s1", "pay", kind=Kind.UNDO)
    _, _, body = await browser.get("/sagas/s1")
    assert "there is no room" in body
    assert "data-events" not in body
