"""Draws a graph as text and in Graphviz' dot language.

It draws whatever it is given, also a graph that no SEC would accept, so that people can see what is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sagaline.cli.text import clean
from sagaline.v1 import saga_pb2

_NO_STATUSES: Mapping[str, str] = {}

_DOT_COLOURS = {
    "running": "lightblue",
    "retrying": "khaki",
    "held": "orange",
    "succeeded": "palegreen",
    "failed": "lightcoral",
    "in doubt": "orange",
    "undoing": "plum",
    "undo retrying": "plum",
    "undone": "lightgrey",
    "undo failed": "red",
    "abandoned": "white",
}


def parents_of(node: saga_pb2.Node) -> tuple[str, ...]:
    """Return the names of the nodes that `node` depends on, each once."""
    sources = [source for source in _sources(node) if source.WhichOneof("source") == "node"]
    return tuple(dict.fromkeys([*(source.node for source in sources), *node.after]))


def _sources(node: saga_pb2.Node) -> list[saga_pb2.InputSource]:
    kind = node.WhichOneof("kind")
    if kind == "action":
        return [node.action.inputs[name] for name in sorted(node.action.inputs)]
    if kind == "subsaga":
        return [node.subsaga.params]
    if kind == "map":
        inner = node.map.action.inputs
        return [node.map.items, *(inner[name] for name in sorted(inner)), node.map.subsaga.params]
    return []


def in_order(graph: saga_pb2.Graph) -> list[saga_pb2.Node]:
    """Return the nodes so that each comes after those it depends on; nodes of a cycle come last."""
    by_name = {node.name: node for node in graph.nodes}
    waiting = {name: by_name.keys() & parents_of(node) for name, node in by_name.items()}
    ordered: list[saga_pb2.Node] = []
    children: dict[str, list[saga_pb2.Node]] = {}
    for name, parents in waiting.items():
        for parent in parents:
            children.setdefault(parent, []).append(by_name[name])
    ready = [node for node in graph.nodes if not waiting[node.name]]
    placed: set[str] = set()
    for node in ready:
        if node.name in placed:
            continue
        placed.add(node.name)
        ordered.append(node)
        for child in children.get(node.name, []):
            waiting[child.name].discard(node.name)
            if not waiting[child.name]:
                ready.append(child)
    return [*ordered, *(node for node in graph.nodes if node.name not in placed)]


def kind_text(node: saga_pb2.Node) -> str:
    """Return what a node is, in a few words: "payments.charge@1", "delay 30s"."""
    kind = node.WhichOneof("kind")
    if kind == "action":
        return _action_text(node.action)
    if kind == "subsaga":
        return f"subsaga {clean(node.subsaga.graph.name)}"
    if kind == "map":
        each = node.map.WhichOneof("each")
        what = _action_text(node.map.action) if each == "action" else clean(node.map.subsaga.graph.name)
        return ", ".join([f"map {what}", *_map_marks(node.map)])
    if kind == "signal":
        return f"signal {clean(node.signal.signal or node.name)}"
    return kind or "?"


def _map_marks(body: saga_pb2.MapNode) -> list[str]:
    counts = ((body.max_concurrency, "at once"), (body.canary, "first"), (body.max_failures, "may fail"))
    return [f"{count} {what}" for count, what in counts if count]


def _action_text(action: saga_pb2.ActionNode) -> str:
    marks = [clean(f"{action.action}@{action.version or '1'}")]
    if action.pivot:
        marks.append("pivot")
    if action.undo.kind == saga_pb2.UNDO_KIND_NOOP:
        marks.append("nothing to undo")
    if action.undo.kind == saga_pb2.UNDO_KIND_NONE:
        marks.append("irreversible")
    return ", ".join(marks)


# ---- text ------------------------------------------------------------------------------------------------


def graph_text(graph: saga_pb2.Graph, statuses: Mapping[str, str] = _NO_STATUSES) -> str:
    """Return the graph as indented lines, one a node, in an order in which it could run."""
    rows = list(_rows(graph, statuses, prefix="", depth=1))
    width_name = max((len(row[0]) for row in rows), default=0)
    width_kind = max((len(row[1]) for row in rows), default=0)
    width_status = max((len(row[2]) for row in rows), default=0)
    lines = [clean(graph.name)]
    for name, kind, status, parents in rows:
        arrow = f"<- {parents}" if parents else ""
        cells = [f"{name:<{width_name}}", f"{kind:<{width_kind}}", f"{status:<{width_status}}", arrow]
        lines.append("  ".join(cell for cell in cells if cell).rstrip())
    return "\n".join(lines)


def _rows(
    graph: saga_pb2.Graph, statuses: Mapping[str, str], *, prefix: str, depth: int
) -> Iterator[tuple[str, str, str, str]]:
    for node in in_order(graph):
        path = prefix + node.name
        parents = ", ".join(clean(parent) for parent in parents_of(node))
        yield "  " * depth + clean(node.name), kind_text(node), statuses.get(path, ""), parents
        inner = _inner_graph(node)
        if inner is not None:
            yield from _rows(inner, statuses, prefix=f"{path}/", depth=depth + 1)


def _inner_graph(node: saga_pb2.Node) -> saga_pb2.Graph | None:
    if node.WhichOneof("kind") == "subsaga":
        return node.subsaga.graph
    if node.WhichOneof("kind") == "map" and node.map.WhichOneof("each") == "subsaga":
        return node.map.subsaga.graph
    return None


# ---- dot -------------------------------------------------------------------------------------------------


def graph_dot(graph: saga_pb2.Graph, statuses: Mapping[str, str] = _NO_STATUSES) -> str:
    """Return the graph in dot; a subsaga is a box around its nodes, and an edge to it ends at the box."""
    lines = [
        f"digraph {_quoted(graph.name)} {{",
        "  rankdir=LR; compound=true; fontname=Helvetica;",
        '  node [shape=box, style="rounded,filled", fillcolor=white, fontname=Helvetica];',
        *_dot_lines(graph, statuses, prefix="", indent="  "),
        "}",
    ]
    return "\n".join(lines)


def _dot_lines(graph: saga_pb2.Graph, statuses: Mapping[str, str], *, prefix: str, indent: str) -> Iterator[str]:
    nodes = {node.name: node for node in graph.nodes}
    for node in in_order(graph):
        path = prefix + node.name
        inner = _inner_graph(node)
        if inner is None:
            yield f"{indent}{_quoted(path)} [label={_label(node)}{_fill(statuses.get(path, ''))}];"
            continue
        yield f"{indent}subgraph {_quoted('cluster_' + path)} {{"
        yield f"{indent}  label={_label(node)};"
        # An edge needs a node to end at: every box holds a point of its own.
        yield f"{indent}  {_quoted(path)} [shape=point, style=invis];"
        yield from _dot_lines(inner, statuses, prefix=f"{path}/", indent=indent + "  ")
        yield f"{indent}}}"
    for node in graph.nodes:
        for parent in parents_of(node):
            yield f"{indent}{_edge(nodes.get(parent), prefix + parent, node, prefix + node.name)}"


def _edge(parent: saga_pb2.Node | None, parent_path: str, node: saga_pb2.Node, path: str) -> str:
    clips = []
    if parent is not None and _inner_graph(parent) is not None:
        clips.append(f"ltail={_quoted('cluster_' + parent_path)}")
    if _inner_graph(node) is not None:
        clips.append(f"lhead={_quoted('cluster_' + path)}")
    attributes = f" [{', '.join(clips)}]" if clips else ""
    return f"{_quoted(parent_path)} -> {_quoted(path)}{attributes};"


def _label(node: saga_pb2.Node) -> str:
    return _quoted(f"{clean(node.name)}\n{kind_text(node)}")


def _fill(status: str) -> str:
    return f", fillcolor={_DOT_COLOURS.get(status, 'white')}, tooltip={_quoted(status)}" if status else ""


def _quoted(text: str) -> str:
    lines = (clean(line).replace("\\", "\\\\").replace('"', '\\"') for line in text.split("\n"))
    return '"' + "\\n".join(lines) + '"'
