"""Every error that the SDK raises, and the three outcomes that actions raise themselves.

```
SagalineError                     SAGALINE_ERROR        everything below
├── ActionOutcome                 ACTION_OUTCOME        raised by your actions and undo actions
│   ├── Failed                    FAILED                no effect, in this or any earlier attempt
│   │   └── Suppressed            SUPPRESSED            a barrier: the node was undone before this action came
│   ├── Retry                     RETRY                 may have had an effect; try again
│   │   └── StaleToken            STALE_TOKEN           a barrier: a later attempt has been here already
│   └── Hold                      HOLD                  an operator has to decide
│       ├── InputMismatch         INPUT_MISMATCH        a barrier: the node was recorded with other inputs
│       └── NotRecorded           NOT_RECORDED          a barrier: knows nothing of an action that succeeded
├── DefinitionError               BAD_DEFINITION        a mistake in your program; nothing was sent
│   ├── ActionError               BAD_ACTION            a function that cannot be an action or undo action
│   ├── GraphError                BAD_GRAPH             a graph that the server would refuse: `problems`
│   ├── PolicyError               BAD_POLICY            a policy out of its range
│   └── BarrierMisuse             BARRIER_MISUSE        a barrier is used where it cannot keep its promise
├── ConversionError               CONVERSION_FAILED     a value does not fit its type: `path`
│   ├── TypeNotSupported          TYPE_NOT_SUPPORTED    a type that no payload can carry
│   └── PayloadTooLarge           PAYLOAD_TOO_LARGE     a value over 256 KiB
├── RpcError                      RPC_FAILED            a call that a SEC refused, or that did not reach one
│   ├── InvalidRequest            INVALID_REQUEST       `problems` says which fields; repeating cannot help
│   ├── NotFound                  NOT_FOUND             what the call names does not exist
│   │   └── SagaNotFound          SAGA_NOT_FOUND        no saga of that id
│   ├── SagaAlreadyExists         SAGA_ALREADY_EXISTS   the id belongs to a saga of other content
│   ├── NotAllowedNow             NOT_ALLOWED_NOW       the saga's state does not allow it
│   ├── LimitReached              LIMIT_REACHED         a quota or a full queue; later it may work
│   ├── NotServed                 NOT_SERVED            this server does not serve the call
│   ├── NotAuthenticated          NOT_AUTHENTICATED     credentials are missing or wrong
│   ├── NotPermitted              NOT_PERMITTED         the caller may not do this
│   ├── Conflict                  CONFLICT              something else changed at the same time; try again
│   ├── Unavailable               UNAVAILABLE           no SEC could be reached, or it is stopping
│   ├── CallTimeout               CALL_TIMEOUT          no answer in time; the call may have had its effect
│   ├── CallStopped               CALL_STOPPED          the call was given up on this side
│   ├── ServerFault               SERVER_FAULT          a fault inside the server
│   └── UnexpectedAnswer          UNEXPECTED_ANSWER     an answer that the protocol does not allow
├── SagaNotSucceeded              SAGA_NOT_SUCCEEDED    what `run` raises where there is no result
│   ├── SagaUnwound               SAGA_UNWOUND          it ended, and nothing of it remains
│   ├── SagaNeedsOperator         SAGA_NEEDS_OPERATOR   only an operator can bring it further
│   │   ├── SagaStuck             SAGA_STUCK            an undo failed for good
│   │   ├── SagaHeld              SAGA_HELD             an action asked for an operator
│   │   └── SagaQuarantined       SAGA_QUARANTINED      its log breaks the rules
│   └── SagaUnfinished            SAGA_UNFINISHED       the time to wait is over; the saga goes on
└── WorkerError                   WORKER_ERROR          a worker cannot go on
    ├── ProtocolError             PROTOCOL_ERROR        a SEC broke the worker protocol
    └── AttemptCancelled          ATTEMPT_CANCELLED     the SEC wishes this attempt to stop
```

`code` is stable: programs may compare it, and it never changes. A message may change with any release.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar


class SagalineError(Exception):
    """Everything that the SDK raises on purpose.

    Attributes:
        code: Stable code of the class.
    """

    code: ClassVar[str] = "SAGALINE_ERROR"


class ActionOutcome(SagalineError):
    """How an attempt ended, told by the action or undo action that raises it.

    Every other exception that leaves an action counts as `Retry`, with the exception's class as its type.

    Args:
        type: Stable type for programs and for `RetryPolicy.non_retryable`, such as "CardDeclined". At most
            128 bytes reach the log.
        message: For people. At most 4 KiB reach the log. No secrets: operators read it.
        details: Values for programs that read the failure; at most 4, each convertible by `sagaline.encode`.
    """

    code = "ACTION_OUTCOME"

    def __init__(self, type: str, message: str = "", *, details: Sequence[object] = ()) -> None:  # noqa: A002
        super().__init__(type, message)
        self.type = type
        self.message = message
        self.details = tuple(details)

    def __str__(self) -> str:
        return f"{self.type}: {self.message}" if self.message else self.type


class Failed(ActionOutcome):
    """The action failed and is known to have had **no effect, in this or any earlier attempt**.

    The saga unwinds and this node is not undone. If the effect is not known, raise `Retry` instead. Raised by
    an undo action it means that the undo can never succeed: the saga is stuck until an operator decides.
    """

    code = "FAILED"


class Suppressed(Failed):
    """The node was undone before this action arrived: a barrier kept it from running, and always will.

    It counts as `Failed` because that is what it is: nothing of the node stands, or ever will. To answer with success
    would be a lie, and to be tried again could never help.
    """

    code = "SUPPRESSED"


class Retry(ActionOutcome):
    """The attempt may or may not have had an effect; try again.

    Args:
        delay: Time before the next attempt, 0 to 30 days. None: the policy's backoff.
    """

    code = "RETRY"

    def __init__(
        self,
        type: str,  # noqa: A002
        message: str = "",
        delay: timedelta | None = None,
        *,
        details: Sequence[object] = (),
    ) -> None:
        super().__init__(type, message, details=details)
        self.delay = delay


class StaleToken(Retry):
    """A later attempt of the node has passed the barrier, so this one must change nothing.

    It knows nothing of what the later one did, hence `Retry`: its effect counts as unknown.
    """

    code = "STALE_TOKEN"


class Hold(ActionOutcome):
    """Neither try again nor unwind: an operator has to look at this node."""

    code = "HOLD"


class InputMismatch(Hold):
    """The barrier has a record of this node with other inputs. Nothing ran: one of the two is not this node."""

    code = "INPUT_MISMATCH"


class NotRecorded(Hold):
    """An undo action found no effect on record, and the SEC knows that its action succeeded.

    The record was removed too early, or is in another database. Nothing ran: to say that the node is undone would
    leave its effect behind.
    """

    code = "NOT_RECORDED"


class DefinitionError(SagalineError):
    """A mistake in the program, found before anything was sent. The message says how to mend it."""

    code = "BAD_DEFINITION"


class ActionError(DefinitionError):
    """A function cannot be an action or undo action, or an action is used in a way it cannot be."""

    code = "BAD_ACTION"


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One thing that is wrong with a graph or a request."""

    field: str
    """Path of the field, such as "saga.graph.nodes[2].action.inputs[order]"."""
    reason: str
    """Stable reason, such as "UNKNOWN_NODE"; the server and the graph builder use the same ones."""
    message: str
    """What is wrong, and what to do about it."""
    node: str = ""
    """Node it is about; empty if none."""

    def __str__(self) -> str:
        where = f"node {self.node}" if self.node else self.field
        return f"{where}: {self.message} [{self.reason}]" if where else f"{self.message} [{self.reason}]"


