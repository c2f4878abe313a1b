"""When an attempt is tried again, and when no more. Pure: time and chance are arguments."""

from __future__ import annotations

from sagaline_server.core import limits
from sagaline_server.core.entries import Kind
from sagaline_server.core.graph import ActionNode, RetryPolicy, UnknownPolicy
from sagaline_server.core.state import Run
from sagaline_server.core.values import Failure

REJECTION_BACKOFF = 0.1
REJECTION_BACKOFF_MAX = 5.0
"""Seconds before an attempt that was rejected is offered again, doubling up to the second."""

_DOUBLINGS = 64
"""Exponents beyond this exceed every backoff allowed."""


def policy_of(action: ActionNode, kind: Kind) -> RetryPolicy:
    """Return the policy of one side of a node."""
    return action.retry if kind is Kind.ACTION else action.undo_retry


def retry_delay(policy: RetryPolicy, run: Run, failure: Failure, draw: float) -> float:
    """Return seconds until the next attempt after one that failed.

    Args:
        policy: Of this side of the node.
        run: Its attempts, the one that failed included.
        failure: Of the attempt. Its own wish comes first.
        draw: A random number in [0, 1).
    """
    if failure.next_retry_delay is not None:
        return min(max(failure.next_retry_delay, 0.0), limits.BACKOFF_SECONDS_MAX)
    exponent = min(max(run.counted - 1, 0), _DOUBLINGS)
    delay = min(policy.initial_backoff * policy.multiplier**exponent, policy.max_backoff)
    return delay * (1.0 - policy.jitter * draw)


def rejection_delay(run: Run) -> float:
    """Return seconds until an attempt that was rejected is offered again."""
    return min(REJECTION_BACKOFF * 2.0 ** min(run.rejections, _DOUBLINGS), REJECTION_BACKOFF_MAX)


def is_given_up(action: ActionNode, run: Run, now: float, log_length: int) -> bool:
    """True when an action whose last attempt's outcome is unknown is not to be tried again, but for an order."""
    if action.unknown is UnknownPolicy.UNDO and run.sent and run.first_start:
        return True
    return exhausted(action.retry, run, now, log_length)


def exhausted(policy: RetryPolicy, run: Run, now: float, log_length: int) -> bool:
    """True when there is to be no further attempt."""
    if not run.counted:
        return False
    if policy.max_attempts and run.counted >= policy.max_attempts:
        return True
    if run.failure is not None and run.failure.type in policy.non_retryable:
        return True
    if policy.total_timeout is not None and now - run.first_start >= policy.total_timeout:
        return True
    return log_length >= limits.LOG_ENTRIES
