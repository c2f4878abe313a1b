"""The transition table of a node, as data, and the only function that reads it.

House rules: everything that decides which status may follow which is in this
file; an event that the table does not allow is a log that breaks the rules,
and raises before anything has changed.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType


class NodeStatus(enum.IntEnum):
    """Where a node stands. Values are the wire's."""

    PENDING = 1
    RUNNING = 2
    RETRYING = 3
    HELD = 4
    SUCCEEDED = 5
    FAILED = 6
    IN_DOUBT = 7
    UNDOING = 8
    UNDO_RETRYING = 9
    UNDONE = 10
    UNDO_FAILED = 11
    ABANDONED = 12


STATUSES = {int(status): status for status in NodeStatus}
"""By number, as a state stores them."""


class Event(enum.Enum):
    """What can happen to a node's status."""

    START = "an attempt starts"
    RETRY = "an attempt ends with its effect unknown"
    REJECT = "the only attempts there were have been rejected"
    HOLD = "only an operator can decide"
    ANSWER_LATE = "an attempt given up before is answered"
    SUCCEED = "an attempt succeeds"
    FAIL = "the node has failed with no effect"
    GIVE_UP = "no definite answer can be had"
    ABANDON = "the saga unwinds before the node ran"
    PASS = "an instant node's parents have succeeded"
    START_UNDO = "an undo attempt starts"
    RETRY_UNDO = "an undo attempt ends without success"
    UNDO = "the node is undone"
    FAIL_UNDO = "the undo has failed for good"
    ORDER_RETRY = "an operator orders another try"
    ORDER_UNDONE = "an operator says it is undone"
    ORDER_FAILED = "an operator says it had no effect"
    ORDER_OUTPUT = "an operator supplies the output"

    # Members are singletons, and Enum's own hash is a slow function of their names.
    __hash__ = object.__hash__


_S = NodeStatus
TRANSITIONS: Mapping[Event, Mapping[NodeStatus, NodeStatus]] = MappingProxyType(
    {
        Event.START: {_S.PENDING: _S.RUNNING, _S.RETRYING: _S.RUNNING},
        Event.RETRY: {_S.RUNNING: _S.RETRYING},
        Event.REJECT: {_S.RUNNING: _S.PENDING},
        # From RUNNING at its worker's wish, from RETRYING by its policy, from PENDING when its inputs can't be had and
        # there is no way back.
        Event.HOLD: dict.fromkeys((_S.PENDING, _S.RUNNING, _S.RETRYING), _S.HELD),
        # An answer to an attempt that no longer matters is recorded and changes nothing.
        Event.ANSWER_LATE: {s: s for s in _S if s not in (_S.PENDING, _S.ABANDONED)},
        # From RETRYING, HELD and IN_DOUBT by a late result of an earlier attempt.
        Event.SUCCEED: dict.fromkeys((_S.RUNNING, _S.RETRYING, _S.HELD, _S.IN_DOUBT), _S.SUCCEEDED),
        # From PENDING when its inputs can't be had; from IN_DOUBT by a late, definite result.
        Event.FAIL: dict.fromkeys((_S.PENDING, _S.RUNNING, _S.RETRYING, _S.HELD, _S.IN_DOUBT), _S.FAILED),
        Event.GIVE_UP: {_S.RUNNING: _S.IN_DOUBT, _S.RETRYING: _S.IN_DOUBT},
        Event.ABANDON: {_S.PENDING: _S.ABANDONED},
        Event.PASS: {_S.PENDING: _S.SUCCEEDED},
        Event.START_UNDO: dict.fromkeys((_S.SUCCEEDED, _S.IN_DOUBT, _S.UNDO_RETRYING), _S.UNDOING),
        Event.RETRY_UNDO: {_S.UNDOING: _S.UNDO_RETRYING},
        # From SUCCEEDED and IN_DOUBT where there is nothing to do; from UNDO_RETRYING and
        # UNDO_FAILED by a late result of an earlier attempt.
        Event.UNDO: dict.fromkeys((_S.SUCCEEDED, _S.IN_DOUBT, _S.UNDOING, _S.UNDO_RETRYING, _S.UNDO_FAILED), _S.UNDONE),
        # From SUCCEEDED and IN_DOUBT where no undo was sent: it is irreversible, or no worker came for it in time.
        Event.FAIL_UNDO: dict.fromkeys((_S.SUCCEEDED, _S.IN_DOUBT, _S.UNDOING, _S.UNDO_RETRYING), _S.UNDO_FAILED),
        Event.ORDER_RETRY: {_S.HELD: _S.RETRYING, _S.UNDO_FAILED: _S.UNDO_RETRYING},
        Event.ORDER_UNDONE: dict.fromkeys((_S.UNDO_FAILED, _S.UNDO_RETRYING), _S.UNDONE),
        Event.ORDER_FAILED: dict.fromkeys((_S.HELD, _S.RETRYING), _S.FAILED),
        Event.ORDER_OUTPUT: dict.fromkeys((_S.HELD, _S.RETRYING), _S.SUCCEEDED),
    }
)

SETTLED = frozenset({_S.FAILED, _S.UNDONE, _S.ABANDONED})
"""Statuses that ask for nothing more while the saga unwinds: what a parent's undo waits for."""

WITHOUT_EFFECT = frozenset({_S.PENDING, _S.FAILED, _S.ABANDONED})
"""Statuses of a node that certainly has done nothing that is left."""


def next_status(status: NodeStatus, event: Event) -> NodeStatus | None:
    """Return the status after `event`, or None where the table does not allow it."""
    return TRANSITIONS[event].get(status)


def follow(status: int, event: Event) -> NodeStatus:
    """Return the status after an event that the table surely allows: what follows by itself."""
    return TRANSITIONS[event][STATUSES[status]]
