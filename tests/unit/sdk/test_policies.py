"""Policies: their ranges, and that nothing is sent that was not said."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from hypothesis import given
from hypothesis import strategies as st

from sagaline import UNBOUNDED, Irreversible, RetryPolicy, Timeouts, UndoKind, UndoPolicy, UnknownPolicy
from sagaline.errors import PolicyError
from sagaline.policies import unknown_policy
from sagaline.v1 import saga_pb2

DAY = timedelta(days=1)


def test_what_is_left_out_is_absent() -> None:
    assert RetryPolicy().to_proto() == saga_pb2.RetryPolicy()
    assert Timeouts().to_proto() == saga_pb2.Timeouts()
    assert UndoPolicy().to_proto() == saga_pb2.UndoPolicy(kind=saga_pb2.UNDO_KIND_ACTION)


@given(
    st.builds(
        RetryPolicy,
        max_attempts=st.none() | st.integers(1, 1_000_000) | st.just(UNBOUNDED),
        initial_backoff=st.none() | st.timedeltas(timedelta(0), DAY),
        max_backoff=st.none() | st.timedeltas(timedelta(0), 30 * DAY),
        multiplier=st.none() | st.floats(1, 100),
        jitter=st.none() | st.floats(0, 1),
        total_timeout=st.none() | st.timedeltas(timedelta(0), 366 * DAY),
        non_retryable=st.lists(st.text(st.characters(codec="utf-8"), max_size=5), max_size=64),
    )
)
def test_what_is_said_is_sent_exactly(policy: RetryPolicy) -> None:
    sent = policy.to_proto()
    assert sent.max_attempts == (policy.max_attempts or 0)
    assert sent.multiplier == (policy.multiplier or 0)
    assert (sent.jitter if sent.HasField("jitter") else None) == policy.jitter
    for name in ("initial_backoff", "max_backoff", "total_timeout"):
        length: Duration | None = getattr(sent, name) if sent.HasField(name) else None
        assert (length.ToTimedelta() if length is not None else None) == getattr(policy, name)
    assert tuple(sent.non_retryable_failure_types) == policy.non_retryable


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("max_attempts", 0, "max_attempts lies between 1 and 1e+06; this is 0"),
        ("max_attempts", -2, "max_attempts lies between"),
        ("max_attempts", 1_000_001, "max_attempts lies between"),
        ("max_attempts", "3", "max_attempts lies between"),
        ("max_attempts", True, "max_attempts lies between"),
        ("initial_backoff", timedelta(days=1, microseconds=1), "between 0 and 1 day"),
        ("initial_backoff", timedelta(microseconds=-1), "between 0 and 1 day"),
        ("initial_backoff", 5, "initial_backoff is a timedelta, such as timedelta(seconds=5); this is 5"),
        ("max_backoff", timedelta(days=31), "between 0 and 30 days"),
        ("multiplier", 0.5, "multiplier lies between 1 and 100; this is 0.5"),
        ("multiplier", float("nan"), "multiplier lies between"),
        ("jitter", 1.5, "jitter lies between 0 and 1"),
        ("total_timeout", timedelta(days=367), "between 0 and 366 days"),
        ("non_retryable", "Declined", "not one text"),
        ("non_retryable", [str(number) for number in range(65)], "65 types; at most 64"),
    ],
)
def test_ranges_of_retry_policies(field: str, value: Any, message: str) -> None:
    with pytest.raises(PolicyError) as caught:
        RetryPolicy(**{field: value})
    assert message in str(caught.value)
    assert caught.value.code == "BAD_POLICY"


@pytest.mark.parametrize("field", ["schedule_to_start", "start_to_close", "heartbeat"])
def test_ranges_of_timeouts(field: str) -> None:
    assert getattr(Timeouts(**{field: DAY}).to_proto(), field) == Duration(seconds=86_400)
    for value, message in ((timedelta(0), "is 0; leave it out"), (367 * DAY, "between 0"), (3, "is a timedelta")):
        with pytest.raises(PolicyError, match=message):
            Timeouts(**{field: value})  # type: ignore[arg-type]


def test_undo_policies() -> None:
    assert UndoPolicy.noop().to_proto() == saga_pb2.UndoPolicy(kind=saga_pb2.UNDO_KIND_NOOP)
    held = saga_pb2.UndoPolicy(kind=saga_pb2.UNDO_KIND_NONE, irreversible=saga_pb2.IRREVERSIBLE_POLICY_HOLD)
    assert UndoPolicy.none().to_proto() == held
    forward = UndoPolicy.none(Irreversible.FORWARD_ONLY).to_proto()
    assert forward.irreversible == saga_pb2.IRREVERSIBLE_POLICY_FORWARD_ONLY
    with pytest.raises(PolicyError, match=r"UndoKind\.NONE"):
        UndoPolicy(irreversible=Irreversible.HOLD)


def test_every_choice_has_its_value_on_the_wire() -> None:
    """By name, so that no two are mixed up."""
    for kind in UndoKind:
        irreversible = Irreversible.HOLD if kind is UndoKind.NONE else None
        sent = UndoPolicy(kind=kind, irreversible=irreversible).to_proto()
        assert saga_pb2.UndoKind.Name(sent.kind) == f"UNDO_KIND_{kind.name}"
    for choice in UnknownPolicy:
        assert saga_pb2.UnknownPolicy.Name(unknown_policy(choice)) == f"UNKNOWN_POLICY_{choice.name}"


def test_policies_are_values() -> None:
    assert RetryPolicy(non_retryable=["a"]) == RetryPolicy(non_retryable=("a",))
    assert hash(UndoPolicy(retry=RetryPolicy(non_retryable=["a"]))) == hash(
        UndoPolicy(retry=RetryPolicy(non_retryable=("a",)))
    )
