"""One node with two epochs and zombie messages: the barrier holds, and each barrier that lacks something does not.

The letters are those of the variants that other systems run, or ran.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from sagaline.barrier.machine import RULES, Answer, State
from sagaline.context import Kind
from tests.unit.barrier.model import Variant, explore

RESEND, DIRECT = "resend", "direct undo"

LEFT_BY_FAILURE = "an effect stands, and the log says failed"
LEFT_BY_UNDO = "an effect stands, and the log says undone"
TWICE = "the effect was made twice"
LATE_SUCCESS = "an action that came after the undo was answered with success"
NOTHING_DONE = "the saga has succeeded without the effect"
SHORTEST_MISHAP = 3


def altered(*keys: tuple[State | None, Kind], **fields: object) -> Variant:
    rules = {**RULES, **{key: replace(RULES[key], **fields) for key in keys}}  # type: ignore[arg-type]
    return Variant(rules=rules)


WHOLE = Variant()
FAILURE_NOT_RECORDED = altered((None, Kind.ACTION), on_failed=None)
NO_TOMBSTONE = altered((None, Kind.UNDO), to=None)
FORGETS_ON_UNDO = Variant(forgets_on_undo=True)
LATE_ACTION_SUCCEEDS = altered((State.UNDONE, Kind.ACTION), (State.CANCELLED, Kind.ACTION), answer=Answer.OUTPUT)
TOMBSTONE_REMOVED = Variant(removes=frozenset({State.UNDONE, State.CANCELLED}))
DONE_REMOVED = Variant(removes=frozenset({State.DONE}))
BUSINESS_FIRST = Variant(checks_business_first=True)
TWO_TRANSACTIONS = Variant(two_transactions=True)


@pytest.mark.parametrize("undo_failed", [False, True], ids=["failed: settled", "failed: undone"])
@pytest.mark.parametrize("direct_undo", [False, True], ids=[RESEND, DIRECT])
@pytest.mark.parametrize("epoch_fence", [False, True], ids=["", "epochs fenced"])
def test_g11_the_barrier_holds(direct_undo: bool, undo_failed: bool, epoch_fence: bool) -> None:
    """A3, H: whatever the SEC relies on it for."""
    variant = replace(WHOLE, direct_undo=direct_undo, undo_failed=undo_failed, epoch_fence=epoch_fence)
    found = explore(variant)
    assert found.problems == {}
    assert found.scenes > 1_000


@pytest.mark.parametrize(
    ("variant", "needs"),
    [
        pytest.param(replace(FAILURE_NOT_RECORDED, undo_failed=True), RESEND, id="A2 failures forgotten, undone too"),
        pytest.param(
            replace(FAILURE_NOT_RECORDED, undo_failed=True), DIRECT, id="A2 failures forgotten, undone too, directly"
        ),
        pytest.param(NO_TOMBSTONE, RESEND, id="B1 no tombstone, action sent again before it is undone"),
        pytest.param(replace(BUSINESS_FIRST, undo_failed=True), RESEND, id="F business first, failures undone too"),
    ],
)
def test_weaker_barriers_that_a_careful_sec_can_live_with(variant: Variant, needs: str) -> None:
    assert explore(replace(variant, direct_undo=needs is DIRECT)).problems == {}


@pytest.mark.parametrize(
    ("variant", "policy", "problem"),
    [
        pytest.param(FAILURE_NOT_RECORDED, RESEND, LEFT_BY_FAILURE, id="A1 failures forgotten"),
        pytest.param(FAILURE_NOT_RECORDED, DIRECT, LEFT_BY_FAILURE, id="A1 failures forgotten, direct"),
        pytest.param(NO_TOMBSTONE, DIRECT, LEFT_BY_UNDO, id="B2 no tombstone"),
        pytest.param(FORGETS_ON_UNDO, RESEND, TWICE, id="C key forgotten on undo"),
        pytest.param(LATE_ACTION_SUCCEEDS, DIRECT, LATE_SUCCESS, id="D late action answers success"),
        pytest.param(TOMBSTONE_REMOVED, RESEND, TWICE, id="E tombstone removed early"),
        pytest.param(replace(TOMBSTONE_REMOVED, epoch_fence=True), RESEND, TWICE, id="E and epochs fenced"),
        pytest.param(TOMBSTONE_REMOVED, DIRECT, LEFT_BY_UNDO, id="E direct"),
        pytest.param(DONE_REMOVED, RESEND, TWICE, id="E done row removed early"),
        pytest.param(BUSINESS_FIRST, RESEND, LEFT_BY_FAILURE, id="F business check first"),
        pytest.param(TWO_TRANSACTIONS, RESEND, NOTHING_DONE, id="G two transactions"),
    ],
)
def test_every_mutant_is_caught(variant: Variant, policy: str, problem: str) -> None:
    found = explore(replace(variant, direct_undo=policy is DIRECT))
    assert problem in found.problems, found
    assert len(found.problems[problem]) >= SHORTEST_MISHAP


def test_a_lost_record_of_a_success_stops_the_undo() -> None:
    """Where a done row is gone, the undo must not say that nothing remains: it asks for an operator."""
    trusting = altered((None, Kind.UNDO), (State.FAILED, Kind.UNDO), is_null_undo=False)
    assert LEFT_BY_UNDO in explore(replace(trusting, removes=frozenset({State.DONE}))).problems
    assert LEFT_BY_UNDO not in explore(DONE_REMOVED).problems