class GraphError(DefinitionError):
    """A graph that the server would refuse, found while it was built.

    Attributes:
        problems: What is wrong, each with its stable reason.
    """

    code = "BAD_GRAPH"

    def __init__(self, message: str, problems: Sequence[FieldProblem] = ()) -> None:
        super().__init__(message, tuple(problems))
        self.message = message
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return _with_problems(self.message, self.problems)


class PolicyError(DefinitionError):
    """A policy has a value out of its range."""

    code = "BAD_POLICY"


class BarrierMisuse(DefinitionError):
    """A barrier is used where it cannot keep its promise, such as outside of a transaction. Nothing was changed."""

    code = "BARRIER_MISUSE"


class ConversionError(SagalineError):
    """A value does not fit its type, or cannot be a payload at all.

    Attributes:
        message: What does not fit, without the path.
        path: Where inside the value, such as "$.items[2].price"; "$" is the value itself.
    """

    code = "CONVERSION_FAILED"

    def __init__(self, message: str, path: str = "$") -> None:
        super().__init__(message, path)
        self.message = message
        self.path = path

    def __str__(self) -> str:
        return self.message if self.path == "$" else f"{self.path}: {self.message}"


class TypeNotSupported(ConversionError):
    """A type that no payload can carry. The message names what can be used instead."""

    code = "TYPE_NOT_SUPPORTED"


class PayloadTooLarge(ConversionError):
    """An encoded value is over the limit. Store it elsewhere and pass its key.

    Attributes:
        size_bytes: Encoded size.
        limit_bytes: Greatest size allowed.
    """

    code = "PAYLOAD_TOO_LARGE"

    def __init__(self, message: str, path: str = "$", *, size_bytes: int = 0, limit_bytes: int = 0) -> None:
        super().__init__(message, path)
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes


