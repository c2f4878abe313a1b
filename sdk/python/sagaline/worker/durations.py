"""Durations of the wire as seconds, and back. The messages' own helpers overflow on what a peer may send."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration


def seconds_of(duration: Duration) -> float:
    """Any duration, also one out of range, as seconds."""
    return duration.seconds + duration.nanos / 1e9


def duration_of(seconds: float) -> Duration:
    """Seconds as a duration, to the microsecond."""
    whole, micros = divmod(round(seconds * 1e6), 1_000_000)
    return Duration(seconds=whole, nanos=micros * 1000)
