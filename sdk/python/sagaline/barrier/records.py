"""What a row holds of an output and of a failure: the bytes of `sagaline.v1.Payload` and `sagaline.v1.Failure`.

They are what goes over the wire too, so that barriers in every language can share one table.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pool, message_factory

from sagaline.errors import ConversionError, Failed
from sagaline.v1.failure_pb2 import Failure
from sagaline.v1.payload_pb2 import Payload
from sagaline.values import MESSAGE_TYPE, decode, encode
from sagaline.worker.outcomes import told


def output_bytes(output: object, declared: Any) -> bytes:
    """Return what is recorded of an output.

    Raises:
        ConversionError: It cannot be a payload of the declared type.
    """
    return encode(output, declared).SerializeToString(deterministic=True)


def output_of(recorded: bytes, declared: Any) -> Any:
    """Return a recorded output as a value of the declared type.

    Where none is declared, bytes that this program can make nothing of are returned as the `Payload` that they are.

    Raises:
        ConversionError: It is not of this type: the code is of another version than the one that ran.
    """
    payload = Payload.FromString(recorded)
    if declared is not Any:
        return decode(payload, declared)
    try:
        return _undeclared(payload)
    except (ConversionError, KeyError):
        return payload


def failure_bytes(failed: Failed) -> bytes:
    """Return what is recorded of a failure: the same that the SEC is told."""
    return told(failed).SerializeToString(deterministic=True)


def failure_of(recorded: bytes) -> Failed:
    """Return a recorded failure. Details of messages that this program does not know are left out."""
    failure = Failure.FromString(recorded)
    details = []
    for payload in failure.details:
        try:
            details.append(_undeclared(payload))
        except (ConversionError, KeyError):
            continue
    return Failed(failure.type, failure.message, details=details)


def _undeclared(payload: Payload) -> Any:
    name = payload.metadata.get(MESSAGE_TYPE)
    if name is None:
        return decode(payload)
    return decode(payload, message_factory.GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(name)))
