"""The graph: a signal, a delay, a point of no return, and what has to succeed after it."""

from __future__ import annotations

from datetime import timedelta

from sagaline import UNBOUNDED, Graph, GraphBuilder, RetryPolicy, Timeouts, UndoPolicy, UnknownPolicy
from sagaline_examples.retire import actions
from sagaline_examples.retire.values import Approval, Retired, RetireRequest

PATIENCE = timedelta(days=2)
COOLING = timedelta(seconds=2)


def retire_graph() -> Graph[RetireRequest, Retired]:
    g = GraphBuilder("retire", params=RetireRequest)
    closed = g.add("close", actions.close, lambda request: request.server)
    approved = g.signal("approved", Approval, timeout=PATIENCE, after=[closed])
    checked = g.add("check", actions.check, approved, undo=UndoPolicy.noop())
    cooled = g.delay("cool", COOLING, after=[closed])
    wiped = g.add(
        "wipe",
        actions.wipe,
        closed,
        after=[checked, cooled],
        pivot=True,
        timeouts=Timeouts(start_to_close=timedelta(minutes=10), heartbeat=timedelta(minutes=1)),
        unknown=UnknownPolicy.HOLD,
    )
    reported = g.add(
        "report",
        actions.report,
        wiped,
        checked,
        undo=UndoPolicy.noop(),
        retry=RetryPolicy(max_attempts=UNBOUNDED, max_backoff=timedelta(minutes=5)),
    )
    return g.build(result=reported)


RETIRE = retire_graph()
