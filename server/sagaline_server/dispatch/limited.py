"""Placing under limits: what waits because of a limit on its action goes on when the limit lets it.

The other half of the dispatcher; everything here is asked only of actions that
have a limit.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Container, Mapping

import msgspec

from sagaline_server.core.entries import Kind
from sagaline_server.core.shares import ActionLimit
from sagaline_server.dispatch.permits import LOOK_SECONDS, Permits
from sagaline_server.dispatch.session import ActionKey, AttemptKey, Session
from sagaline_server.ports.clock import Clock


class Expected(msgspec.Struct, frozen=True):
    """An attempt that a recovered log gives to a worker."""

    action: ActionKey
    epoch: int
    """Of the ownership that it was recovered in."""


class LimitedPlacing(ABC):
    """Sessions and queues, with what limits make of them."""

    def __init__(self, clock: Clock) -> None:
        """Begin without sessions, queues and limits."""
        self.sessions: dict[str, Session] = {}
        self._waiting: dict[ActionKey, deque[tuple[str, int]]] = {}
        self._is_waiting: set[tuple[str, int, Kind]] = set()
        self._expected: dict[str, dict[AttemptKey, Expected]] = {}
        """Attempts that a recovered log gives to a worker that has not yet said whether it holds them."""
        self._pumping = False
        self.permits = Permits(clock, self._count)
        self._look: asyncio.TimerHandle | None = None
        """Set while something waits because of a limit: when it is looked at again."""

    @abstractmethod
    def _choose(self, action: ActionKey) -> Session | None:
        """Return a worker that has room."""

    @abstractmethod
    def _pump_action(self, session: Session, action: ActionKey) -> None:
        """Offer free slots of a worker to what waits for an action."""

    def _count(self, name: str) -> int:
        """Return how many invocations of an action are in flight, or about to be."""
        count = sum(session.used(name) for session in self.sessions.values())
        for some in self._expected.values():
            actions = [expected.action for expected in some.values()]
            count += sum(1 for action in actions if action[0] == name and action[2] is Kind.ACTION)
        return count

    def _pump_blocked(self) -> None:
        """Let what a limit held go on, as far as it may now, on whatever worker has room: versions take turns."""
        for name in list(self.permits.blocked):
            del self.permits.blocked[name]
            keys = [key for key in self._waiting if key[0] == name and key[2] is Kind.ACTION]
            for action in keys:
                queue = self._waiting[action]
                left = -1
                while queue and left != len(queue) and (session := self._choose(action)) is not None:
                    left = len(queue)
                    self._pump_action(session, action)
                if queue and self._waiting.get(action) is queue:
                    self._waiting[action] = self._waiting.pop(action)  # the others first next time
        if self.permits.blocked:
            self._look_later()

    def _look_later(self) -> None:
        if self._look is None:
            delay = max(min(self.permits.look_in(), LOOK_SECONDS), 0.001)
            self._look = asyncio.get_running_loop().call_later(delay, self._look_now)

    def _look_now(self) -> None:
        self._look = None
        if self._is_waiting and not self._pumping and self.permits.blocked:
            self._pumping = True
            try:
                self._pump_blocked()
            finally:
                self._pumping = False

    def set_limits(self, shares: Mapping[str, ActionLimit]) -> None:
        """Take this SEC's shares of the limits on actions, and let go on what waited for more."""
        self.permits.set(shares)
        for action in self._waiting:
            if action[2] is Kind.ACTION:
                self.permits.blocked[action[0]] = None
        self._look_now()

    def take_stranded(self, names: Container[str], at_most: int) -> list[tuple[str, int]]:
        """Take nodes out of the queues that wait for an action of which this SEC may start none."""
        taken: list[tuple[str, int]] = []
        for action in [key for key in self._waiting if key[0] in names and key[2] is Kind.ACTION]:
            queue = self._waiting[action]
            while queue and len(taken) < at_most:
                taken.append(queue.popleft())
                self._is_waiting.discard((*taken[-1], Kind.ACTION))
            if not queue:
                del self._waiting[action]
        return taken

    def _forget_blocked(self) -> None:
        """Look at nothing again: nothing waits any more."""
        self.permits.blocked.clear()
        if self._look is not None:
            self._look.cancel()
            self._look = None
