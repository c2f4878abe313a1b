"""Turns what sagas, workers and operators wrote into text that is safe to print.

Names, messages and outputs come from whoever may create a saga. Printed as they are they could move the
cursor, recolour the terminal or reverse the reading order, and rich would obey `[red]` in them; nothing of
theirs is printed unless it went through here.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime

from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from sagaline.v1 import failure_pb2, payload_pb2

SHOWN_CHARS_MAX = 400
"""Longest text of the user's that a line shows; the rest is cut, and the cut is marked."""

_MINUTE_S, _HOUR_S, _DAY_S = 60, 3_600, 86_400

_UNPRINTABLE = frozenset({"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"})


def clean(text: str, *, limit: int = SHOWN_CHARS_MAX) -> str:
    """Return `text` on one line, with control and format characters made visible as escapes."""
    cut = text if len(text) <= limit else text[:limit] + "…"
    if cut.isascii() and cut.isprintable():
        return cut
    return "".join(_visible(character) for character in cut)


def _visible(character: str) -> str:
    if unicodedata.category(character) not in _UNPRINTABLE:
        return character
    return character.encode("unicode_escape", "backslashreplace").decode("ascii")


def payload_text(payload: payload_pb2.Payload) -> str:
    """Return JSON as it is, and of anything else its size and encoding."""
    kind = payload.WhichOneof("value")
    if kind == "data":
        return f"<{len(payload.data)} bytes, {clean(payload.encoding)}>"
    return clean(payload.json) if kind == "json" else "null"


def failure_text(failure: failure_pb2.Failure) -> str:
    """Return "Type: message", or whichever of the two is there."""
    return ": ".join(clean(part) for part in (failure.type, failure.message) if part)


def time_text(stamp: Timestamp) -> str:
    """Return the time in UTC to the millisecond, as RFC 3339 writes it; "-" for a time no calendar has."""
    try:
        moment = stamp.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        return "-"
    return moment.isoformat(sep=" ", timespec="milliseconds").replace("+00:00", "Z")


def age_text(start: Timestamp, end: Timestamp | None) -> str:
    """Return how long from `start` to `end`, or to now where `end` is absent."""
    started_s = start.seconds + start.nanos / 1e9
    ended_s = end.seconds + end.nanos / 1e9 if end is not None else datetime.now(tz=UTC).timestamp()
    return seconds_text(max(0.0, ended_s - started_s))


def duration_text(duration: Duration) -> str:
    """Return a length of time in the unit that suits it."""
    return seconds_text(duration.seconds + duration.nanos / 1e9)


def seconds_text(seconds: float) -> str:
    """Return a length of time in the unit that suits it: "250ms", "3.2s", "12m05s", "7h30m", "4d02h"."""
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    if seconds < _MINUTE_S:
        return f"{seconds:.1f}s"
    if seconds < _HOUR_S:
        return "{}m{:02d}s".format(*divmod(int(seconds), _MINUTE_S))
    if seconds < _DAY_S:
        return "{}h{:02d}m".format(*divmod(int(seconds) // _MINUTE_S, 60))
    return "{}d{:02d}h".format(*divmod(int(seconds) // _HOUR_S, 24))


def enum_text(enum: EnumDescriptor, number: int) -> str:
    """Return the name of an enum value as people write it: "in doubt", "running"; or its number."""
    value = enum.values_by_number.get(number)
    if value is None:
        return str(number)
    prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", enum.name).upper() + "_"
    return value.name.removeprefix(prefix).lower().replace("_", " ")
