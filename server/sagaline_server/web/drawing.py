"""Draws the nodes of a saga as SVG: in layers from left to right, coloured by their status."""

from __future__ import annotations

from collections.abc import Sequence

from sagaline.v1 import saga_pb2
from sagaline_server.web.markup import text

NODES_MAX = 300
"""A larger graph is a table only: nobody could read it."""

_WIDTH, _HEIGHT, _GAP_X, _GAP_Y, _MARGIN = 170, 40, 50, 16, 8
_NAME_CHARS = 22


def status_word(status: int) -> str:
    """Return the name of a node's status as people write it: "in doubt"."""
    return (
        saga_pb2.NodeStatus.Name(saga_pb2.NodeStatus.ValueType(status))[len("NODE_STATUS_") :].lower().replace("_", " ")
    )


def layers_of(nodes: Sequence[saga_pb2.NodeView]) -> dict[str, int]:
    """Return the layer of each node: one more than the highest of its parents'. Nodes come after their parents."""
    layers: dict[str, int] = {}
    for node in nodes:
        layers[node.name] = max((layers[parent] + 1 for parent in node.parents if parent in layers), default=0)
    return layers


def graph_svg(nodes: Sequence[saga_pb2.NodeView]) -> str:
    """Return the drawing; nothing for a graph that is too large or has no nodes."""
    if not nodes or len(nodes) > NODES_MAX:
        return ""
    layers = layers_of(nodes)
    rows: dict[int, int] = {}
    places: dict[str, tuple[int, int]] = {}
    for node in nodes:
        layer = layers[node.name]
        row = rows.get(layer, 0)
        rows[layer] = row + 1
        places[node.name] = (_MARGIN + layer * (_WIDTH + _GAP_X), _MARGIN + row * (_HEIGHT + _GAP_Y))
    width = 2 * _MARGIN + (max(layers.values()) + 1) * (_WIDTH + _GAP_X) - _GAP_X
    height = 2 * _MARGIN + max(rows.values()) * (_HEIGHT + _GAP_Y) - _GAP_Y
    edges = [_edge(places[parent], places[node.name]) for node in nodes for parent in node.parents if parent in places]
    boxes = [_box(node, *places[node.name]) for node in nodes]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img" aria-label="graph">{"".join(edges)}{"".join(boxes)}</svg>'
    )


def _edge(parent: tuple[int, int], child: tuple[int, int]) -> str:
    x1, y1 = parent[0] + _WIDTH, parent[1] + _HEIGHT // 2
    x2, y2 = child[0], child[1] + _HEIGHT // 2
    bend = max((x2 - x1) // 2, 20)
    return f'<path class="edge" d="M{x1} {y1}C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}"/>'


def _box(node: saga_pb2.NodeView, x: int, y: int) -> str:
    status = status_word(node.status)
    about = f"{node.name}: {status}" + (f"; {node.waiting_for}" if node.waiting_for else "")
    return (
        f'<g class="node {status.replace(" ", "-")}"><title>{text(about)}</title>'
        f'<rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="6"/>'
        f'<text x="{x + 10}" y="{y + 17}">{text(node.name, _NAME_CHARS)}</text>'
        f'<text class="small" x="{x + 10}" y="{y + 33}">{text(status)}</text></g>'
    )
