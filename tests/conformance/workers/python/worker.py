"""The Python conformance worker: what docs/sdk-authors.md asks for, over the SDK as users see it."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from sagaline import Context, Failed, Hold, Retry, Worker, action
from sagaline.context import CancelReason
from sagaline.v1 import worker_service_pb2 as pb

GATES = Path(os.environ["SAGALINE_GATES"])
POLL_SECONDS = 0.01


EFFECTS = os.open(os.environ["SAGALINE_EFFECTS"], os.O_WRONLY | os.O_APPEND)


def tell(line: dict[str, object]) -> None:
    """One write of a whole line, so that lines of several threads never mix."""
    os.write(EFFECTS, (json.dumps(line) + "\n").encode())


@contextmanager
def running(context: Context, **more: object) -> Iterator[None]:
    names: dict[str, object] = {
        "action": context.action,
        "kind": str(context.kind),
        "saga": context.saga_id,
        "node": context.node,
        "attempt": context.attempt,
    }
    tell({"event": "start", **names, **more})
    try:
        yield
    finally:
        tell({"event": "end", **names})


def is_open(gate: str) -> bool:
    return (GATES / gate).exists()


async def passing(gate: str) -> str:
    while not is_open(gate):  # noqa: ASYNC110 - the gate is a file: another process opens it
        await asyncio.sleep(POLL_SECONDS)
    return gate


def noted(context: Context) -> None:
    with running(context):
        pass


@action("echo")
async def echo(context: Context, value: Any) -> Any:
    with running(context):
        return value


@action("fail")
async def fail(context: Context, type: str, message: str) -> None:  # noqa: A002 - the contract's name
    with running(context):
        raise Failed(type, message)


@action("retry")
async def retry(context: Context, type: str, message: str, delay_ms: int) -> None:  # noqa: A002 - as above
    with running(context):
        raise Retry(type, message, timedelta(milliseconds=delay_ms) if delay_ms > 0 else None)


@action("hold")
async def hold(context: Context, type: str, message: str) -> None:  # noqa: A002 - as above
    with running(context):
        raise Hold(type, message)


@action("crash")
async def crash(context: Context, message: str) -> None:
    with running(context):
        raise RuntimeError(message)


@action("crash_undo")
async def crash_undo(context: Context) -> None:
    noted(context)


@crash_undo.undo
async def crash_undoing(context: Context) -> None:
    with running(context):
        raise RuntimeError("as it must")


@action("gate")
async def gate(context: Context, name: str) -> str:
    with running(context):
        return await passing(name)


@gate.undo
async def gate_undo(context: Context) -> None:
    with running(context):
        await passing(f"undo-{context.saga_id}")


@action("stubborn")
def stubborn(context: Context, name: str) -> str:
    with running(context):
        while not is_open(name):
            time.sleep(POLL_SECONDS)
        return name


@action("heeding")
async def heeding(context: Context, name: str) -> str:
    with running(context):
        while not is_open(name):
            if context.cancel_reason is CancelReason.SAGA_UNWINDING:
                raise Failed("Heeded", "nothing was done yet")
            await asyncio.sleep(POLL_SECONDS)
        return name


@action("block")
async def block(context: Context, name: str) -> str:
    with running(context):
        while not is_open(name):
            time.sleep(POLL_SECONDS)  # noqa: ASYNC251 - the event loop is what is to stand still
        return name


@action("big")
async def big(context: Context, bytes: int) -> str:  # noqa: A002 - the contract's name
    with running(context):
        return "x" * bytes


@action("progress")
async def progress(context: Context, name: str) -> Any:
    with running(context):
        last = context.last_progress()
        context.heartbeat({"at": 1})
        await passing(name)
        context.heartbeat({"at": 2})
        return {"last": last}


def told(context: Context, output: object) -> dict[str, object]:
    undo = context.undo
    return {
        "saga": context.saga_id,
        "node": context.node,
        "kind": str(context.kind),
        "attempt": context.attempt,
        "idempotency_key": context.idempotency_key,
        "fencing_token": str(context.fencing_token),
        "epoch": str(context.epoch),
        "labels": dict(context.labels),
        "trace_context": dict(context.trace_context),
        "has_deadline": context.remaining is not None,
        "stable_id": str(context.stable_id("x")),
        "undo": undo
        and {
            "succeeded": undo.action_succeeded,
            "output": output,
            "failure_type": undo.saga_failure.type if undo.saga_failure else None,
            "action_key": undo.action_idempotency_key,
        },
    }


@action("describe")
async def describe(context: Context, value: Any) -> Any:
    with running(context):
        return told(context, None)


@describe.undo
async def describe_undo(context: Context, *, output: Any | None) -> None:
    with running(context, told=told(context, output)):
        pass


@dataclass
class Order:
    id: str
    count: int


@action("typed")
async def typed(context: Context, order: Order) -> int:
    with running(context):
        return order.count


@action("misfit")
async def misfit(context: Context) -> int:
    with running(context):
        wrong: Any = object()
        return wrong  # type: ignore[no-any-return]


@action("flip")
async def flip(context: Context, sec: pb.Sec) -> pb.Sec:
    with running(context):
        return pb.Sec(sec_id=sec.sec_id, address=sec.address, draining=not sec.draining)


@action("versioned", version="1")
async def versioned_1(context: Context) -> str:
    with running(context):
        return "1"


@action("versioned", version="2")
async def versioned_2(context: Context) -> str:
    with running(context):
        return "2"


@action("one_sided")
async def one_sided(context: Context) -> None:
    noted(context)


ORDINARY = (
    echo, fail, retry, hold, crash, stubborn, heeding, block, big, progress, typed, misfit, flip, versioned_1,
    versioned_2,
)  # fmt: skip


async def noting(context: Context) -> None:
    noted(context)


for served in ORDINARY:
    served.undo(noting)


ACTIONS = (*ORDINARY, crash_undo, gate, describe, one_sided)


def main() -> None:
    logging.basicConfig(level=logging.INFO)
    Worker(
        os.environ["SAGALINE_ADDRESS"],
        actions=ACTIONS,
        slots=int(os.environ["SAGALINE_SLOTS"]),
        drain_timeout=timedelta(seconds=float(os.environ["SAGALINE_DRAIN_SECONDS"])),
        build_id=os.environ["SAGALINE_BUILD_ID"],
    ).run_forever()


if __name__ == "__main__":
    main()
