"""What is wrong with a request."""

from __future__ import annotations

import msgspec


class Problem(msgspec.Struct, frozen=True):
    """One thing wrong with a request."""

    field: str
    """Path of the field, e.g. "saga.graph.nodes[2].after[0]"."""
    reason: str
    """Stable code."""
    message: str
    """For people: what is wrong and what to do."""
    node: str = ""
    """Node it is about, if any."""
