"""What a worker's first frame must be."""

from __future__ import annotations

import re

from sagaline.v1 import worker_service_pb2
from sagaline_server.core import limits
from sagaline_server.dispatch.dispatcher import check_report

_WORKER_ID = re.compile(rf"[A-Za-z0-9._-]{{1,{limits.WORKER_ID_CHARS}}}")
_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{limits.ACTION_NAME_CHARS - 1}}}")
_VERSION = re.compile(rf"[A-Za-z0-9._-]{{1,{limits.VERSION_CHARS}}}")
_TEXT_BYTES = {"identity": 256, "build_id": 128, "sdk": 128}


def problem_of(hello: worker_service_pb2.Hello) -> str:
    """Say what makes a hello unusable, naming the field; empty: nothing."""
    if not _WORKER_ID.fullmatch(hello.worker_id):
        return f"hello.worker_id has 1 to {limits.WORKER_ID_CHARS} characters of [A-Za-z0-9._-]"
    if hello.protocol_version < 1:
        return "hello.protocol_version is at least 1"
    if hello.stream_epoch < 1:
        return "hello.stream_epoch is at least 1"
    if len(hello.actions) > limits.ACTIONS_PER_WORKER:
        return f"hello.actions has at most {limits.ACTIONS_PER_WORKER} entries"
    for field, limit in _TEXT_BYTES.items():
        if len(getattr(hello, field).encode()) > limit:
            return f"hello.{field} has at most {limit} bytes"
    try:
        check_report(hello.in_flight)
    except ValueError as error:
        return f"hello.in_flight: {error}"
    return ""


def refused_actions(hello: worker_service_pb2.Hello) -> dict[str, str]:
    """Return the actions of a hello that can't be served, with the reason."""
    refused = {}
    for spec in hello.actions:
        if not _NAME.fullmatch(spec.action):
            refused[spec.action[:128]] = "an action's name has 1 to 128 characters of [A-Za-z0-9._-]"
        elif any(not _VERSION.fullmatch(version) for version in spec.versions):
            refused[spec.action] = "a version has 1 to 64 characters of [A-Za-z0-9._-]"
        elif any(kind not in (1, 2) for kind in spec.kinds):
            refused[spec.action] = "a side is ACTION or UNDO"
    return refused


def without(hello: worker_service_pb2.Hello, refused: dict[str, str]) -> worker_service_pb2.Hello:
    """Return a hello with only the actions that were not refused."""
    if not refused:
        return hello
    kept = worker_service_pb2.Hello()
    kept.CopyFrom(hello)
    del kept.actions[:]
    kept.actions.extend(spec for spec in hello.actions if spec.action[:128] not in refused)
    return kept
