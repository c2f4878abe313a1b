"""Shares of limits: together they are the limit, and the first rank has a share of each."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sagaline_server.core.shares import (
    ActionLimit,
    Bucket,
    ScopeLimit,
    action_share,
    rank_of,
    scope_share,
    share,
)


@given(limit=st.integers(0, 10**6), count=st.integers(1, 50))
def test_shares_add_up_to_the_limit_and_differ_by_one(limit: int, count: int) -> None:
    shares = [share(limit, rank, count) for rank in range(count)]
    assert sum(shares) == limit
    assert shares == sorted(shares, reverse=True)
    assert max(shares) - min(shares) <= 1
    assert shares[0] >= min(limit, 1)


def test_secs_are_ranked_by_name_and_each_counts_itself() -> None:
    assert [rank_of(me, ("b", "a", "c")) for me in "abc"] == [(0, 3), (1, 3), (2, 3)]
    assert rank_of("d", ()) == (0, 1)
    assert rank_of("aa", ("b", "a")) == (1, 3)


def test_what_is_not_limited_has_no_share() -> None:
    assert action_share(ActionLimit(), 1, 3) == ActionLimit()
    assert scope_share(ScopeLimit(), 1, 3) == ScopeLimit()
    assert action_share(ActionLimit(4, 6.0), 1, 3) == ActionLimit(1, 2.0)
    assert scope_share(ScopeLimit(4, 4), 0, 3) == ScopeLimit(2, 2)


def test_one_that_fails_is_the_least_that_holds_new_ones() -> None:
    assert [scope_share(ScopeLimit(None, limit), 2, 3).max_failing for limit in (0, 1, 3, 6)] == [1, 1, 1, 2]


@given(
    rate=st.floats(0.1, 1_000.0),
    steps=st.lists(st.floats(0.0, 3.0), min_size=1, max_size=200),
)
def test_no_second_has_more_starts_than_the_rate_and_its_burst(rate: float, steps: list[float]) -> None:
    now = 0.0
    starts: list[float] = []
    bucket = Bucket(rate, now)
    for step in steps:
        now += step
        while bucket.due(now) == 0.0 and len(starts) < 3_000:
            bucket.take(now)
            starts.append(now)
    for start in set(starts):
        assert sum(1 for other in starts if start <= other < start + 1.0) <= rate + max(1.0, rate * 0.1) + 1e-6


@given(rate=st.floats(0.01, 1_000.0))
def test_a_start_is_allowed_when_it_was_said_to_be(rate: float) -> None:
    bucket, now = Bucket(rate, 5.0), 5.0
    for _ in range(20):
        now += bucket.due(now)
        assert bucket.due(now) == 0.0
        bucket.take(now)


def test_another_rate_gives_nothing_away() -> None:
    bucket = Bucket(1.0, 0.0)
    bucket.take(0.0)
    bucket.change(100.0, 0.0)
    assert bucket.due(0.0) > 0.0
