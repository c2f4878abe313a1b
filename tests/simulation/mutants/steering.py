"""Planted bugs in what operators do: faults that are injected, sagas that are set aside, limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from sagaline_server.core import decide, faults, orders, plain, shares, turn
from sagaline_server.core import gate as gate_module
from sagaline_server.core.entries import Kind, OperatorResolved
from sagaline_server.core.gate import NO_POINTS, ActionPoints, Verdict, gate
from sagaline_server.core.inputs import Decision, Resolve, ResultFate
from sagaline_server.core.shares import ActionLimit
from sagaline_server.core.state import Saga
from sagaline_server.dispatch.dispatcher import Dispatcher
from sagaline_server.dispatch.limited import LimitedPlacing
from sagaline_server.dispatch.permits import Permits
from sagaline_server.dispatch.session import ActionKey
from sagaline_server.ownership import conditions
from sagaline_server.runtime.admissions import Admissions
from sagaline_server.runtime.engine import SagaEngine
from sagaline_server.runtime.recovery import Recovery
from tests.simulation.mutants.planting import Patch, plant


def _held_by_others(saga: Saga, node: int, kind: Kind, points: ActionPoints = NO_POINTS) -> Verdict:
    aside, saga.quarantined = saga.quarantined, None
    verdict = gate(saga, node, kind, points)
    saga.quarantined = aside
    return verdict


def _nothing_but_quarantine(saga: Saga) -> bool:
    return not saga.paused and not saga.breakpoints and not saga.faults


@plant("set-aside-starts", "quarantine")
def _set_aside_starts() -> Sequence[Patch]:
    """A saga that is set aside goes on."""
    return [
        (decide, "gate", _held_by_others),
        (turn, "gate", _held_by_others),
        (plain, "holds_nothing", _nothing_but_quarantine),
    ]


@plant("release-by-owner-change", "quarantine", "several secs")
def _release_by_owner_change() -> Sequence[Patch]:
    """A new owner does not know that a saga is set aside."""
    original = Recovery.load

    def load(self: Recovery, *args: Any) -> Any:
        live = original(self, *args)
        if live is not None:
            live.state.quarantined = None
        return live

    return [(Recovery, "load", load)]


@plant("crash-not-logged", "injected")
def _crash_not_logged() -> Sequence[Patch]:
    """The SEC dies of an injected fault before its log says so, and of the same one again."""
    original = SagaEngine._write

    def write(self: SagaEngine, live: Any, made: Any, *args: Any) -> None:
        if made.crashes:
            self.die()
        original(self, live, made, *args)

    return [(SagaEngine, "_write", write)]


@plant("crash-survived", "injected")
def _crash_survived() -> Sequence[Patch]:
    """The SEC does not die of an injected fault, and acknowledges the result that the fault met."""
    original = faults.at_result

    def at_result(*args: Any) -> Decision:
        decision = original(*args)
        if not decision.crashes:
            return decision
        return msgspec.structs.replace(decision, crashes=False, fate=ResultFate.RECORDED)

    return [(faults, "at_result", at_result)]


@plant("fault-never-used-up", "injected")
def _fault_never_used_up() -> Sequence[Patch]:
    """An injected fault strikes for ever."""
    return [(faults, "struck", lambda *_: None)]


@plant("held-action-starts", "breakpoints on actions")
def _held_action_starts() -> Sequence[Patch]:
    """A breakpoint on an action holds nothing."""
    return [(gate_module, "action_point_at", lambda *_: None)]


# ---- limits --------------------------------------------------------------------------------


@plant("limit-for-each-sec", "limits", "several secs")
def _limit_for_each_sec() -> Sequence[Patch]:
    """Every SEC uses the whole of a limit."""
    return [(shares, "share", lambda limit, *_: limit)]


@plant("permits-given-to-all", "limits")
def _permits_given_to_all() -> Sequence[Patch]:
    """Attempts of an action start however many are in flight."""
    return [(LimitedPlacing, "_count", lambda *_: 0)]


@plant("rate-not-counted", "limits")
def _rate_not_counted() -> Sequence[Patch]:
    """Starts take nothing of what a rate allows."""
    return [(Permits, "take", lambda *_: None)]


@plant("rate-not-shared", "limits", "several secs")
def _rate_not_shared() -> Sequence[Patch]:
    """Every SEC starts at the whole rate."""
    original = shares.action_share

    def action_share(limit: ActionLimit, *args: Any) -> ActionLimit:
        return msgspec.structs.replace(original(limit, *args), starts_per_second=limit.starts_per_second)

    return [(conditions, "action_share", action_share)]


@plant("scope-never-full", "limits")
def _scope_never_full() -> Sequence[Patch]:
    """Sagas run in a scope however many do."""

    def full(self: Admissions, scope: str) -> str:
        limit = self.shares[scope].max_failing
        return "full" if limit is not None and len(self._failing.get(scope, ())) >= limit else ""

    return [(Admissions, "_full", full)]


@plant("failing-does-not-hold", "limits", "fail")
def _failing_does_not_hold() -> Sequence[Patch]:
    """New sagas begin in a scope however many fail there."""

    def full(self: Admissions, scope: str) -> str:
        limit = self.shares[scope].max_running
        return "full" if limit is not None and self._running.get(scope, 0) >= limit else ""

    return [(Admissions, "_full", full)]


@plant("undo-under-limits", "limits", "fail")
def _undo_under_limits() -> Sequence[Patch]:
    """Undo needs a permit as actions do, and there is none for it."""

    def limits(self: Permits, action: ActionKey) -> bool:
        return action[0] in self.shares

    lets = Permits.lets

    def lets_actions(self: Permits, action: ActionKey) -> bool:
        return action[2] is Kind.ACTION and lets(self, action)

    reserve = Dispatcher.reserve

    def reserve_bound(self: Dispatcher, action: ActionKey, **_: bool) -> str | None:
        return reserve(self, action)

    return [
        (Permits, "limits", limits),
        (Permits, "lets", lets_actions),
        (Dispatcher, "reserve", reserve_bound),
        (SagaEngine, "is_free", lambda *_: False),
    ]


@plant("decides-on-old-news")
def _decides_on_old_news() -> Sequence[Patch]:
    """A decision is taken though the saga has gone on since the operator looked."""
    original = orders.resolve

    def resolve(saga: Saga, given: Resolve) -> Decision:
        decision = original(saga, msgspec.structs.replace(given, expected_log_length=0))
        entries = [
            msgspec.structs.replace(entry, expected_log_length=given.expected_log_length)
            for entry in decision.entries
            if isinstance(entry, OperatorResolved)
        ]
        return msgspec.structs.replace(decision, entries=tuple(entries))

    return [(orders, "resolve", resolve)]
