"""The gate: one question asked before every start of an action or undo action."""

from __future__ import annotations

import enum

from sagaline_server.core.entries import Kind
from sagaline_server.core.state import Saga


class Verdict(enum.Enum):
    """The gate's answer."""

    GO = "go"
    HOLD = "hold"


def gate(saga: Saga, node: int, kind: Kind) -> Verdict:  # noqa: ARG001 - breakpoints ask about node and side
    """Say whether one side of a node may start now. Its conditions are in the log, so they survive the owner."""
    return Verdict.HOLD if saga.paused else Verdict.GO
