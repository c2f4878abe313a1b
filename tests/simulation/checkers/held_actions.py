"""A breakpoint on an action holds it in every saga, at every SEC that has heard of it: only steps let starts pass."""

from __future__ import annotations

from sagaline.v1 import admin_service_pb2
from sagaline_server.core.entries import GateChanged, Kind
from sagaline_server.core.turn import Turn
from sagaline_server.runtime.live import LiveSaga
from sagaline_server.wire.breakpoints import is_of_point, point_subject
from tests.simulation.checkers.checker import Checker
from tests.simulation.processes import Process


class HeldActions(Checker):
    name = "held actions"

    def decided(self, sec: Process, live: LiveSaga, turn: Turn) -> None:
        for node, kind in turn.starts:
            action = turn.saga.topology.nodes[node].action
            if action is not None and self._is_held(sec, action.action, kind):
                steps = live.state.steps + sum(
                    stamped.entry.steps for stamped in turn.entries if isinstance(stamped.entry, GateChanged)
                )
                told = f"{sec.name} starts the {kind.name.lower()} of {action.action} in {live.saga_id}, which is held"
                self.check(steps > 0, told)

    def _is_held(self, sec: Process, action: str, kind: Kind) -> bool:
        stored = {one.subject: one.value for one in self.scene.conditions() if is_of_point(one.subject)}
        if point_subject(action) not in stored:
            return False
        point = admin_service_pb2.ActionBreakpoint.FromString(stored[point_subject(action)])
        engine = self.scene.live_secs[sec.host.name].engine
        assert engine is not None
        known = engine.breakpoints.points.by_action.get(action)
        is_known = known is not None and int(known.kind or 0) == int(point.kind)
        return is_known and int(point.kind) in (0, int(kind))
