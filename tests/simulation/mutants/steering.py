"""Planted bugs in what operators do: faults that are injected, sagas that are set aside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from sagaline_server.core import decide, faults, plain, turn
from sagaline_server.core.entries import Kind
from sagaline_server.core.gate import Verdict, is_held
from sagaline_server.core.inputs import Decision, ResultFate
from sagaline_server.core.state import Saga
from sagaline_server.runtime.engine import SagaEngine
from sagaline_server.runtime.recovery import Recovery
from tests.simulation.mutants.planting import Patch, plant


def _held_by_others(saga: Saga, node: int, kind: Kind) -> Verdict:
    return Verdict.HOLD if not saga.steps and is_held(saga, node, kind) else Verdict.GO


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
