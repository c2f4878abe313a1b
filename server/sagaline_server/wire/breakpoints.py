"""Breakpoints to and from their messages, and what those on actions are stored as."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from sagaline.v1 import admin_service_pb2, log_pb2, saga_pb2
from sagaline_server.core.entries import Breakpoint, Kind
from sagaline_server.core.gate import ActionPoint

_POINT = "break:"
_KINDS = {int(kind): kind for kind in Kind}


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


def point_subject(action: str) -> str:
    """Return what a breakpoint on an action is on, as the store names it."""
    return f"{_POINT}{action}"


def is_of_point(subject: str) -> bool:
    """True for the subject of a breakpoint on an action."""
    return subject.startswith(_POINT)


def action_point_from(message: admin_service_pb2.ActionBreakpoint) -> ActionPoint:
    """Return a breakpoint on an action. A side that this release does not know is taken for both: nothing slips by."""
    return ActionPoint(_KINDS.get(message.kind), message.actor, message.reason)
