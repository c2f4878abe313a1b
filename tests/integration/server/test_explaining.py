"""What people are told of a saga that is not further: by `get`, by `why`, and of the same node the same thing."""

from __future__ import annotations

from datetime import timedelta

from sagaline import GraphBuilder, RetryPolicy, action
from sagaline.testing import InProcessSec
from sagaline.v1 import admin_service_pb2, saga_pb2


@action
async def ask_bank(name: str) -> str:
    raise ValueError("the bank is down")


@ask_bank.undo
async def forget(name: str) -> None: ...


def test_a_node_between_two_attempts_tells_when_the_next_is_due_and_how_the_last_ended() -> None:
    """Not that its workers are full, which they are not."""
    g = GraphBuilder("asking", params=str)
    hour = timedelta(hours=1)
    policy = RetryPolicy(initial_backoff=hour, max_backoff=hour, jitter=0)
    graph = g.build(result=g.add("ask", ask_bank, g.params, retry=policy))
    with InProcessSec([ask_bank]) as sec:
        saga = sec.create(graph, "Ann")
        sec.advance(timedelta(minutes=1))
        (node,) = saga.get().nodes
    assert node.status == saga_pb2.NODE_STATUS_RETRYING
    assert node.waiting_for.startswith("the next attempt is due in ")
    assert node.waiting_for.endswith("; last: ValueError: the bank is down")


@action
async def count(name: str) -> int:
    return "three"  # type: ignore[return-value]  # the worker can't send it


@count.undo
async def discount(name: str) -> None: ...


def test_a_node_that_an_operator_has_to_decide_about_tells_what_went_wrong() -> None:
    g = GraphBuilder("counting", params=str)
    graph = g.build(result=g.add("count", count, g.params))
    with InProcessSec([count]) as sec:
        saga = sec.create(graph, "Ann")
        assert saga.wait().needs_operator
        (wait,) = sec.complete(sec.stage._life.runtime.explain(saga.saga_id)).waits
    assert wait.reason == admin_service_pb2.WAIT_REASON_OPERATOR
    assert "resolve the node; last: sagaline.OutputNotConvertible: " in wait.message
