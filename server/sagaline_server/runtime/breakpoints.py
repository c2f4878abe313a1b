"""The breakpoints on actions, as this SEC knows them, and who goes on when they become fewer.

They are the whole cluster's, and in no saga's log: what a saga's log has is
that a step let a start pass. So whoever runs a saga asks here, and a new owner
knows them by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sagaline_server.core.gate import ActionPoint, ActionPoints, may_stop
from sagaline_server.runtime.live import LiveSaga


class Breakpoints:
    """What is held in every saga."""

    def __init__(
        self, sagas: Mapping[str, LiveSaga], now: Callable[[], float], wake: Callable[[LiveSaga], None]
    ) -> None:
        """Begin without any.

        Args:
            sagas: Those that run here.
            now: Tells seconds since 1970.
            wake: Called with a saga of which something was held and may start now.
        """
        self._sagas = sagas
        self._now = now
        self._wake = wake
        # What was held while this SEC was away has had no chance to start.
        self.points = ActionPoints({}, now())

    def set(self, by_action: Mapping[str, ActionPoint]) -> None:
        """Take them as they are now."""
        before = self.points
        if by_action == before.by_action:
            return
        freed = {name: point for name, point in before.by_action.items() if _frees(point, by_action.get(name))}
        self.points = ActionPoints(dict(by_action), self._now() if freed else before.changed)
        if freed:
            for live in list(self._sagas.values()):
                if may_stop(live.ahead, before):
                    self._wake(live)


def _frees(before: ActionPoint, now: ActionPoint | None) -> bool:
    """True when something that one breakpoint held is not held by what is there now."""
    return now is None or now.kind not in (None, before.kind)
