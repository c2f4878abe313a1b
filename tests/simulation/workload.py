"""What clients ask for: random graphs, and what is done to the sagas while they run."""

from __future__ import annotations

import random
from collections.abc import Callable, Container

from google.protobuf.duration_pb2 import Duration

from sagaline.v1 import admin_service_pb2, saga_pb2

ACTIONS = ("sim.a", "sim.b", "sim.c")
SCOPES = ("rack/1", "rack/2")
PARAMS = '{"of":"params","list":[3,4]}'


def seconds(value: float) -> Duration:
    """Return a duration."""
    duration = Duration()
    duration.FromNanoseconds(int(value * 1e9))
    return duration


class GraphMaker:
    """Draws graphs."""

    def __init__(self, chance: random.Random, nodes_max: int, features: Container[str] = ()) -> None:
        """Draw graphs of up to so many nodes, subsagas counted as one."""
        self._chance = chance
        self._nodes_max = nodes_max
        self._features = features
        self.signals: list[str] = []
        """Signals that nodes of the last graph wait for."""

    def make(self) -> saga_pb2.Graph:
        """Return a graph."""
        self.signals.clear()
        if "pivots" in self._features and self._chance.random() < 0.4:
            return self._with_pivot(self._chance.randint(2, self._nodes_max))
        shapes: tuple[Callable[[list[str], int], list[str]], ...] = (_line, _fan, _diamond, self._any, self._any)
        shape = self._chance.choice(shapes)
        return self._graph("sim", self._chance.randint(1, self._nodes_max), shape, depth=0)

    def _graph(
        self, name: str, count: int, shape: Callable[[list[str], int], list[str]], *, depth: int
    ) -> saga_pb2.Graph:
        graph = saga_pb2.Graph(name=name)
        names: list[str] = []
        for i in range(count):
            parents = shape(names, count)
            node = graph.nodes.add(name=f"n{i}", after=parents)
            self._fill(node, parents, depth)
            names.append(node.name)
        if self._chance.random() < 0.5:
            graph.result = self._chance.choice(names)
        return graph

    def _with_pivot(self, count: int) -> saga_pb2.Graph:
        """Return a line: what can be undone, the point of no return, and what is tried until it succeeds."""
        graph = saga_pb2.Graph(name="pivot")
        pivot = self._chance.randrange(count)
        for i in range(count):
            node = graph.nodes.add(name=f"n{i}", after=[f"n{i - 1}"] if i else [])
            self._fill_action(node.action, [])
            if i >= pivot:
                node.action.pivot = i == pivot
                node.action.undo.Clear()
                node.action.undo.kind = saga_pb2.UNDO_KIND_NONE
                node.action.inputs.clear()
            if i > pivot:
                node.action.retry.max_attempts = 0
        return graph

    def _any(self, names: list[str], count: int) -> list[str]:
        return [name for name in names[-4:] if self._chance.random() < 0.35]

    def _fill(self, node: saga_pb2.Node, parents: list[str], depth: int) -> None:
        drawn = self._chance.random()
        if drawn < 0.15 and self._fill_waiting(node):
            return
        if drawn < 0.08:
            node.constant.value.json = '{"of":"constant","list":[5]}'
        elif drawn < 0.18 and not depth:
            inner = self._graph("inner", self._chance.randint(1, 3), self._any, depth=1)
            node.subsaga.graph.CopyFrom(inner)
            node.subsaga.params.params.SetInParent()
        elif drawn < 0.26 and not depth and "maps" in self._features:
            self._fill_map(node.map, parents)
        else:
            self._fill_action(node.action, parents)

    def _fill_map(self, body: saga_pb2.MapNode, parents: list[str]) -> None:
        """Make it a map over the parameters' list, of actions or of two actions in a line."""
        chance = self._chance
        body.items.params.SetInParent()
        body.items.path.append("list" if chance.random() < 0.95 else "of")
        if chance.random() < 0.5:
            self._fill_action(body.action, parents)
        else:
            inner = body.subsaga.graph
            inner.name = "element"
            for i in range(2):
                node = inner.nodes.add(name=f"n{i}", after=[f"n{i - 1}"] if i else [])
                self._fill_action(node.action, [])
                node.action.inputs.clear()
        body.max_concurrency = chance.choice((0, 0, 1))
        body.canary = chance.choice((0, 0, 1))
        body.max_failures = chance.choice((0, 0, 1, 2))

    def _fill_waiting(self, node: saga_pb2.Node) -> bool:
        """Make it a node that waits, for a time or a signal; False where the run has none of those."""
        kinds = [kind for kind in ("delays", "signals") if kind in self._features]
        if not kinds:
            return False
        if self._chance.choice(kinds) == "delays":
            node.delay.duration.CopyFrom(seconds(self._chance.uniform(0.0, 5.0)))
            return True
        node.signal.signal = f"signal-{len(self.signals)}"
        if self._chance.random() < 0.3:
            node.signal.timeout.CopyFrom(seconds(20.0))
        self.signals.append(node.signal.signal)
        return True

    def _fill_action(self, action: saga_pb2.ActionNode, parents: list[str]) -> None:
        chance = self._chance
        action.action = chance.choice(ACTIONS)
        if parents and chance.random() < 0.5:
            source = action.inputs["given"]
            source.node = chance.choice(parents)
        elif chance.random() < 0.3:
            action.inputs["given"].params.SetInParent()
            action.inputs["given"].path.append("of")
        action.retry.max_attempts = chance.choice((1, 2, 3, 5, 5))
        action.retry.initial_backoff.CopyFrom(seconds(chance.choice((0.0, 0.1, 1.0))))
        action.retry.max_backoff.CopyFrom(seconds(5.0))
        if "timeouts" in self._features and chance.random() < 0.4:
            action.timeouts.start_to_close.CopyFrom(seconds(chance.uniform(0.5, 6.0)))
            if chance.random() < 0.3:
                action.timeouts.schedule_to_start.CopyFrom(seconds(chance.uniform(1.0, 30.0)))
            if chance.random() < 0.3:
                action.timeouts.heartbeat.CopyFrom(seconds(chance.uniform(1.0, 6.0)))
            if chance.random() < 0.3:
                action.undo.timeouts.start_to_close.CopyFrom(seconds(chance.uniform(0.5, 6.0)))
        if chance.random() < 0.1:
            action.unknown_policy = chance.choice((saga_pb2.UNKNOWN_POLICY_UNDO, saga_pb2.UNKNOWN_POLICY_HOLD))
        if chance.random() < 0.1:
            action.undo.kind = saga_pb2.UNDO_KIND_NOOP
        action.undo.retry.initial_backoff.CopyFrom(seconds(0.5))
        action.undo.retry.max_backoff.CopyFrom(seconds(5.0))
        if chance.random() < 0.15:
            action.undo.retry.max_attempts = chance.choice((1, 3))


