"""Undo is never starved: one that may start, and for which a worker has room, does not wait for anything else."""

from __future__ import annotations

from sagaline_server.core.entries import Kind
from sagaline_server.core.gate import Verdict, gate
from sagaline_server.runtime.engine import SagaEngine
from sagaline_server.runtime.live import LiveSaga
from tests.simulation.checkers.checker import Checker
from tests.simulation.clocks import WALL_STEP_SECONDS
from tests.simulation.scene import Scene

Side = tuple[str, str, int]
"""Process, saga and node."""


class UndoGoesOn(Checker):
    """What waits at one look for no reason may be about to start; what waits at the next one, too, is starved."""

    name = "undo goes on"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._waited: set[Side] = set()
        self._wall_jumps = 2 * WALL_STEP_SECONDS if "wall jumps" in scene.options.faults else 0.0
        """A time that is due by the wall clock may still be to come by the one that times are waited for on."""

    def looked(self) -> None:
        waiting = set(self._waiting())
        for process, saga_id, node in sorted(waiting & self._waited):
            self.fail(f"{process} has room for the undo of node {node} of {saga_id}, and does not start it")
        self._waited = waiting

    def _waiting(self) -> list[Side]:
        found = []
        for sec, engine in self.scene.engines():
            if not engine.is_serving:
                continue
            for live in engine.sagas.values():
                if not (live.is_writing or live.is_leaving or live.inbox or live.claim is None):
                    # Not by the engine's own time: asking for it from outside its loop would change it.
                    nodes = _held_back(engine, live, sec.process.host.clock.wall() - self._wall_jumps)
                    found += [(sec.process.name, live.saga_id, node) for node in nodes]
        return found


def _held_back(engine: SagaEngine, live: LiveSaga, now: float) -> list[int]:
    """Return the nodes whose undo waits though it may start at a time, and a worker has room for it."""
    saga = live.state
    return [
        node
        for node in range(len(saga.topology.nodes))
        if saga.startable(node) is Kind.UNDO
        and saga.due(node, Kind.UNDO) <= now
        and gate(saga, node, Kind.UNDO, engine.breakpoints.points) is Verdict.GO
        and any(session.has_room(live.action_key(node, Kind.UNDO)) for session in engine.dispatcher.attached_sessions())
    ]
