"""W3C trace context: the caller's span that a saga was created under, and the ids of the spans below it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

import msgspec

from sagaline_server.core.entries import Kind

TRACEPARENT, TRACESTATE = "traceparent", "tracestate"
"""Keys of a saga's trace context."""

SAMPLED = 0x01
KNOWN_FLAGS = 0x03
"""Sampled, and that the trace id is random: what a later version means by others can't be passed on."""

_TRACEPARENT = re.compile(r"(?P<version>[0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?P<more>-.*)?")
_NO_VERSION = "ff"


class TraceParent(msgspec.Struct, frozen=True, gc=False):
    """A span of the caller's, as `traceparent` and `tracestate` name it."""

    trace_id: bytes
    """16 bytes."""
    span_id: bytes
    """8 bytes."""
    flags: int
    state: str = ""
    """What tracing systems tell each other; not looked at."""

    def below(self, span_id: bytes) -> str:
        """Return the `traceparent` of what is below another span of the trace."""
        return f"00-{self.trace_id.hex()}-{span_id.hex()}-{self.flags:02x}"


def sampled_parent(trace_context: Mapping[str, str]) -> TraceParent | None:
    """Return the caller's span; None where there is none, it can't be read, or the caller does not sample it."""
    found = _TRACEPARENT.fullmatch(trace_context.get(TRACEPARENT, ""))
    if found is None or found["version"] == _NO_VERSION or (found["version"] == "00" and found["more"]):
        return None
    trace_id, span_id, flags = bytes.fromhex(found[2]), bytes.fromhex(found[3]), int(found[4], 16)
    if not any(trace_id) or not any(span_id) or not flags & SAMPLED:
        return None
    return TraceParent(trace_id, span_id, flags & KNOWN_FLAGS, trace_context.get(TRACESTATE, ""))


def span_id(saga_id: str, node: str, kind: Kind, attempt: int) -> bytes:
    """Return the id of an attempt's span: the same whoever computes it, before the attempt and after the saga."""
    return _id(f"{saga_id}\n{node}\n{kind.name}\n{attempt}")


def saga_span_id(saga_id: str) -> bytes:
    """Return the id of a saga's own span."""
    return _id(saga_id)


def _id(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()[:8]