def draw_limits(chance: random.Random, length: float) -> list[tuple[float, admin_service_pb2.Limit]]:
    """Draw when limits are set and lifted, and which. One that lets nothing start is raised again later."""
    changes = []
    for _ in range(chance.randint(1, 8)):
        at, limit = length * chance.random() ** 2, admin_service_pb2.Limit()
        is_lifted = chance.random() < 0.1
        if chance.random() < 0.5:
            limit.action = chance.choice(ACTIONS)
            if not is_lifted and chance.random() < 0.8:
                limit.max_in_flight = chance.choice((1, 1, 2, 5))
            if not is_lifted and chance.random() < 0.4:
                limit.starts_per_second = chance.choice((0.5, 2.0, 20.0))
        else:
            limit.scope = chance.choice(SCOPES)
            kinds = chance.choice(("running", "failing", "failing", "both"))
            if not is_lifted and kinds != "failing":
                limit.max_running = chance.choice((1, 1, 2))
            if not is_lifted and kinds != "running":  # alone, as a rule: where one runs at a time, few fail at once
                limit.max_failing = chance.choice((1, 1, 2))
        if chance.random() < 0.15:
            changes.append((at, _stop(limit)))
            at += chance.uniform(1.0, 15.0)
        changes.append((at, limit))
    return changes


def _stop(limit: admin_service_pb2.Limit) -> admin_service_pb2.Limit:
    """Return a limit on the same that lets nothing start."""
    if limit.HasField("action"):
        return admin_service_pb2.Limit(action=limit.action, max_in_flight=0)
    return admin_service_pb2.Limit(scope=limit.scope, max_running=0)


def _line(names: list[str], count: int) -> list[str]:
    return names[-1:]


def _fan(names: list[str], count: int) -> list[str]:
    """One before many before one."""
    if not names:
        return []
    return names[1:] if len(names) == count - 1 and count > 2 else names[:1]


def _diamond(names: list[str], count: int) -> list[str]:
    """One, two, one, two, ..."""
    if not names:
        return []
    place = len(names) % 3
    if place == 1:
        return names[-1:]
    return names[-2:-1] if place == 2 else names[-2:]


def make_spec(saga_id: str, graph: saga_pb2.Graph, chance: random.Random) -> saga_pb2.SagaSpec:
    """Return what a client asks to run."""
    spec = saga_pb2.SagaSpec(saga_id=saga_id, graph=graph)
    spec.params.json = PARAMS
    if chance.random() < 0.1:
        spec.start_paused = True
    if chance.random() < 0.1:
        spec.deadline.CopyFrom(seconds(chance.uniform(1.0, 60.0)))
    if chance.random() < 0.1:
        spec.start_delay.CopyFrom(seconds(chance.uniform(0.5, 20.0)))
    return spec
