"""Logs in pages: every entry once and in order, whatever the size of pages and entries; and what has no log."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

import pytest

from sagaline_server.core.decide import SetPaused, Signal
from sagaline_server.core.entries import Stamped
from sagaline_server.core.values import Payload
from sagaline_server.runtime.recovery import Folder
from sagaline_server.runtime.requests import RequestRefused, SagaNotFound
from sagaline_server.runtime.runtime import LOG_PART_BATCHES, LOG_PART_BYTES, Runtime
from sagaline_server.store.memory import MemoryBackend
from sagaline_server.wire.entries import UnreadableLog, decode_log, decode_part
from tests.unit.ownership.fleet import PlayedSec, drawn_saga
from tests.unit.ownership.waiting import until

SAGA = "s"
CHANGES = 3 * LOG_PART_BATCHES


@pytest.fixture
async def sec() -> AsyncIterator[PlayedSec]:
    played = PlayedSec(MemoryBackend(), "sec-a")
    await played.open()
    yield played
    await played.close()


async def write(sec: PlayedSec, *orders: SetPaused | Signal) -> None:
    """Give orders to the saga, each in an append of its own."""
    for order in orders:
        before = sec.engine.sagas[SAGA].state.seq
        sec.engine.post(sec.engine.sagas[SAGA], order)
        await until(lambda before=before: sec.engine.sagas[SAGA].state.seq > before)  # type: ignore[misc]


async def long_saga(sec: PlayedSec) -> Runtime:
    await sec.create(drawn_saga(SAGA, random.Random(0)))
    await write(sec, *[SetPaused(number % 2 == 0) for number in range(CHANGES)])
    return Runtime(sec.engine, Folder())


async def pages(runtime: Runtime, size: int) -> list[list[Stamped]]:
    found, following = [], 1
    while following:
        page, following = await runtime.read_log(SAGA, following, size)
        found.append(page)
    return found


@pytest.mark.parametrize("size", [1, 7, LOG_PART_BATCHES, LOG_PART_BATCHES + 1, 1000])
async def test_pages_are_the_log(sec: PlayedSec, size: int) -> None:
    runtime = await long_saga(sec)
    stored = await sec.store.read(SAGA)
    assert stored is not None
    whole = decode_log(stored.batches)
    found = await pages(runtime, size)
    assert [stamped for page in found for stamped in page] == whole
    assert {len(page) for page in found[:-1]} <= {size}
    assert await runtime.read_log(SAGA, len(whole), 5) == (whole[-1:], 0)
    assert await runtime.read_log(SAGA, len(whole) + 1, 5) == ([], 0)


async def test_a_page_of_large_entries_is_smaller(sec: PlayedSec) -> None:
    """No more is read than an answer can hold, however many entries are asked for."""
    spec = drawn_saga(SAGA, random.Random(0))
    del spec.graph.nodes[:]
    for number in range(40):
        spec.graph.nodes.add(name=f"n{number}").signal.signal = "go"
    spec.start_paused = True
    await sec.create(spec)
    large = Payload(json='"' + "x" * 200_000 + '"')
    await write(sec, *[Signal("go", large, str(number)) for number in range(39)])
    found = await pages(Runtime(sec.engine, Folder()), 1000)
    assert len(found) > 1
    assert [stamped.seq for page in found for stamped in page] == list(range(1, sec.engine.sagas[SAGA].state.seq + 1))
    assert all(len(page) <= LOG_PART_BYTES // 200_000 + LOG_PART_BATCHES for page in found)


async def test_there_is_no_log_of_what_is_not_there_or_was_compacted(sec: PlayedSec) -> None:
    runtime = Runtime(sec.engine, Folder())
    with pytest.raises(SagaNotFound):
        await runtime.read_log("nobody", 1, 5)
    spec = drawn_saga(SAGA, random.Random(0))
    del spec.graph.nodes[:]
    spec.graph.nodes.add(name="c").constant.value.json = "1"
    await sec.create(spec)
    await until(lambda: SAGA not in sec.engine.sagas)
    stored = await sec.store.read(SAGA)
    assert stored is not None
    assert stored.done is not None
    await sec.store.remove_finished([SAGA], keep_summary=True, dones={SAGA: stored.done})
    with pytest.raises(RequestRefused, match="compacted"):
        await runtime.read_log(SAGA, 1, 5)


async def test_a_part_with_a_gap_is_no_log(sec: PlayedSec) -> None:
    await long_saga(sec)
    stored = await sec.store.read(SAGA)
    assert stored is not None
    batches = stored.batches
    for wrong, first in ((batches[1:], 1), ((batches[0], batches[2]), 1), ((batches[0], batches[0]), 1)):
        with pytest.raises(UnreadableLog, match="is missing"):
            decode_part(wrong, first)
    last = decode_log(batches)[-1]
    assert decode_part(batches[-1:], last.seq) == [last]
