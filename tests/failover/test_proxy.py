"""The fault proxy does what it says, to the connections there are and to new ones."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from tests.failover.proxy import FaultProxy, Way

SECONDS = 5.0
QUIET_SECONDS = 0.2
"""How long to look before something counts as not arriving."""


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send back every line, until the other side ends."""
    try:
        while line := await reader.readline():
            writer.write(line)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.transport.abort()


@pytest.fixture
async def proxy() -> AsyncIterator[FaultProxy]:
    """A proxy before a server that echoes lines."""
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with FaultProxy(f"127.0.0.1:{port}") as proxy:
        yield proxy
    server.close()


class Line:
    """A client's connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, proxy: FaultProxy) -> Line:
        host, port = proxy.address.split(":")
        return cls(*await asyncio.open_connection(host, int(port)))

    def say(self, word: str) -> None:
        self.writer.write(f"{word}\n".encode())

    async def hear(self, seconds: float = SECONDS) -> str:
        async with asyncio.timeout(seconds):
            return (await self.reader.readline()).decode().strip()

    async def ask(self, word: str) -> str:
        self.say(word)
        return await self.hear()

    def close(self) -> None:
        self.writer.transport.abort()


async def test_it_carries_both_ways(proxy: FaultProxy) -> None:
    line = await Line.open(proxy)
    assert await line.ask("hello") == "hello"
    line.close()


@pytest.mark.parametrize("way", Way)
async def test_a_blocked_direction_says_nothing_and_loses_nothing(proxy: FaultProxy, way: Way) -> None:
    line = await Line.open(proxy)
    assert await line.ask("before") == "before"
    proxy.block(way)
    line.say("meanwhile")
    with pytest.raises(TimeoutError):
        await line.hear(QUIET_SECONDS)
    proxy.heal()
    assert await line.hear() == "meanwhile"
    line.close()


async def test_a_new_connection_is_blocked_too(proxy: FaultProxy) -> None:
    proxy.block(Way.DOWN)
    line = await Line.open(proxy)
    line.say("word")
    with pytest.raises(TimeoutError):
        await line.hear(QUIET_SECONDS)
    proxy.heal()
    assert await line.hear() == "word"
    line.close()


async def test_a_delay_holds_each_word_up_and_keeps_their_order(proxy: FaultProxy) -> None:
    line = await Line.open(proxy)
    assert await line.ask("before") == "before"
    proxy.delay(Way.UP, 0.2)
    began = asyncio.get_running_loop().time()
    line.say("one")
    line.say("two")
    assert [await line.hear(), await line.hear()] == ["one", "two"]
    assert 0.2 <= asyncio.get_running_loop().time() - began < SECONDS
    line.close()


async def test_a_cut_ends_what_is_there_and_takes_what_is_new(proxy: FaultProxy) -> None:
    line = await Line.open(proxy)
    assert await line.ask("before") == "before"
    proxy.cut()
    assert await line.hear() == ""
    line.close()
    again = await Line.open(proxy)
    assert await again.ask("again") == "again"
    again.close()


async def test_a_reset_is_one(proxy: FaultProxy) -> None:
    line = await Line.open(proxy)
    assert await line.ask("before") == "before"
    proxy.reset()
    with pytest.raises(ConnectionResetError):
        await line.hear()


async def test_one_connection_can_be_cut_alone(proxy: FaultProxy) -> None:
    first = await Line.open(proxy)
    assert await first.ask("first") == "first"
    (pair,) = proxy.pairs
    second = await Line.open(proxy)
    assert await second.ask("second") == "second"
    pair.cut()
    assert await first.hear() == ""
    first.close()
    assert await second.ask("still") == "still"
    second.close()


async def test_it_refuses_until_it_is_healed(proxy: FaultProxy) -> None:
    proxy.refuse()
    line = await Line.open(proxy)
    line.say("word")
    with contextlib.suppress(ConnectionResetError):
        assert await line.hear() == ""
    line.close()
    proxy.heal()
    again = await Line.open(proxy)
    assert await again.ask("again") == "again"
    again.close()


async def test_a_target_that_is_away_ends_the_connection() -> None:
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    async with FaultProxy(f"127.0.0.1:{port}") as proxy:
        line = await Line.open(proxy)
        assert await line.hear() == ""
        line.close()
