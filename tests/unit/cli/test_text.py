"""What others wrote is made safe to print; lengths of time, ages and enums are made readable."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from sagaline.cli.durations import moment, parse_seconds
from sagaline.cli.text import (
    SHOWN_CHARS_MAX,
    age_text,
    clean,
    enum_text,
    failure_text,
    payload_text,
    seconds_text,
    time_text,
)
from sagaline.v1 import failure_pb2, log_pb2, payload_pb2, saga_pb2


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("[red]no markup[/red]", "[red]no markup[/red]"),
        ("Füße 東京 🚗", "Füße 東京 🚗"),
        ("two\nlines\ttab", "two\\nlines\\ttab"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("\x9b2J", "\\x9b2J"),
        ("abc\u202edef\u2066", "abc\\u202edef\\u2066"),
        ("a\u2028b\u2029c", "a\\u2028b\\u2029c"),
        ("\ufeff\u200b", "\\ufeff\\u200b"),
        ("\ue000\U000f0000", "\\ue000\\U000f0000"),
        ("\ud800", "\\ud800"),
    ],
)
def test_nothing_that_steers_a_terminal_gets_through(text: str, shown: str) -> None:
    assert clean(text) == shown


def test_long_text_is_cut_and_the_cut_is_marked() -> None:
    assert clean("x" * SHOWN_CHARS_MAX) == "x" * SHOWN_CHARS_MAX
    assert clean("x" * 10, limit=4) == "xxxx…"


@pytest.mark.parametrize(
    ("payload", "shown"),
    [
        (payload_pb2.Payload(), "null"),
        (payload_pb2.Payload(json='{"a":"\x1b"}'), '{"a":"\\x1b"}'),
        (payload_pb2.Payload(data=b"123", encoding="binary/protobuf"), "<3 bytes, binary/protobuf>"),
    ],
)
def test_payloads(payload: payload_pb2.Payload, shown: str) -> None:
    assert payload_text(payload) == shown


@pytest.mark.parametrize(
    ("failure", "shown"),
    [
        (failure_pb2.Failure(type="Full", message="no\nroom"), "Full: no\\nroom"),
        (failure_pb2.Failure(type="Full"), "Full"),
        (failure_pb2.Failure(), ""),
    ],
)
def test_failures(failure: failure_pb2.Failure, shown: str) -> None:
    assert failure_text(failure) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0ms"),
        (0.25, "250ms"),
        (3.2, "3.2s"),
        (59.9, "59.9s"),
        (60, "1m00s"),
        (725, "12m05s"),
        (27_000, "7h30m"),
        (353_000, "4d02h"),
    ],
)
def test_lengths_of_time(seconds: float, shown: str) -> None:
    assert seconds_text(seconds) == shown


def test_times_and_ages() -> None:
    start, end = Timestamp(seconds=1_767_225_600), Timestamp(seconds=1_767_225_603, nanos=200_000_000)
    assert time_text(start) == "2026-01-01 00:00:00.000Z"
    assert time_text(Timestamp(seconds=10**15)) == "-"
    assert age_text(start, end) == "3.2s"
    assert age_text(end, start) == "0ms"  # clocks of two machines may disagree
    assert age_text(Timestamp(), None).endswith("h")


def test_enums_are_words_and_unknown_values_numbers() -> None:
    assert enum_text(saga_pb2.NodeStatus.DESCRIPTOR, saga_pb2.NODE_STATUS_IN_DOUBT) == "in doubt"
    assert enum_text(log_pb2.UndoneHow.DESCRIPTOR, log_pb2.UNDONE_HOW_NOOP) == "noop"
    assert enum_text(saga_pb2.SagaState.DESCRIPTOR, 99) == "99"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250ms", 0.25),
        ("30s", 30),
        ("1h30m", 5_400),
        ("1.5m", 90),
        ("2d", 172_800),
        ("7", 7),
        ("0.5", 0.5),
        ("", None),
        ("s", None),
        ("-1s", None),
        ("1x", None),
        ("1s ", None),
        ("1e3s", None),
        ("soon", None),
    ],
)
def test_reading_lengths_of_time(text: str, seconds: float | None) -> None:
    assert parse_seconds(text) == seconds


def test_times_are_said_or_are_so_long_ago() -> None:
    assert moment("2026-11-24T10:30") == datetime(2026, 11, 24, 10, 30, tzinfo=UTC)
    assert moment("2026-11-24T10:30+01:00") == datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
    assert moment("2026-11-24") == datetime(2026, 11, 24, tzinfo=UTC)
    before = datetime.now(UTC)
    assert before - timedelta(hours=2) <= moment("2h") <= datetime.now(UTC) - timedelta(hours=2)
    for wrong in ("", "soon", "12", "2026-13-01", "9999999d"):
        with pytest.raises(click.BadParameter):
            moment(wrong)
