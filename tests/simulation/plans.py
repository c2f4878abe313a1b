"""What clients do with each saga: drawn before anything happens."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator

import msgspec

from sagaline.v1 import payload_pb2, saga_pb2
from sagaline_server.core.entries import Breakpoint, FaultKind, Kind
from sagaline_server.core.inputs import (
    InjectFault,
    Order,
    SetBreakpoints,
    SetPaused,
    SetQuarantined,
    Signal,
    Step,
    Unwind,
)
from sagaline_server.core.topology import flatten
from sagaline_server.wire.payloads import payload_from
from sagaline_server.wire.specs import graph_from
from tests.simulation.options import INJECTED, LIMITED, SET_ASIDE, VARIETY, Options
from tests.simulation.variety import Variety
from tests.simulation.workload import SCOPES, GraphMaker, make_spec

TEAMS = ("red", "blue")
"""Values of a label."""


class SagaPlan(msgspec.Struct, frozen=True):
    """What clients do with one saga. Times in seconds from the start, or from its creation."""

    spec: saga_pb2.SagaSpec
    start: float
    twin: str = ""
    """Whether it is created twice at the same time: with the "same" content, or with "other"."""
    watches: int = 0
    waits: bool = False
    unwind: float | None = None
    pause: tuple[float, float] | None = None
    hand_offs: tuple[float, ...] = ()
    signals: tuple[tuple[float, str], ...] = ()
    """When each is sent, and its name."""
    steps: tuple[float, float, float] | None = None
    """When a breakpoint is set at every node, when some starts are let pass, and when it is taken away."""
    points: tuple[tuple[float, tuple[Breakpoint, ...]], ...] = ()
    """When breakpoints are set, and where."""
    injections: tuple[tuple[float, InjectFault], ...] = ()
    aside: tuple[float, float] | None = None
    """When it is set aside, and when it is released."""

    @property
    def runs(self) -> bool:
        """Whether it is created and waited for in one call, again and again: every other one that is waited for."""
        return self.waits and zlib.crc32(self.spec.saga_id.encode()) % 2 == 1

    def orders(self) -> Iterator[tuple[float, Order]]:
        """Yield what is asked of the saga, and when."""
        if self.unwind is not None:
            yield self.unwind, Unwind(actor="client")
        if self.pause is not None:
            yield self.pause[0], SetPaused(True, "client")
            yield self.pause[1], SetPaused(False, "client")
        for at, signal in self.signals:
            yield at, Signal(signal, payload_from(payload_pb2.Payload(json='"signalled"')), f"request-{signal}")
        if self.steps is not None:
            yield self.steps[0], SetBreakpoints((Breakpoint("*"),), "client")
            yield self.steps[1], Step(2, "client")
            yield self.steps[2], SetBreakpoints((), "client")
        for at, points in self.points:
            yield at, SetBreakpoints(points, "client")
        yield from self.injections
        if self.aside is not None:
            yield self.aside[0], SetQuarantined(True, "client", "to look at it")
            yield self.aside[1], SetQuarantined(False, "client", "looked at")


class Planner:
    """Draws plans. What was added later has a stream of randomness of its own."""

    def __init__(self, options: Options) -> None:
        """Draw for these options."""
        self._options = options
        self._chance = self._stream("plans")
        self._scoping = self._stream("scopes")
        self._injecting = self._stream("injections")
        self._setting_aside = self._stream("quarantine")
        self._pointing = self._stream("points")
        self._variety = Variety(self._stream(VARIETY), options.features)
        self._graphs = GraphMaker(self._chance, options.nodes_max, options.features)

    def draw(self) -> list[SagaPlan]:
        """Draw what is done with each saga."""
        plans = [self._plan(f"saga-{number + 1}") for number in range(self._options.sagas)]
        return [self._steered(plan) for plan in plans]

    def _stream(self, what: str) -> random.Random:
        return random.Random(f"{what} {self._options.seed}")

    def _plan(self, saga_id: str) -> SagaPlan:
        options, chance, graphs = self._options, self._chance, self._graphs
        mischiefs, length = options.mischiefs, options.seconds
        held_at, break_at = chance.uniform(0.0, 20.0), chance.uniform(0.0, 5.0)
        graph = graphs.make()
        return SagaPlan(
            spec=make_spec(saga_id, graph, chance),
            start=chance.uniform(0.0, length * 0.6),
            twin=chance.choice(("", "", "same", "other")),
            watches=chance.choice((0, 0, 1, 2)),
            waits=chance.random() < 0.3,
            unwind=chance.uniform(0.0, 20.0) if "unwind" in mischiefs and chance.random() < 0.5 else None,
            pause=(held_at, held_at + chance.uniform(0.0, 20.0))
            if "pause saga" in mischiefs and chance.random() < 0.5
            else None,
            signals=tuple((chance.uniform(0.0, 20.0), signal) for signal in graphs.signals),
            steps=(break_at, break_at + 5.0 * chance.random(), break_at + 5.0 + 20.0 * chance.random())
            if "breakpoints" in options.features and chance.random() < 0.5
            else None,
            hand_offs=_times(chance, chance.choice((0, 0, 1, 3))) if options.secs > 1 else (),
        )

    def _steered(self, plan: SagaPlan) -> SagaPlan:
        """Add what is drawn apart."""
        features = self._options.features
        plan.spec.labels["team"] = TEAMS[zlib.crc32(plan.spec.saga_id.encode()) % len(TEAMS)]
        if VARIETY in features:
            self._variety.put_into(plan.spec.graph)
        if "breakpoints" in features and self._pointing.random() < 0.5:
            plan = msgspec.structs.replace(plan, points=tuple(self._points(plan.spec.graph)))
        if LIMITED in features:
            plan.spec.scopes.extend(self._scoping.sample(SCOPES, self._scoping.choice((0, 1, 1, 2))))
        if INJECTED in features and self._injecting.random() < 0.6:
            plan = msgspec.structs.replace(plan, injections=tuple(self._injections(plan.spec.graph)))
        if SET_ASIDE in features and self._setting_aside.random() < 0.6:
            at = 10.0 * self._setting_aside.random() ** 2
            plan = msgspec.structs.replace(plan, aside=(at, at + self._setting_aside.uniform(0.0, 30.0)))
        return plan

    def _points(self, graph: saga_pb2.Graph) -> Iterator[tuple[float, tuple[Breakpoint, ...]]]:
        """Draw breakpoints at some nodes, on one side or both, and when they are gone again."""
        chance = self._pointing
        names = [flat.name for flat in flatten(graph_from(graph), b"").nodes]
        at = 8.0 * chance.random() ** 2
        sides = (None, Kind.ACTION, Kind.UNDO)
        yield at, tuple(Breakpoint(chance.choice(names), chance.choice(sides)) for _ in range(chance.randint(1, 3)))
        yield at + 15.0 * chance.random(), ()

    def _injections(self, graph: saga_pb2.Graph) -> Iterator[tuple[float, InjectFault]]:
        """Draw faults, most of them early; a node of a map may not be there yet, or never."""
        chance = self._injecting
        flats = flatten(graph_from(graph), b"").nodes
        places = [flat for flat in flats if flat.action is not None or flat.map is not None]
        for _ in range(chance.randint(1, 4) if places else 0):
            flat = chance.choice(places)
            name = flat.name if flat.map is None else f"{flat.name}[{chance.randrange(2)}]"
            fault = InjectFault(name, chance.choice(list(FaultKind)), chance.choice((1, 1, 2, 3)), "client", "drawn")
            yield 20.0 * chance.random() ** 3, fault


def _times(chance: random.Random, count: int) -> tuple[float, ...]:
    """Draw some times, most of them early: a saga may be short."""
    return tuple(20.0 * chance.random() ** 3 for _ in range(count))
