"""Named points at which a SEC dies if it was told to, so that tests see what it leaves behind at each.

`SAGALINE_CRASHPOINT=commit.after:3` in the environment ends the process, as a
loss of power would, when it reaches `commit.after` for the third time. Without
it `reach` is bound to a function that does nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

VARIABLE = "SAGALINE_CRASHPOINT"
EXIT_CODE = 86

POINTS: Mapping[str, str] = {
    "open.registered": "this process has become an incarnation, and has looked at nothing yet",
    "create.durable": "a creation is durable, and its client has not heard of it",
    "commit.before": "writes have been gathered, and the store has not got them",
    "commit.after": "writes are durable, and nothing in memory says so",
    "turn.applied": "a turn counts, and none of its invocations has been sent",
    "turn.sent": "its invocations are on their way, and no result of it is acknowledged",
    "turn.answered": "results and requests of a turn have been answered",
    "send.before": "a frame with invocations is about to leave",
    "send.after": "a frame with invocations has left",
    "result.received": "a result has come, and nothing has been done about it",
    "ack.before": "a frame that acknowledges results is about to leave",
    "ack.after": "a frame that acknowledges results has left",
    "saga.finished": "the end of a saga is durable, and it still counts as running here",
    "adopt.claimed": "orphans have been claimed, and none has been read",
    "adopt.folded": "an adopted saga runs here, and no entry says so",
    "handoff.held": "sagas are held for their hand-off, which has not been written",
    "handoff.committed": "another SEC owns the sagas, and their workers have not heard of it",
    "handoff.left": "the workers of a saga that was handed off have been told",
    "handoff.taken": "a saga that was handed to this SEC runs here, and no entry says so",
    "order.put": "an order for another SEC's saga is durable, and has not been confirmed",
    "drain.announced": "the others know that this SEC leaves, and it still has its sagas",
    "drain.done": "every saga that somebody could take has been handed off, and the lease lives",
}
"""Every point, and what is true at it."""


def die() -> None:
    """End the process as a loss of power would."""
    os._exit(EXIT_CODE)


def _go_on(point: str) -> None:
    """Do nothing."""


class _Countdown:
    """Ends the process at one point, when it is reached for the n-th time."""

    def __init__(self, setting: str) -> None:
        self._point, _, times = setting.partition(":")
        if self._point not in POINTS:
            raise ValueError(f"{VARIABLE}: there is no point {self._point!r}")
        self._left = int(times or 1)

    def __call__(self, point: str) -> None:
        if point == self._point:
            self._left -= 1
            if self._left == 0:
                die()


is_armed = bool(os.environ.get(VARIABLE))
reach: Callable[[str], None] = _Countdown(os.environ[VARIABLE]) if is_armed else _go_on
"""Says that a point has been reached."""
