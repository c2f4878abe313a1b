"""Seconds as floats, and their messages."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

_NANOS = 1_000_000_000


def timestamp(seconds: float) -> Timestamp:
    """Return the message of a time in seconds since 1970."""
    whole = int(seconds // 1)
    return Timestamp(seconds=whole, nanos=min(int((seconds - whole) * _NANOS), _NANOS - 1))


def fill_timestamp(message: Timestamp, seconds: float) -> None:
    """Write a time in seconds since 1970 into an empty message."""
    whole = int(seconds // 1)
    message.seconds = whole
    message.nanos = min(int((seconds - whole) * _NANOS), _NANOS - 1)


def duration(seconds: float) -> Duration:
    """Return the message of a time span in seconds."""
    whole = int(seconds)
    return Duration(seconds=whole, nanos=int((seconds - whole) * _NANOS))


def to_seconds(message: Timestamp | Duration) -> float:
    """Return seconds, since 1970 for a Timestamp."""
    return message.seconds + message.nanos / _NANOS