class RpcError(SagalineError):
    """A call did not succeed.

    Attributes:
        message: What the server, or gRPC, says of it.
        status: Name of the gRPC status, such as "NOT_FOUND".
        reason: The server's stable reason, such as "SAGA_NOT_FOUND"; empty if it gave none.
        problems: The fields or preconditions that are wrong; empty if it named none.
        retry_delay_s: Seconds to wait before the next try, where the server said so.
    """

    code = "RPC_FAILED"

    def __init__(
        self,
        message: str,
        *,
        status: str = "",
        reason: str = "",
        problems: Sequence[FieldProblem] = (),
        retry_delay_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.reason = reason
        self.problems = tuple(problems)
        self.retry_delay_s = retry_delay_s

    def __str__(self) -> str:
        named = f"{self.message} [{self.reason}]" if self.reason else self.message
        return _with_problems(named, self.problems)


class InvalidRequest(RpcError):
    """The request is wrong: `problems` says where. Repeating it cannot help; nothing was written."""

    code = "INVALID_REQUEST"


class NotFound(RpcError):
    """What the call names does not exist; `reason` says what that is."""

    code = "NOT_FOUND"


class SagaNotFound(NotFound):
    """There is no saga of that id: it was never created, or its retention time is over."""

    code = "SAGA_NOT_FOUND"


class SagaAlreadyExists(RpcError):
    """The id belongs to a saga of other content. The same content would have been answered with that saga."""

    code = "SAGA_ALREADY_EXISTS"


class NotAllowedNow(RpcError):
    """The state of the saga or node does not allow it; `problems` says what would have to be."""

    code = "NOT_ALLOWED_NOW"


class LimitReached(RpcError):
    """A limit of the server is reached. Nothing was written; later it may work: `retry_delay_s`."""

    code = "LIMIT_REACHED"


class NotServed(RpcError):
    """This server does not serve the call, or not this part of it."""

    code = "NOT_SERVED"


class NotAuthenticated(RpcError):
    """Credentials are missing, expired or wrong."""

    code = "NOT_AUTHENTICATED"


class NotPermitted(RpcError):
    """The caller is known and may not do this."""

    code = "NOT_PERMITTED"


class Conflict(RpcError):
    """Something else changed at the same time. Read again, then try again."""

    code = "CONFLICT"


class Unavailable(RpcError):
    """No SEC could be reached, or it is stopping. Whether the call had its effect is not known."""

    code = "UNAVAILABLE"


class CallTimeout(RpcError):
    """No answer came in time. Whether the call had its effect is not known."""

    code = "CALL_TIMEOUT"


class CallStopped(RpcError):
    """The call was given up on this side. Whether it had its effect is not known."""

    code = "CALL_STOPPED"


class ServerFault(RpcError):
    """A fault inside the server. Its log knows more; whether the call had its effect is not known."""

    code = "SERVER_FAULT"


class UnexpectedAnswer(RpcError):
    """The server answered what the protocol does not allow: it is not a SEC, or one of another generation."""

    code = "UNEXPECTED_ANSWER"


@dataclass(frozen=True, slots=True)
class FailureInfo:
    """A failure as the log holds it."""

    type: str
    """Stable type, such as "CardDeclined"; "sagaline.…" are the system's own."""
    message: str = ""
    """For people."""

    def __str__(self) -> str:
        return f"{self.type}: {self.message}" if self.message else self.type


class SagaNotSucceeded(SagalineError):
    """A saga has no result, or none yet.

    Attributes:
        message: What happened.
        saga_id: Id of the saga.
        failed_node: Node that failed first; empty if none did.
        failure: Why it unwinds or unwound; None while it goes forward.
    """

    code = "SAGA_NOT_SUCCEEDED"

    def __init__(
        self, message: str, *, saga_id: str = "", failed_node: str = "", failure: FailureInfo | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.saga_id = saga_id
        self.failed_node = failed_node
        self.failure = failure


class SagaUnwound(SagaNotSucceeded):
    """The saga ended and nothing of it remains: what was done is undone."""

    code = "SAGA_UNWOUND"


class SagaNeedsOperator(SagaNotSucceeded):
    """Only an operator can bring the saga further."""

    code = "SAGA_NEEDS_OPERATOR"


class SagaStuck(SagaNeedsOperator):
    """An undo failed for good. An operator tries it again, or marks the node undone."""

    code = "SAGA_STUCK"


class SagaHeld(SagaNeedsOperator):
    """A node is held because its action asked for an operator."""

    code = "SAGA_HELD"


class SagaQuarantined(SagaNeedsOperator):
    """The saga is set aside because its log breaks the rules."""

    code = "SAGA_QUARANTINED"


class SagaUnfinished(SagaNotSucceeded):
    """The time to wait is over. The saga goes on, and can be waited for again."""

    code = "SAGA_UNFINISHED"


class WorkerError(SagalineError):
    """A worker cannot go on."""

    code = "WORKER_ERROR"


class ProtocolError(WorkerError):
    """A SEC sent what the worker protocol does not allow; the stream is given up."""

    code = "PROTOCOL_ERROR"


class AttemptCancelled(WorkerError):
    """The SEC wishes the running attempt to stop. Let it pass, unless the effect is already there."""

    code = "ATTEMPT_CANCELLED"


def _with_problems(message: str, problems: Sequence[FieldProblem]) -> str:
    return "\n".join([message, *(f"  {problem}" for problem in problems)])
