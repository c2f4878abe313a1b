"""The gate: one question asked before every start of an action or undo action.

Its conditions are in the log, so they survive the owner. A condition holds a
start; a step lets one held start pass. What nothing holds takes no step.
"""

from __future__ import annotations

import enum

from sagaline_server.core import growth
from sagaline_server.core.entries import Breakpoint, Kind
from sagaline_server.core.state import Saga
from sagaline_server.core.topology import Topology

EVERY_NODE = "*"
"""In place of a breakpoint's node."""


class Verdict(enum.Enum):
    """The gate's answer."""

    GO = "go"
    HOLD = "hold"


def gate(saga: Saga, node: int, kind: Kind) -> Verdict:
    """Say whether one side of a node may start now."""
    if saga.quarantined is not None:
        return Verdict.HOLD
    return Verdict.HOLD if not saga.steps and is_held(saga, node, kind) else Verdict.GO


def holds_nothing(saga: Saga) -> bool:
    """True where there is nothing that could hold any node of a saga, or befall it."""
    return not saga.paused and not saga.breakpoints and not saga.faults and saga.quarantined is None


def is_held(saga: Saga, node: int, kind: Kind) -> bool:
    """True when one side of a node could start only with a step."""
    return saga.paused or breakpoint_at(saga, node, kind) is not None


def breakpoint_at(saga: Saga, node: int, kind: Kind) -> Breakpoint | None:
    """Return the first breakpoint that holds one side of a node; that of a subsaga or map holds every node in it."""
    if not saga.breakpoints:
        return None
    name = saga.topology.nodes[node].name
    for point in saga.breakpoints:
        if point.kind in (None, kind) and (
            point.node in (EVERY_NODE, name) or name.startswith((f"{point.node}/", f"{point.node}["))
        ):
            return point
    return None


def is_place(topology: Topology, name: str) -> bool:
    """True when a breakpoint can be set at a name."""
    return name == EVERY_NODE or growth.is_place(topology, name)
