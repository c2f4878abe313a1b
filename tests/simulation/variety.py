"""What graphs have beside their shape: drawn apart from it, and put into a graph that is there already."""

from __future__ import annotations

import random
from collections.abc import Container

from sagaline.v1 import saga_pb2
from tests.simulation.workload import ACTIONS, seconds

OUTPUT_SCHEMA = (
    '{"type":"object","properties":{"of":{"type":"string"},"list":{"type":"array","items":{"type":"integer"}}},'
    '"required":["of","list"]}'
)
"""What every action gives, see `World`."""
DRIFTED_SCHEMA = '{"type":"object","properties":{"of":{"type":"string"}},"required":["of"]}'
"""What a worker says of one of them."""


class Variety:
    """Changes graphs."""

    def __init__(self, chance: random.Random, features: Container[str]) -> None:
        """Draw from a stream of randomness of its own."""
        self._chance = chance
        self._features = features

    def put_into(self, graph: saga_pb2.Graph) -> None:
        """Change a graph in place. One with a pivot has its kinds of nodes for a reason, and keeps them."""
        has_types = self._chance.random() < 0.3
        is_free = not any(node.action.pivot for node in graph.nodes)
        self._put_into(graph, has_types=has_types, is_free=is_free, is_whole=True)

    def _put_into(self, graph: saga_pb2.Graph, *, has_types: bool, is_free: bool, is_whole: bool) -> None:
        actions = {node.name for node in graph.nodes if node.WhichOneof("kind") == "action"}
        for node in graph.nodes:
            sources = [name for name in node.after if name in actions]
            match node.WhichOneof("kind"):
                case "action":
                    self._change_action(node.action, has_types=has_types, is_free=is_free)
                case "subsaga":
                    if sources and self._chance.random() < 0.6:
                        node.subsaga.params.node = self._chance.choice(sources)
                    self._put_into(node.subsaga.graph, has_types=has_types, is_free=is_free, is_whole=False)
                case "map":
                    if sources and self._chance.random() < 0.5:
                        node.map.items.Clear()
                        node.map.items.node = self._chance.choice(sources)
                        node.map.items.path.append("list")
                    if is_whole and node.map.WhichOneof("each") == "subsaga" and self._chance.random() < 0.5:
                        self._nest(node.map.subsaga.graph)

    def _change_action(self, action: saga_pb2.ActionNode, *, has_types: bool, is_free: bool) -> None:
        chance = self._chance
        if has_types:
            action.output_type.json_schema = OUTPUT_SCHEMA
        if not is_free:
            return
        drawn = chance.random()
        if drawn < 0.06:
            action.undo.Clear()
            action.undo.kind = saga_pb2.UNDO_KIND_NONE
            if chance.random() < 0.5:
                action.undo.irreversible = saga_pb2.IRREVERSIBLE_POLICY_FORWARD_ONLY
        elif drawn < 0.10:
            action.retry.non_retryable_failure_types.append("sim.Trouble")
        elif drawn < 0.14:
            action.retry.total_timeout.CopyFrom(seconds(chance.uniform(2.0, 20.0)))

    def _nest(self, element: saga_pb2.Graph) -> None:
        """Let the second node of an element be a map over what the first one gives."""
        first, second = element.nodes
        second.map.items.node = first.name
        second.map.items.path.append("list")
        second.map.action.action = self._chance.choice(ACTIONS)
        second.map.max_failures = self._chance.choice((0, 0, 1))
