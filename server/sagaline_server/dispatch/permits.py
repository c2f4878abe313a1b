"""Permits: this SEC's shares of the limits on actions, asked before an attempt of an action starts.

A permit is a slot: what is in flight is counted from the sessions and from
what recovered logs give to workers, so nothing can be given back twice or not
at all, and an adoption counts by itself. Undo is never asked about, nor is an
action that is sent again only to learn what is to be undone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sagaline_server.core.entries import Kind
from sagaline_server.core.shares import ActionLimit, Bucket
from sagaline_server.dispatch.session import ActionKey
from sagaline_server.ports.clock import Clock

LOOK_SECONDS = 1.0
"""Longest time until what a limit holds is looked at again, whatever event was missed."""


class Permits:
    """The limits on actions, as far as they are this SEC's to use."""

    def __init__(self, clock: Clock, count: Callable[[str], int]) -> None:
        """Begin without limits.

        Args:
            clock: For rates.
            count: Tells how many invocations of an action are in flight, or about to be.
        """
        self._clock = clock
        self._count = count
        self.shares: dict[str, ActionLimit] = {}
        """By action. Empty: nothing here is ever asked."""
        self._buckets: dict[str, Bucket] = {}
        self.blocked: dict[str, None] = {}
        """Actions of which something waits because of a limit, those served last at the end."""

    def set(self, shares: Mapping[str, ActionLimit]) -> None:
        """Take this SEC's shares as they are now."""
        now = self._clock.boottime()
        buckets = {}
        for name, one in shares.items():
            if one.starts_per_second is not None:
                bucket = self._buckets.get(name)
                if bucket is None:
                    bucket = Bucket(one.starts_per_second, now)
                bucket.change(one.starts_per_second, now)
                buckets[name] = bucket
        self.shares, self._buckets = dict(shares), buckets

    def limits(self, action: ActionKey) -> bool:
        """True when a limit is on one side of an action."""
        return action[2] is Kind.ACTION and action[0] in self.shares

    def wait(self, name: str) -> float | None:
        """Return in how many seconds an action may start, as far as is known; 0: now. None: when another has ended."""
        limit = self.shares.get(name)
        if limit is None:
            return 0.0
        if limit.max_in_flight is not None and self._count(name) >= limit.max_in_flight:
            return None
        bucket = self._buckets.get(name)
        return 0.0 if bucket is None else bucket.due(self._clock.boottime())

    def lets(self, action: ActionKey) -> bool:
        """True when an invocation of an action that has a limit may start now."""
        return self.wait(action[0]) == 0.0

    def block(self, action: ActionKey) -> None:
        """Note that something waits because of a limit."""
        self.blocked[action[0]] = None

    def take(self, action: ActionKey) -> None:
        """Note that an invocation starts."""
        bucket = self._buckets.get(action[0]) if action[2] is Kind.ACTION else None
        if bucket is not None:
            bucket.take(self._clock.boottime())

    def look_in(self) -> float:
        """Return in how many seconds to look at what is blocked."""
        return min((wait for name in self.blocked if (wait := self.wait(name)) is not None), default=LOOK_SECONDS)

    def why(self, action: ActionKey) -> str:
        """Say for people what limit holds an action; empty: none does."""
        if not self.limits(action):
            return ""
        wait, limit = self.wait(action[0]), self.shares[action[0]]
        if wait is None:
            return (
                f"action {action[0]} has a limit: this SEC may have {limit.max_in_flight} in flight, "
                f"and has {self._count(action[0])}"
            )
        if wait or action[0] in self.blocked:
            rate = (
                "" if limit.starts_per_second is None else f": this SEC may start {limit.starts_per_second:g} a second"
            )
            return f"action {action[0]} has a limit{rate}"
        return ""
