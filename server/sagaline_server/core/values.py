"""Payloads and failures as the machine sees them.

A payload is opaque here except where a path selects a field of its JSON text.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence

import msgspec


class Payload(msgspec.Struct, frozen=True, gc=False):
    """A value of the user's: JSON text, or bytes with an encoding. Neither means the JSON null."""

    json: str | None = None
    data: bytes | None = None
    encoding: str = ""
    metadata: tuple[tuple[str, str], ...] = ()


NULL = Payload(json="null")


class Disposition(enum.IntEnum):
    """What a worker asks for after an attempt that did not succeed. Values are the wire's."""

    RETRY = 1
    FAIL = 2
    HOLD = 3


class FailureSource(enum.IntEnum):
    """Who found out about a failure. Values are the wire's."""

    APPLICATION = 1
    CONVERSION = 2
    TIMEOUT = 3
    CANCELLED = 4
    WORKER_LOST = 5
    SEC = 6
    OPERATOR = 7


class Failure(msgspec.Struct, frozen=True):
    """Why an attempt, a node or a saga failed."""

    type: str
    message: str = ""
    disposition: Disposition = Disposition.RETRY
    source: FailureSource = FailureSource.APPLICATION
    next_retry_delay: float | None = None
    """Seconds before the next attempt, instead of the policy's backoff."""
    details: tuple[Payload, ...] = ()
    stack_trace: str = ""
    cause: Failure | None = None


class SelectionError(Exception):
    """A path selects nothing in a payload."""


_LEVEL: msgspec.json.Decoder[dict[str, msgspec.Raw] | list[msgspec.Raw]] = msgspec.json.Decoder(
    dict[str, msgspec.Raw] | list[msgspec.Raw]
)
_INDEX = re.compile("0|[1-9][0-9]{0,8}")


def select(payload: Payload, path: Sequence[str]) -> Payload:
    """Return the part of a JSON payload that `path` names, as it was written.

    Raises:
        SelectionError: The payload is not JSON, or has no such part. Selecting again cannot help.
    """
    if not path:
        return payload
    if payload.json is None:
        raise SelectionError("a path selects fields of JSON only, and this payload is bytes")
    part = payload.json.encode()
    for depth, key in enumerate(path):
        part = bytes(_child(part, key, path[: depth + 1]))
    return Payload(json=part.decode())


def index_of(key: str) -> int | None:
    """Return the place in an array that an element of a path names; None: it is no place."""
    return int(key) if _INDEX.fullmatch(key) else None


def _child(text: bytes, key: str, walked: Sequence[str]) -> msgspec.Raw:
    where = ".".join(walked)
    try:
        level = _LEVEL.decode(text)
    except msgspec.ValidationError:
        raise SelectionError(f"{where!r} goes inside a value that is neither an object nor an array") from None
    except (msgspec.DecodeError, RecursionError):
        raise SelectionError("the payload is not valid JSON, or nested too deep to be read") from None
    if isinstance(level, dict):
        if key in level:
            return level[key]
        raise SelectionError(f"there is no field {where!r}")
    index = index_of(key)
    if index is not None and index < len(level):
        return level[index]
    raise SelectionError(f"the array has no element {where!r}")


_LIST: msgspec.json.Decoder[list[msgspec.Raw]] = msgspec.json.Decoder(list[msgspec.Raw])


def elements_of(payload: Payload) -> tuple[Payload, ...]:
    """Return the elements of a JSON array, each as it was written.

    Raises:
        SelectionError: It is something else.
    """
    if payload.data is not None:
        raise SelectionError("a map takes a JSON array, and this payload is bytes")
    try:
        level = _LIST.decode((payload.json or "null").encode())
    except msgspec.ValidationError:
        raise SelectionError("a map takes a JSON array, and this value is none") from None
    except (msgspec.DecodeError, RecursionError):
        raise SelectionError("the payload is not valid JSON, or nested too deep to be read") from None
    return tuple(Payload(json=bytes(element).decode()) for element in level)
