"""Checks of single fields of requests. Each returns what is wrong; nothing at all when the field is right."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from sagaline.v1 import saga_pb2, saga_service_pb2
from sagaline_server.core import limits
from sagaline_server.core.validate import Problem
from sagaline_server.wire.times import to_seconds

NODE_PATH_CHARS = (limits.SUBSAGA_DEPTH + 1) * (limits.NODE_NAME_CHARS + 1)
"""Name of a node with the subsagas it is in."""
SEQ_MAX = 2**62
"""Sequence numbers stay far below; beyond it even adding to one could overflow."""
NANOS = 1_000_000_000
TIMESTAMP_SECONDS = (-62_135_596_800, 253_402_300_799)
"""Years 1 to 9999, as the well-known type says."""


def required(given: bool, field: str, what: str) -> list[Problem]:  # noqa: FBT001 - reads as a sentence
    """Demand a field."""
    return [] if given else [Problem(field, "REQUIRED", f"{what} is required")]


def at_most_bytes(text: str, limit: int, field: str) -> list[Problem]:
    """Bound a text."""
    size = len(text.encode())
    return [] if size <= limit else [Problem(field, "TOO_LONG", f"at most {limit} bytes are allowed; there are {size}")]


def at_most_chars(text: str, limit: int, field: str) -> list[Problem]:
    """Bound a name."""
    if len(text) <= limit:
        return []
    return [Problem(field, "TOO_LONG", f"at most {limit} characters are allowed; there are {len(text)}")]


def at_most_items(count: int, limit: int, field: str) -> list[Problem]:
    """Bound a list or map."""
    return [] if count <= limit else [Problem(field, "TOO_MANY", f"at most {limit} are allowed; there are {count}")]


def attribution(by: saga_service_pb2.Attribution) -> list[Problem]:
    """Check who asks and why."""
    return at_most_bytes(by.actor, limits.ACTOR_BYTES, "by.actor") + at_most_bytes(
        by.reason, limits.REASON_BYTES, "by.reason"
    )


def from_seq(seq: int) -> list[Problem]:
    """Check the number of the first entry wanted."""
    if 0 <= seq <= SEQ_MAX:
        return []
    return [Problem("from_seq", "OUT_OF_RANGE", f"entries are numbered from 1, and 0 means 1; this is {seq}")]


def page_size(size: int) -> list[Problem]:
    """Check a page size; a great one is not wrong, it is cut."""
    if size >= 0:
        return []
    return [Problem("page_size", "OUT_OF_RANGE", f"a page has 1 to {limits.PAGE_SIZE_MAX} items; this is {size}")]


def view(given: int) -> list[Problem]:
    """Check a view."""
    return known_value(given, frozenset(saga_pb2.SagaView.values()), "view")


def known_value(given: int, known: frozenset[int], field: str) -> list[Problem]:
    """Refuse numbers that the enum does not have, or that mean nothing here."""
    return [] if given in known else [Problem(field, "UNKNOWN_VALUE", f"{given} is no value that can be given here")]


def span(given: Duration, field: str, longest: float) -> list[Problem]:
    """Check a span of time between 0 and `longest` seconds."""
    well_formed = abs(given.nanos) < NANOS and given.seconds * given.nanos >= 0
    if well_formed and 0 <= to_seconds(given) <= longest:
        return []
    message = f"a span from 0 to {longest:g} s is allowed; this is {given.seconds} s and {given.nanos} ns"
    return [Problem(field, "OUT_OF_RANGE", message)]


def moment(given: Timestamp, field: str) -> list[Problem]:
    """Check a point in time."""
    low, high = TIMESTAMP_SECONDS
    if low <= given.seconds <= high and 0 <= given.nanos < NANOS:
        return []
    message = f"this is no time between the years 1 and 9999: {given.seconds} s and {given.nanos} ns since 1970"
    return [Problem(field, "OUT_OF_RANGE", message)]
