"""Which error class stands for which status of a call. Knows names only, so that it needs no gRPC."""

from __future__ import annotations

from collections.abc import Sequence

from sagaline import errors

_BY_REASON: dict[str, type[errors.RpcError]] = {"SAGA_NOT_FOUND": errors.SagaNotFound}

_BY_STATUS: dict[str, type[errors.RpcError]] = {
    "CANCELLED": errors.CallStopped,
    "UNKNOWN": errors.ServerFault,
    "INVALID_ARGUMENT": errors.InvalidRequest,
    "DEADLINE_EXCEEDED": errors.CallTimeout,
    "NOT_FOUND": errors.NotFound,
    "ALREADY_EXISTS": errors.SagaAlreadyExists,
    "PERMISSION_DENIED": errors.NotPermitted,
    "RESOURCE_EXHAUSTED": errors.LimitReached,
    "FAILED_PRECONDITION": errors.NotAllowedNow,
    "ABORTED": errors.Conflict,
    "OUT_OF_RANGE": errors.InvalidRequest,
    "UNIMPLEMENTED": errors.NotServed,
    "INTERNAL": errors.ServerFault,
    "UNAVAILABLE": errors.Unavailable,
    "DATA_LOSS": errors.ServerFault,
    "UNAUTHENTICATED": errors.NotAuthenticated,
}


def rpc_error(
    status: str,
    message: str,
    *,
    reason: str = "",
    problems: Sequence[errors.FieldProblem] = (),
    retry_delay_s: float | None = None,
) -> errors.RpcError:
    """Return the error that stands for a call's status: its class by `reason` if known, else by `status`.

    Args:
        status: Name of the gRPC status, such as "NOT_FOUND". One that is not known gives a plain `RpcError`.
        message: What the server says of it.
        reason: The server's stable reason, if it gave one.
        problems: The fields or preconditions that are wrong.
        retry_delay_s: Seconds to wait before the next try, where the server said so.
    """
    kind = _BY_REASON.get(reason) or _BY_STATUS.get(status, errors.RpcError)
    return kind(message, status=status, reason=reason, problems=problems, retry_delay_s=retry_delay_s)
