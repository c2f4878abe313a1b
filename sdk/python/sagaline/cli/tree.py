"""Draws a saga as a tree: its nodes below it, those of a subsaga or a map below that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from rich.text import Text
from rich.tree import Tree

from sagaline.cli.output import STATUS_STYLES
from sagaline.cli.show import attempts_text, remark_text, state_text
from sagaline.cli.text import age_text, clean, enum_text, failure_text
from sagaline.v1 import saga_pb2

_GUIDE_CHARS = 4
"""Columns by which rich indents each level of a tree."""

_SETTLED = frozenset({saga_pb2.NODE_STATUS_SUCCEEDED, saga_pb2.NODE_STATUS_UNDONE, saga_pb2.NODE_STATUS_ABANDONED})


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a node is drawn."""

    node: saga_pb2.NodeView
    parent: str
    """Name of the node it is drawn below; empty for the saga."""
    label: str
    depth: int


def saga_tree(saga: saga_pb2.Saga, *, lines: int) -> Tree:
    """Return the tree of a saga in the FULL view.

    Args:
        saga: The saga.
        lines: Most nodes to draw. Where there are more, those at which something happens come first, and a last
            line counts the others.
    """
    tree = Tree(_heading(saga), guide_style="dim")
    places = _places(_chosen(saga.nodes, lines))
    width = max((place.depth * _GUIDE_CHARS + len(place.label) for place in places), default=0)
    branches = {"": tree}
    for place in places:
        line = _line(place, width - place.depth * _GUIDE_CHARS)
        branches[place.node.name] = branches[place.parent].add(line)
    hidden = _hidden_text(saga.nodes, {place.node.name for place in places})
    if hidden:
        tree.add(Text(hidden, style="dim"))
    return tree


def _chosen(nodes: Sequence[saga_pb2.NodeView], count: int) -> list[saga_pb2.NodeView]:
    """Return the nodes most worth a line, in their own order."""
    if len(nodes) <= count:
        return list(nodes)
    worth = sorted(range(len(nodes)), key=lambda index: (_rank(nodes[index]), index))
    return [nodes[index] for index in sorted(worth[:count])]


def _rank(node: saga_pb2.NodeView) -> int:
    if node.status == saga_pb2.NODE_STATUS_PENDING:
        return 1
    return 2 if node.status in _SETTLED else 0


def _places(nodes: Sequence[saga_pb2.NodeView]) -> list[_Place]:
    """Place each node below the innermost subsaga, element or map of its name that is drawn itself."""
    depths = {"": 0}
    places = []
    names = {node.name for node in nodes}
    for node in sorted(nodes, key=lambda node: node.name.count("/") + node.name.count("[")):
        parent = _drawn_parent(node.name, names)
        depths[node.name] = depths[parent] + 1
        label = clean(node.name.removeprefix(parent).removeprefix("/"))
        places.append(_Place(node, parent, label, depths[node.name]))
    return places


def _drawn_parent(name: str, drawn: Collection[str]) -> str:
    parent = _around(name)
    while parent and parent not in drawn:
        parent = _around(parent)
    return parent


def _around(name: str) -> str:
    """Return what a node is directly in: "fleet[3]" for "fleet[3]/boot", and for that "fleet"; empty: the saga."""
    return name[: max(name.rfind("/"), name.rfind("["), 0)]


def _heading(saga: saga_pb2.Saga) -> Text:
    state = enum_text(saga_pb2.SagaState.DESCRIPTOR, saga.state)
    finished = saga.finish_time if saga.HasField("finish_time") else None
    heading = Text.assemble(
        (clean(saga.graph_name), "bold"),
        f"  {clean(saga.saga_id)}  ",
        (state_text(saga), STATUS_STYLES.get(state, "")),
        f"  {age_text(saga.create_time, finished)}",
    )
    if saga.HasField("failure"):
        heading.append(f"  {failure_text(saga.failure)}", style="red")
    return heading


def _line(place: _Place, width: int) -> Text:
    node = place.node
    status = enum_text(saga_pb2.NodeStatus.DESCRIPTOR, node.status)
    attempts = f"attempt {attempts_text(node)}" if node.attempt > 1 or node.undo_attempt > 1 else ""
    remarks = "; ".join(part for part in (attempts, remark_text(node)) if part)
    line = Text(no_wrap=True, overflow="ellipsis")
    line.append(f"{place.label:<{width}}  ")
    line.append(f"{status:<13}", style=STATUS_STYLES.get(status, ""))
    line.append(f"  {clean(node.action or node.kind)}", style="dim")
    line.append(f"  {remarks}" if remarks else "")
    return line


def _hidden_text(nodes: Sequence[saga_pb2.NodeView], drawn: Collection[str]) -> str:
    counts = Counter(enum_text(saga_pb2.NodeStatus.DESCRIPTOR, node.status) for node in nodes if node.name not in drawn)
    return "and " + ", ".join(f"{count} {status}" for status, count in counts.most_common()) if counts else ""
