"""The one table from whatever can go wrong with a request to what a client hears of it.

Every error is a `google.rpc.Status` with an `ErrorInfo` of a stable reason, and
the same thing inside a batch is a `BatchError`. Statuses travel in trailers,
which gRPC bounds (8 KiB is safe everywhere), so what is listed is bounded here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Never

import grpc
import msgspec
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from sagaline.v1 import saga_service_pb2
from sagaline_server.core import limits
from sagaline_server.core.validate import Problem
from sagaline_server.runtime.requests import Overloaded, RequestRefused, RuntimeRefusal
from sagaline_server.wire.times import duration

DOMAIN = "sagaline.dev"
DETAILS_KEY = "grpc-status-details-bin"

SAGA = "sagaline.v1.Saga"
NODE = "sagaline.v1.Node"
SEC = "sagaline.v1.Sec"

MESSAGE_BYTES = 512
"""The message of a status; it travels twice, and percent-encoded."""
FIELD_BYTES = 200
DESCRIPTION_BYTES = 400
REASON_CHARS = 64
LISTED_BYTES = 3000
"""All problems that one error lists, so that status and message fit into 8 KiB of trailers."""


class Rule(msgspec.Struct, frozen=True):
    """What a client hears of one reason."""

    code: grpc.StatusCode
    message: str = ""
    """For people, where the refusal has no words of its own."""
    resource: str = ""
    """Type of what was not found, or is there already: adds a ResourceInfo."""
    precondition: bool = False
    """True: the saga's state is in the way; adds a PreconditionFailure."""


TABLE: Mapping[str, Rule] = {
    "INVALID_REQUEST": Rule(grpc.StatusCode.INVALID_ARGUMENT, "the request is wrong"),
    "UNREADABLE_REQUEST": Rule(
        grpc.StatusCode.INVALID_ARGUMENT,
        "the request can't be decoded as the message of this method; strings must be UTF-8",
    ),
    "UNAUTHENTICATED": Rule(
        grpc.StatusCode.UNAUTHENTICATED,
        "nobody is known by what was shown: give a token as metadata 'authorization: Bearer TOKEN', or a certificate",
    ),
    "PERMISSION_DENIED": Rule(grpc.StatusCode.PERMISSION_DENIED, "this party may not call this method"),
    "SAGA_NOT_FOUND": Rule(grpc.StatusCode.NOT_FOUND, "there is no saga of this id", resource=SAGA),
    "NODE_NOT_FOUND": Rule(grpc.StatusCode.NOT_FOUND, "the saga has no such node", resource=NODE),
    "SEC_NOT_FOUND": Rule(grpc.StatusCode.NOT_FOUND, "there is no live SEC of this name", resource=SEC),
    "NO_OTHER_SEC": Rule(
        grpc.StatusCode.FAILED_PRECONDITION, "there is no other SEC that could take the saga", precondition=True
    ),
    "SAGA_ALREADY_EXISTS": Rule(
        grpc.StatusCode.ALREADY_EXISTS,
        "a saga of this id and other content exists; choose another id, or send the same content",
        resource=SAGA,
    ),
    "SAGA_FINISHED": Rule(grpc.StatusCode.FAILED_PRECONDITION, "the saga has ended", precondition=True),
    "SAGA_QUARANTINED": Rule(grpc.StatusCode.FAILED_PRECONDITION, "the saga is set aside", precondition=True),
    "SIGNAL_NOT_FOUND": Rule(grpc.StatusCode.NOT_FOUND, "no node of the saga waits for this signal", resource=NODE),
    "SIGNAL_NOT_AWAITED": Rule(grpc.StatusCode.FAILED_PRECONDITION, "nothing waits for it any more", precondition=True),
    "PIVOT_PASSED": Rule(grpc.StatusCode.FAILED_PRECONDITION, "the saga only goes on", precondition=True),
    "SAGA_NOT_PAUSED": Rule(grpc.StatusCode.FAILED_PRECONDITION, "the gate holds nothing", precondition=True),
    "NODE_NOT_RESOLVABLE": Rule(
        grpc.StatusCode.FAILED_PRECONDITION, "the node does not wait for that decision", precondition=True
    ),
    "SAGA_CHANGED": Rule(
        grpc.StatusCode.FAILED_PRECONDITION, "the saga has gone on since it was looked at", precondition=True
    ),
    "FAULTS_NOT_ALLOWED": Rule(
        grpc.StatusCode.FAILED_PRECONDITION, "this SEC's settings allow no injected faults", precondition=True
    ),
    "FAULT_NOT_APPLICABLE": Rule(
        grpc.StatusCode.FAILED_PRECONDITION, "nothing of that kind can befall the node", precondition=True
    ),
    "LOG_COMPACTED": Rule(grpc.StatusCode.FAILED_PRECONDITION, "the log is no longer kept", precondition=True),
    "LOG_UNREADABLE": Rule(grpc.StatusCode.DATA_LOSS, "the log can't be read"),
    "OVERLOADED": Rule(grpc.StatusCode.RESOURCE_EXHAUSTED, "too much is under way here; try again later"),
    "TOO_MANY_FOLLOWED": Rule(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "this stream follows as many sagas as it may; wait for some to end, or open another stream",
    ),
    "TOO_MANY_GRAPHS": Rule(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "this stream keeps as many graphs as it may; use a key again, or open another stream",
    ),
    "RESPONSE_TOO_LARGE": Rule(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "the saga in the FULL view is larger than a message may be; take the BASIC view and page through its log",
    ),
    "NOT_SERVING": Rule(grpc.StatusCode.UNAVAILABLE, "this SEC can't answer now; try again, or ask another one"),
    "SERVER_DEADLINE": Rule(
        grpc.StatusCode.DEADLINE_EXCEEDED,
        "the call had no deadline and ran into the server's; whether it had its effect is not known",
    ),
    "INTERNAL_ERROR": Rule(
        grpc.StatusCode.INTERNAL, "a fault inside the server; its log knows more under the correlation id"
    ),
}

