"""Restate's service: a saga of three actions, as durable steps of one handler or as calls of another service."""

from __future__ import annotations

import asyncio
import sys

import restate
from hypercorn.asyncio import serve
from hypercorn.config import Config

actions = restate.Service("Actions")
sagas = restate.Service("Sagas")


@actions.handler()
async def hand_on(ctx: restate.Context, value: str) -> str:
    """Return what came in: one action that is called."""
    return value


@sagas.handler()
async def by_steps(ctx: restate.Context, value: str) -> str:
    """Run the actions as steps, as the guide to sagas does."""

    async def act() -> str:
        return value

    for name in ("n0", "n1", "n2"):
        value = await ctx.run_typed(name, act)
    return value


@sagas.handler()
async def by_calls(ctx: restate.Context, value: str) -> str:
    """Run the actions as calls of a service."""
    for _ in range(3):
        value = await ctx.service_call(hand_on, arg=value)
    return value


if __name__ == "__main__":
    config = Config()
    config.bind = [sys.argv[1]]
    config.h2_max_concurrent_streams = (
        10_000  # by default 100, and sagas that hold theirs would keep out what they call
    )
    asyncio.run(serve(restate.app([actions, sagas]), config))  # type: ignore[arg-type,unused-ignore]
