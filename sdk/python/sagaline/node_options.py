"""What may be said of a node beside its action and inputs, and what has to be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from sagaline.actions import Action
from sagaline.errors import FieldProblem
from sagaline.policies import RetryPolicy, Timeouts, UndoPolicy, UnknownPolicy, unknown_policy
from sagaline.refs import Ref
from sagaline.v1 import saga_pb2
from sagaline.values import type_spec


class NodeOptions(TypedDict, total=False):
    """Options of `GraphBuilder.add`; each may be left out."""

    after: Sequence[Ref[Any]]
    """Nodes that must have succeeded before this one starts, beside those whose output it takes."""
    retry: RetryPolicy
    """When an attempt is tried again."""
    undo: UndoPolicy
    """How the node is undone. Absent: by the action's undo action."""
    timeouts: Timeouts
    """Limits in time."""
    unknown: UnknownPolicy
    """What to do while the outcome stays unknown. Absent: try again, then undo."""
    pivot: bool
    """True: the point of no return. At most one in a graph."""


def set_policies(body: saga_pb2.ActionNode, options: NodeOptions) -> None:
    """Write the policies among the options into a node. The rest is not about the action."""
    if "retry" in options:
        body.retry.CopyFrom(options["retry"].to_proto())
    if "undo" in options:
        body.undo.CopyFrom(options["undo"].to_proto())
    if "timeouts" in options:
        body.timeouts.CopyFrom(options["timeouts"].to_proto())
    if "unknown" in options:
        body.unknown_policy = unknown_policy(options["unknown"])
    if options.get("pivot"):
        body.pivot = True


def declare_types(body: saga_pb2.ActionNode, action: Action[Any, Any]) -> None:
    """Write the types that an action declares into its node, so that every creation is checked against them."""
    for name, spec in action.input_specs().items():
        body.input_types[name].CopyFrom(spec)
    output = type_spec(action.output_type)
    if output is not None:
        body.output_type.CopyFrom(output)


def missing_undo(nodes: Mapping[str, Action[Any, Any]]) -> list[FieldProblem]:
    """Say which nodes are to be undone by the undo action of an action that has none."""
    return [
        FieldProblem(
            field="undo",
            reason="NO_UNDO",
            message=(
                f"action {action.name} has no undo action: decorate one with @{action.__name__}.undo, "
                "or say undo=UndoPolicy.noop() or UndoPolicy.none()"
            ),
            node=node,
        )
        for node, action in nodes.items()
        if action.backward is None
    ]
