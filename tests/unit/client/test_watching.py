"""A watch over broken streams."""

from __future__ import annotations

import pytest

from sagaline.client.watching import WatchCursor
from sagaline.errors import UnexpectedAnswer
from sagaline.v1 import saga_service_pb2
from tests.unit.client.samples import RUNNING, SUCCEEDED, UNWOUND, frame


def seqs(cursor: WatchCursor, *seqs_: int) -> list[int]:
    return [entry.seq for entry in cursor.receive(frame(*seqs_))]


def test_the_first_stream_begins_where_it_was_asked_to() -> None:
    assert WatchCursor("s").open().from_seq == 1
    assert WatchCursor("s", 5).open().from_seq == 5


def test_the_next_stream_begins_after_the_last_entry() -> None:
    cursor = WatchCursor("s")
    assert seqs(cursor, 1, 2) == [1, 2]
    assert seqs(cursor, 3) == [3]
    request = cursor.open()
    assert (request.saga_id, request.from_seq) == ("s", 4)


def test_entries_that_were_there_before_are_left_out() -> None:
    cursor = WatchCursor("s")
    seqs(cursor, 1, 2, 3)
    cursor.open()
    assert seqs(cursor, 2, 3, 4, 5) == [4, 5]


@pytest.mark.parametrize("gap", [(5,), (4, 6), (4, 5, 5), (4, 3, 5)])
def test_a_gap_is_refused_and_nothing_of_its_frame_counts(gap: tuple[int, ...]) -> None:
    cursor = WatchCursor("s", 4)
    if gap == (4, 3, 5):
        assert seqs(cursor, *gap) == [4, 5]  # 3 was there before, so this is whole
        return
    with pytest.raises(UnexpectedAnswer):
        cursor.receive(frame(*gap))
    assert cursor.open().from_seq == 4


@pytest.mark.parametrize(
    ("frames", "over"),
    [
        ([], True),
        ([frame(1, state=RUNNING)], False),
        ([frame(1, state=SUCCEEDED)], True),
        ([frame(state=UNWOUND)], True),
    ],
)
def test_a_stream_that_ends_ends_the_watch_unless_the_saga_was_still_going_on(
    frames: list[saga_service_pb2.WatchSagaResponse], over: bool
) -> None:
    cursor = WatchCursor("s")
    cursor.open()
    for each in frames:
        cursor.receive(each)
    assert cursor.is_over() is over


def test_a_later_stream_that_says_nothing_ends_the_watch() -> None:
    cursor = WatchCursor("s")
    cursor.open()
    cursor.receive(frame(1))
    assert not cursor.is_over()
    cursor.open()
    assert cursor.is_over()


def test_entries_are_numbered_from_1() -> None:
    with pytest.raises(ValueError, match="from 1"):
        WatchCursor("s", 0)
