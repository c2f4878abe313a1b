"""As little HTTP as is needed, and all of it bounded: odd requests, other sites, too many at a time."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from sagaline_server.web import http
from sagaline_server.web.http import is_local_name, parse
from tests.unit.web.conftest import SECONDS, Browser


async def test_every_answer_forbids_what_other_sites_would_do(browser: Browser) -> None:
    for target in ("/", "/secs", "/sagas/x", "/static/style.css", "/static/live.js"):
        _, headers, _ = await browser.get(target)
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "CONNECT"])
async def test_nothing_can_be_changed(browser: Browser, method: str) -> None:
    status, _, body = await browser.send(f"{method} / HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert status == 405
    assert "only show" in body


async def test_a_head_has_no_body(browser: Browser) -> None:
    status, headers, body = await browser.send(b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert (status, body) == (200, "")
    assert int(headers["content-length"]) > 0


async def test_a_name_that_another_site_lets_lead_here_is_refused(browser: Browser) -> None:
    assert (await browser.get("/", host="evil.example"))[0] == 421
    assert (await browser.get("/", host="127.0.0.1"))[0] == 200
    assert (await browser.send(b"GET / HTTP/1.1\r\n\r\n"))[0] == 421


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("localhost:80", True),
        ("LOCALHOST", True),
        ("127.0.0.1:80", True),
        ("[::1]:80", True),
        ("[::1]", True),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example:80", False),
        ("", False),
    ],
)
def test_names_of_this_host(host: str, local: bool) -> None:
    assert is_local_name(host) == local


@pytest.mark.parametrize(
    "head",
    [b"", b"GET /", b"GET / HTTP/2", b"GET http://x/ HTTP/1.1", b"GET / HTTP/1.1\r\nno colon", b"GET //[ HTTP/1.1"],
)
async def test_what_is_no_request(browser: Browser, head: bytes) -> None:
    assert (await browser.send(head + b"\r\n\r\n"))[0] == 400


async def test_a_request_that_is_too_large(browser: Browser) -> None:
    assert (await browser.send(b"GET / HTTP/1.1\r\nX: " + b"x" * (2 * http.HEAD_BYTES_MAX) + b"\r\n\r\n"))[0] == 431


def test_paths_are_cut_before_they_are_decoded() -> None:
    _, request = parse(b"GET /sagas/a%2Fb?x=1&x=2&y=%C3%A4 HTTP/1.1\r\nA: b")
    assert request.path == ("sagas", "a/b")
    assert request.query == {"x": "2", "y": "ä"}
    assert request.headers == {"a": "b"}


async def test_connections_beyond_the_most_are_turned_away(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(http, "CONNECTIONS_MAX", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", browser.port)
        async with asyncio.timeout(SECONDS):
            with contextlib.suppress(ConnectionError):  # either way it has ended without an answer
                assert await reader.read() == b""
        writer.close()
    assert (await browser.get("/"))[0] == 200
