"""How a map grows: the topology with the elements of its list, and whether there is room for them.

Pure functions from topology to topology. The shared one of a graph is never
changed; a saga whose map grows goes on with one of its own, in which every node
that was there has the number it had.
"""

from __future__ import annotations

import msgspec

from sagaline_server.core import limits
from sagaline_server.core.topology import Element, FlatNode, MapPlan, Source, Topology
from sagaline_server.core.values import Payload


def grow(topology: Topology, node: int, count: int) -> Topology:
    """Return the topology with the elements of a map node, which has not grown yet."""
    flat = topology.nodes[node]
    plan = flat.map
    assert plan is not None
    base, size = len(topology.nodes), len(plan.template.nodes)
    nodes = list(topology.nodes)
    index = dict(topology.index)
    elements = list(topology.elements)
    for number in range(count):
        first = base + number * size
        element = Element(node, number, first, first + size, first + plan.end)
        for inner in plan.template.nodes:
            index[f"{flat.name}[{number}]{inner.name}"] = len(nodes)
            nodes.append(_instance(inner, flat, plan, element, len(elements)))
        elements.append(element)
    new = range(base, len(nodes))
    roots = tuple(base + number * size + root for number in range(count) for root in plan.template.roots)
    ends = tuple(base + number * size + plan.end for number in range(count))
    nodes[node] = msgspec.structs.replace(flat, parents=flat.parents + ends)
    for parent in flat.parents:
        old = nodes[parent]
        nodes[parent] = msgspec.structs.replace(old, children=old.children + roots)
    order = list(topology.in_order())
    place = order.index(node)
    inner_order = [first + i for first in range(base, len(nodes), size) for i in plan.template.in_order()]
    order[place:place] = inner_order
    return msgspec.structs.replace(
        topology,
        nodes=tuple(nodes),
        index=index,
        committing=topology.committing + tuple(i for i in new if _commits(nodes[i])),
        signals=_signals(topology, plan, nodes, order),
        elements=tuple(elements),
        grown={**topology.grown, node: range(len(topology.elements), len(elements))},
        order=tuple(order),
    )


def room(topology: Topology, node: int, count: int) -> str:
    """Say why a map node can't grow by so many elements; empty: it can."""
    plan = topology.nodes[node].map
    assert plan is not None
    parents = len(topology.nodes[node].parents)
    added = count * len(plan.template.nodes)
    if len(topology.nodes) + added > limits.GRAPH_NODES:
        return (
            f"its {count} elements would be {added} nodes, and the saga has {len(topology.nodes)}; "
            f"it may have {limits.GRAPH_NODES}"
        )
    inside = sum(len(inner.parents) for inner in plan.template.nodes)
    edges = sum(len(flat.parents) for flat in topology.nodes) + count * (
        inside + 1 + parents * len(plan.template.roots)
    )
    if edges > limits.GRAPH_EDGES:
        return f"with its {count} elements the saga would have {edges} edges; it may have {limits.GRAPH_EDGES}"
    return ""


def members(topology: Topology, element: int) -> list[int]:
    """Return the nodes of an element, with those of the maps inside it."""
    found: list[int] = []
    left = [element]
    while left:
        one = topology.elements[left.pop()]
        found += range(one.first, one.last)
        left += [
            inner for node in range(one.first, one.last) if node in topology.grown for inner in topology.grown[node]
        ]
    return sorted(found)


def is_place(topology: Topology, name: str) -> bool:
    """True when a name is that of a node, or may be that of a node of an element that is still to come."""
    if name in topology.index:
        return True
    start = 0
    while (start := name.find("[", start)) > 0:
        node = topology.index.get(name[:start])
        number, closing, rest = name[start + 1 :].partition("]")
        plan = None if node is None or node in topology.grown else topology.nodes[node].map
        if plan is not None and closing and number.isdecimal():
            return is_place(plan.template, rest)
        start += 1
    return False


def _instance(inner: FlatNode, flat: FlatNode, plan: MapPlan, element: Element, number: int) -> FlatNode:
    """Return a node of a template as a node of an element."""
    base = element.first
    inputs = tuple((name, _placed(source, element)) for name, source in inner.inputs)
    selects = inner.selects
    if plan.item:
        inputs = (*flat.inputs, (plan.item, Source(element.map, item=element.number)))
        if plan.index:
            inputs += ((plan.index, Source(literal=Payload(json=str(element.number)))),)
        selects = flat.selects
    return msgspec.structs.replace(
        inner,
        is_plain=inner.is_plain and not selects,
        feeds_actions=False,  # the end of an element is more than its children's business
        follows_actions=False,
        name=f"{flat.name}[{element.number}]{inner.name}",
        parents=tuple(base + parent for parent in inner.parents) or flat.parents,
        children=tuple(base + child for child in inner.children) or (element.map,),
        inputs=inputs,
        value=None if inner.value is None else _placed(inner.value, element),
        items=None if inner.items is None else _placed(inner.items, element),
        selects=selects,
        element=number,
    )


def _placed(source: Source, element: Element) -> Source:
    if source.item is not None:
        return Source(element.map, path=source.path, item=element.number)
    if source.node is not None:
        return Source(element.first + source.node, path=source.path)
    return source


def _commits(flat: FlatNode) -> bool:
    return flat.action is not None and flat.action.commits


def _signals(topology: Topology, plan: MapPlan, nodes: list[FlatNode], order: list[int]) -> dict[str, tuple[int, ...]]:
    """Return the signal nodes by what they wait for, in topological order."""
    signals = dict(topology.signals)
    if plan.template.signals:
        for signal in plan.template.signals:
            signals[signal] = tuple(i for i in order if nodes[i].signal == signal)
    return signals
