"""The gate: one question asked before every start of an action or undo action.

A saga's own conditions are in its log, so they survive the owner. Breakpoints
on actions are the whole cluster's, and in no log: whoever runs a saga knows
them. A condition holds a start; a step lets one held start pass. What nothing
holds takes no step.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

import msgspec

from sagaline_server.core import growth
from sagaline_server.core.entries import Breakpoint, Kind
from sagaline_server.core.state import Saga
from sagaline_server.core.topology import Topology
from sagaline_server.core.transitions import NodeStatus

EVERY_NODE = "*"
"""In place of a breakpoint's node."""


class ActionPoint(msgspec.Struct, frozen=True):
    """A breakpoint on an action, in every saga."""

    kind: Kind | None = None
    """Which side of it; None: both."""
    actor: str = ""
    reason: str = ""


class ActionPoints(msgspec.Struct, frozen=True):
    """The breakpoints on actions, as the SEC that runs a saga knows them."""

    by_action: Mapping[str, ActionPoint]
    changed: float = 0.0
    """When they last became fewer, in seconds since 1970: what they held could not start sooner."""


NO_POINTS = ActionPoints({})


class Verdict(enum.Enum):
    """The gate's answer."""

    GO = "go"
    HOLD = "hold"


def gate(saga: Saga, node: int, kind: Kind, points: ActionPoints = NO_POINTS) -> Verdict:
    """Say whether one side of a node may start now."""
    if saga.quarantined is not None:
        return Verdict.HOLD
    if saga.steps or not (is_held(saga, node, kind) or action_point_at(saga, node, kind, points) is not None):
        return Verdict.GO
    return Verdict.HOLD


def holds_nothing(saga: Saga) -> bool:
    """True where there is nothing that could hold any node of a saga, or befall it."""
    return not saga.paused and not saga.breakpoints and not saga.faults and saga.quarantined is None


def is_held(saga: Saga, node: int, kind: Kind) -> bool:
    """True when one side of a node could start only with a step, by what the log says."""
    return saga.paused or breakpoint_at(saga, node, kind) is not None


def is_stepped(saga: Saga, node: int, kind: Kind, points: ActionPoints) -> bool:
    """True when a start uses up a step of which the log would not know unless the start said so."""
    return action_point_at(saga, node, kind, points) is not None and not is_held(saga, node, kind)


def action_point_at(saga: Saga, node: int, kind: Kind, points: ActionPoints) -> ActionPoint | None:
    """Return the breakpoint on its action that holds one side of a node."""
    action = saga.topology.nodes[node].action if points.by_action else None
    point = None if action is None else points.by_action.get(action.action)
    return point if point is not None and point.kind in (None, kind) else None


def may_stop(saga: Saga, points: ActionPoints) -> bool:
    """True when a breakpoint on an action may hold something of a saga, now or later."""
    if not points.by_action or saga.finished is not None:
        return False
    topology = saga.topology
    return any(
        (flat.map is not None and saga.statuses[node] == NodeStatus.PENDING)  # what its elements run is not looked into
        or any(action_point_at(saga, node, kind, points) is not None for kind in Kind)
        for node, flat in enumerate(topology.nodes)
    )


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
