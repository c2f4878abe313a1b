"""Buffers of events: bounded, in order, and with a Resync in the place of whatever is not there."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from sagaline_server.ports.cluster import ClusterEvent, ControlGone, Resync, SecsChanged
from sagaline_server.store.feed import EventBuffer, LocalFeed, relay


def taken(buffer: EventBuffer) -> list[ClusterEvent]:
    events = []
    while (event := buffer.take()) is not None:
        events.append(event)
    return events


def gone(number: int) -> ControlGone:
    return ControlGone("s-1", str(number))


def test_a_buffer_keeps_the_order() -> None:
    buffer = EventBuffer()
    for number in range(5):
        buffer.put(gone(number))
    assert taken(buffer) == [gone(number) for number in range(5)]


def test_a_resync_takes_the_place_of_all_before_it_and_of_nothing_after_it() -> None:
    buffer = EventBuffer()
    for event in (gone(1), SecsChanged(), Resync(), gone(2), SecsChanged()):
        buffer.put(event)
    assert taken(buffer) == [Resync(), gone(2), SecsChanged()]


def test_of_changes_of_secs_that_wait_one_is_enough() -> None:
    buffer = EventBuffer()
    for event in (SecsChanged(), gone(1), SecsChanged()):
        buffer.put(event)
    assert taken(buffer) == [SecsChanged(), gone(1)]
    buffer.put(SecsChanged())
    assert taken(buffer) == [SecsChanged()]


events = st.one_of(st.builds(gone, st.integers(0, 99)), st.just(SecsChanged()), st.just(Resync()))


@given(st.lists(events, max_size=40), st.integers(1, 8))
def test_a_buffer_is_never_longer_than_it_may_be_and_loses_nothing_without_a_resync(
    given_events: list[ClusterEvent], events_max: int
) -> None:
    buffer = EventBuffer(events_max)
    for event in given_events:
        buffer.put(event)
    found = taken(buffer)

    assert len(found) <= events_max
    after = found[1:] if found[:1] == [Resync()] else found
    assert Resync() not in after
    expected = [event for event in given_events if isinstance(event, ControlGone)]
    kept = [event for event in after if isinstance(event, ControlGone)]
    assert kept == expected[len(expected) - len(kept) :]
    if after == found:
        assert kept == expected
        assert (SecsChanged() in found) == (SecsChanged() in given_events)


async def test_a_resync_comes_when_it_is_due_and_the_end_when_the_buffer_is_closed() -> None:
    buffer = EventBuffer()
    told = relay(buffer, 0.01)
    buffer.put(gone(1))
    assert [await anext(told), await anext(told), await anext(told)] == [gone(1), Resync(), Resync()]
    buffer.put(gone(2))
    buffer.close()
    assert [event async for event in told] == []


async def test_a_feed_forgets_who_does_not_watch_any_more() -> None:
    feed, buffer, changed = LocalFeed(), EventBuffer(), asyncio.Event()
    with feed.watching(buffer), feed.watching_log("s-1", changed), feed.watching_log("s-1", asyncio.Event()):
        feed.tell(gone(1))
        feed.tell_log("s-2")
        assert not changed.is_set()
        feed.tell_log("s-1")
        assert changed.is_set()
        changed.clear()
        feed.tell_lost()
        assert changed.is_set()
        assert taken(buffer) == [Resync()]
    feed.tell(gone(2))
    feed.tell_log("s-1")
    assert taken(buffer) == []
    assert feed._logs == {}
    assert feed._buffers == {}
