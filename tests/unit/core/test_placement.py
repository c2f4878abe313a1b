"""Which SEC takes which saga: the same answer everywhere, and little that moves."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from sagaline_server.core.placement import plan_adoption, plan_hand_off, preferred

SECS = st.lists(st.sampled_from([f"sec-{n}" for n in range(8)]), unique=True)
SAGAS = [f"saga-{n}" for n in range(300)]


@given(SECS)
def test_everybody_comes_to_the_same_answer(secs: list[str]) -> None:
    """The order in which the candidates are known does not matter."""
    assert [preferred(saga, secs) for saga in SAGAS] == [preferred(saga, reversed(secs)) for saga in SAGAS]


@given(SECS.filter(lambda secs: len(secs) > 1))
def test_only_the_share_of_who_leaves_moves(secs: list[str]) -> None:
    """The sagas of those who stay, stay."""
    left = secs[1:]
    for saga in SAGAS:
        before = preferred(saga, secs)
        assert preferred(saga, left) == before or before == secs[0]


def test_shares_are_about_equal() -> None:
    """No SEC has much more than its share."""
    shares = Counter(preferred(f"saga-{n}", ["a", "b", "c", "d"]) for n in range(4_000))
    assert all(850 < share < 1_150 for share in shares.values())


def test_nobody_can_not_be_preferred() -> None:
    """Without candidates there is no answer."""
    assert preferred("saga-1", []) is None


@given(SECS)
def test_orphans_are_shared_without_gap_or_overlap(secs: list[str]) -> None:
    """Each orphan is in exactly one survivor's plan; who is no candidate takes none."""
    plans = {sec: plan_adoption(SAGAS, sec, secs) for sec in [*secs, "leaving"]}
    assert not plans["leaving"].mine
    taken = [saga for plan in plans.values() for saga in plan.mine]
    assert sorted(taken) == (sorted(SAGAS) if secs else [])
    assert all(sorted(plan.mine + plan.others) == sorted(SAGAS) for plan in plans.values())


@given(SECS)
def test_a_hand_off_gives_everything_to_the_others(secs: list[str]) -> None:
    """Whoever leaves keeps nothing, unless there is nobody else."""
    shares = plan_hand_off(SAGAS, "sec-0", secs)
    assert "sec-0" not in shares
    given_away = [saga for share in shares.values() for saga in share]
    assert sorted(given_away) == (sorted(SAGAS) if set(secs) - {"sec-0"} else [])
