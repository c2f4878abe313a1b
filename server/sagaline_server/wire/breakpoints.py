"""Breakpoints to and from their messages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from sagaline.v1 import log_pb2, saga_pb2
from sagaline_server.core.entries import Breakpoint, Kind


class _Sink(Protocol):
    """A repeated field of breakpoints."""

    def add(self) -> log_pb2.Breakpoint: ...


def breakpoints_from(messages: Iterable[log_pb2.Breakpoint]) -> tuple[Breakpoint, ...]:
    """Return breakpoints.

    Raises:
        ValueError: A side is of no known kind.
    """
    return tuple([Breakpoint(message.node, Kind(message.kind) if message.kind else None) for message in messages])


def fill_breakpoints(out: _Sink, breakpoints: Iterable[Breakpoint]) -> None:
    """Add the messages of breakpoints."""
    for point in breakpoints:
        message = out.add()
        message.node = point.node
        if point.kind is not None:
            message.kind = saga_pb2.InvocationKind.ValueType(point.kind)
