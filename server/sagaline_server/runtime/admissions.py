"""Admissions: this SEC's shares of the limits on scopes, asked before the first start of a saga.

A saga is admitted to all of its scopes or to none, and stays admitted until it
ends or leaves, so nobody who holds a place waits for another. Those that wait
are admitted in the order in which they came. Nothing of it is stored: what has
started counts wherever it is taken over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from sagaline_server.core.shares import ScopeLimit
from sagaline_server.runtime.live import LiveSaga

NO_ROOM_FOR = "scope {scope} has a limit: this SEC may run {limit} of its sagas at once, and runs {count}"
TOO_MANY_FAIL = "scope {scope} has a limit: {count} of its sagas are failing at this SEC, and {limit} hold new ones"


class Admissions:
    """Who may run in the scopes that have limits."""

    def __init__(self, sagas: Mapping[str, LiveSaga], wake: Callable[[LiveSaga], None]) -> None:
        """Begin without limits.

        Args:
            sagas: Those that run here.
            wake: Called with a saga that was held and may start now.
        """
        self._sagas = sagas
        self._wake = wake
        self.shares: dict[str, ScopeLimit] = {}
        """By scope. Empty: nothing here is ever asked."""
        self._admitted: dict[str, tuple[str, ...]] = {}
        """The limited scopes of the sagas that may run."""
        self._running: dict[str, int] = {}
        self._failing: dict[str, set[str]] = {}
        self._held: dict[str, dict[str, LiveSaga]] = {}
        """Sagas that wait, in order, by the first of their scopes that had no room."""

    def set(self, shares: Mapping[str, ScopeLimit]) -> None:
        """Take this SEC's shares as they are now, and count anew."""
        before, held = self._admitted, [live for some in self._held.values() for live in some.values()]
        self.shares = dict(shares)
        self._admitted, self._running, self._failing, self._held = {}, {}, {}, {}
        for live in self._sagas.values():
            if live.saga_id in before:
                self._admit(live)
            self.note(live)
        for live in held:
            if self.admits(live):
                self._wake(live)

    def _limited(self, live: LiveSaga) -> tuple[str, ...]:
        return tuple(scope for scope in dict.fromkeys(live.about.scopes) if scope in self.shares)

    def admits(self, live: LiveSaga) -> bool:
        """True when a saga may start, or has. If not, it is held, and woken when it may."""
        if not live.about.scopes or live.saga_id in self._admitted:
            return True
        for scope in self._limited(live):
            full = self._full(scope)
            if full:
                self._held.setdefault(scope, {})[live.saga_id] = live
                live.held_by = full
                return False
        self._admit(live)
        return True

    def _full(self, scope: str) -> str:
        """Say why a scope takes no saga now; empty: it does."""
        limit = self.shares[scope]
        running, failing = self._running.get(scope, 0), len(self._failing.get(scope, ()))
        if limit.max_running is not None and running >= limit.max_running:
            return NO_ROOM_FOR.format(scope=scope, limit=limit.max_running, count=running)
        if limit.max_failing is not None and failing >= limit.max_failing:
            return TOO_MANY_FAIL.format(scope=scope, limit=limit.max_failing, count=failing)
        return ""

    def _admit(self, live: LiveSaga) -> None:
        live.held_by = ""
        scopes = self._limited(live)
        if scopes:
            self._admitted[live.saga_id] = scopes
            for scope in scopes:
                self._running[scope] = self._running.get(scope, 0) + 1

    def note(self, live: LiveSaga) -> None:
        """Take what has become of a saga that runs here, or begins to: what has started has its place in any case."""
        scopes = self._limited(live) if self.shares else ()
        if not scopes:
            return
        saga = live.state
        is_failing = saga.unwinding or saga.needs_operator
        if live.saga_id not in self._admitted and (saga.has_started or saga.unwinding):
            was_held = bool(live.held_by)
            self._unhold(live)
            self._admit(live)
            if was_held:  # by a limit set while its first start was being written: its other nodes wait for this
                self._wake(live)
        for scope in scopes:
            failing = self._failing.setdefault(scope, set())
            if is_failing:
                failing.add(live.saga_id)
            elif live.saga_id in failing:
                failing.discard(live.saga_id)
                self._let_in(scope)

    def gone(self, live: LiveSaga) -> None:
        """Forget a saga that runs here no longer, and let others take its place."""
        if not self.shares:
            return
        self._unhold(live)
        scopes = self._admitted.pop(live.saga_id, ())
        for scope in scopes:
            self._running[scope] -= 1
        for scope in self._limited(live):
            self._failing.get(scope, set()).discard(live.saga_id)
            self._let_in(scope)

    def forget_all(self) -> None:
        """Forget everybody, those too that were being created: nothing of this incarnation goes on."""
        self._admitted, self._running, self._failing, self._held = {}, {}, {}, {}

    def _unhold(self, live: LiveSaga) -> None:
        if live.held_by:
            live.held_by = ""
            for scope in live.about.scopes:
                self._held.get(scope, {}).pop(live.saga_id, None)

    def _let_in(self, scope: str) -> None:
        held = self._held.get(scope)
        while held and not self._full(scope):
            live = held.pop(next(iter(held)))
            if self.admits(live):  # else another of its scopes has no room
                self._wake(live)
        if not held:
            self._held.pop(scope, None)

    def stranded(self, scopes: Iterable[str], at_most: int) -> list[LiveSaga]:
        """Return sagas that wait for scopes of which this SEC may run none."""
        return [live for scope in scopes for live in self._held.get(scope, {}).values()][:at_most]