OTHERWISE = Rule(grpc.StatusCode.FAILED_PRECONDITION, "the saga's state does not allow it", precondition=True)
"""A code that the runtime or the core gives and the table does not name is about the state of the saga."""


class Refused(Exception):
    """A request that is not served. Its reason is a key of the table, or a code of the core."""

    def __init__(
        self,
        reason: str,
        message: str = "",
        *,
        problems: Sequence[Problem] = (),
        subject: str = "",
        retry_delay: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Make a refusal.

        Args:
            reason: Stable code.
            message: For people; empty: the table's.
            problems: What is wrong with the request.
            subject: Saga, "saga/node" or SEC that it is about.
            retry_delay: Seconds after which a repetition may go well.
            metadata: Facts for programs.
        """
        super().__init__(reason, message)
        self.reason = reason
        self.rule = TABLE.get(reason, OTHERWISE)
        self.problems = tuple(problems)
        self.subject = subject
        self.retry_delay = retry_delay
        self.metadata = dict(metadata or {})
        self.message = plain(message or _summary(self.problems) or self.rule.message, MESSAGE_BYTES)


def refuse(problems: Sequence[Problem]) -> None:
    """Raise what is wrong with a request, if anything is.

    Raises:
        Refused: There are problems.
    """
    if problems:
        raise Refused("INVALID_REQUEST", problems=problems)


def refusal(error: RuntimeRefusal, subject: str = "") -> Refused:
    """Return what a client hears of a runtime's refusal. Only words meant for clients go through."""
    message = str(error) if isinstance(error, RequestRefused) else ""
    delay = error.retry_delay if isinstance(error, Overloaded) else None
    return Refused(error.code, message, subject=subject, retry_delay=delay)


def status(refused: Refused) -> status_pb2.Status:
    """Return the status of a refusal, with its details."""
    return status_pb2.Status(
        code=_number(refused.rule.code),
        message=refused.message,
        details=[_packed(detail) for detail in _details(refused)],
    )


def batch_error(refused: Refused) -> saga_service_pb2.BatchError:
    """Return the error of one saga of a batch."""
    error = saga_service_pb2.BatchError(
        code=_number(refused.rule.code), reason=refused.reason[:REASON_CHARS], message=refused.message
    )
    for problem in _listed(refused.problems):
        error.problems.add(
            field=problem.field, reason=problem.reason, message=problem.message, node=plain(problem.node, FIELD_BYTES)
        )
    return error


async def abort(context: grpc.aio.ServicerContext[Any, Any], refused: Refused) -> Never:
    """End a call with the status of a refusal."""
    details = ((DETAILS_KEY, status(refused).SerializeToString()),)
    await context.abort(refused.rule.code, refused.message, details)


def plain(text: str, limit: int) -> str:
    """Return text that is safe to show: nothing that steers a terminal, and at most `limit` bytes."""
    text = text[:limit]
    if not text.isprintable():
        text = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
    raw = text.encode(errors="replace")
    return text if len(raw) <= limit else raw[: limit - 3].decode(errors="ignore") + "…"


def _number(code: grpc.StatusCode) -> int:
    number: int = code.value[0]
    return number


def _summary(problems: Sequence[Problem]) -> str:
    """Say the first problem in words, and how many more there are."""
    if not problems:
        return ""
    first = problems[0]
    text = f"{plain(first.field, FIELD_BYTES)}: {first.message}"
    return f"{plain(text, MESSAGE_BYTES - 32)} (and {len(problems) - 1} more)" if len(problems) > 1 else text


def _listed(problems: Sequence[Problem]) -> list[Problem]:
    """Return the problems that an error lists, cut to size."""
    listed: list[Problem] = []
    size = 0
    for problem in problems[: limits.PROBLEMS_REPORTED]:
        short = Problem(
            plain(problem.field, FIELD_BYTES),
            problem.reason,
            plain(problem.message, DESCRIPTION_BYTES),
            plain(problem.node, FIELD_BYTES),
        )
        size += sum(len(part.encode()) for part in (short.field, short.reason, short.message, short.node))
        if listed and size > LISTED_BYTES:
            break
        listed.append(short)
    return listed


def _details(refused: Refused) -> Iterator[Message]:
    metadata = {key: plain(value, FIELD_BYTES) for key, value in refused.metadata.items()}
    listed = _listed(refused.problems)
    if len(listed) < len(refused.problems):
        metadata["more_problems"] = str(len(refused.problems) - len(listed))
    yield error_details_pb2.ErrorInfo(reason=refused.reason[:REASON_CHARS], domain=DOMAIN, metadata=metadata)
    if listed:
        yield error_details_pb2.BadRequest(field_violations=[_violation(problem) for problem in listed])
    subject = plain(refused.subject, 2 * FIELD_BYTES)
    if refused.rule.precondition:
        failure = error_details_pb2.PreconditionFailure()
        failure.violations.add(type=refused.reason[:REASON_CHARS], subject=subject, description=refused.message)
        yield failure
    if refused.rule.resource and subject:
        yield error_details_pb2.ResourceInfo(
            resource_type=refused.rule.resource, resource_name=subject, description=refused.message
        )
    if refused.retry_delay is not None:
        yield error_details_pb2.RetryInfo(retry_delay=duration(refused.retry_delay))


def _violation(problem: Problem) -> error_details_pb2.BadRequest.FieldViolation:
    description = f"node {problem.node}: {problem.message}" if problem.node else problem.message
    return error_details_pb2.BadRequest.FieldViolation(
        field=problem.field, reason=problem.reason, description=description
    )


def _packed(detail: Message) -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(detail)
    return packed
