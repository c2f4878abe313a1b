"""Clients of a site in trouble: they ask one SEC, and if it does not answer another, until one does."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Self, TypeVar

from sagaline import Client
from sagaline.errors import (
    CallStopped,
    CallTimeout,
    Conflict,
    LimitReached,
    RpcError,
    ServerFault,
    Unavailable,
)

T = TypeVar("T")

CALL_SECONDS = 4.0
"""How long one SEC is asked before the next one is."""
PATIENCE_SECONDS = 90.0
"""How long all of them are asked. Longer than any fault lasts: after that, somebody has been let down."""
PAUSE_SECONDS = 0.2
PASSING = (Unavailable, CallTimeout, CallStopped, Conflict, LimitReached)


class LetDown(Exception):
    """No SEC answered, for longer than any fault lasts; or one gave an answer that no fault excuses."""


class Anywhere:
    """Asks random SECs."""

    def __init__(self, addresses: Sequence[str], chance: random.Random) -> None:
        self._clients = [Client(address, timeout_s=CALL_SECONDS, patience_s=CALL_SECONDS) for address in addresses]
        self._chance = chance
        self.troubles: Counter[str] = Counter()
        """Answers that were not what was asked for, by kind; each was asked for again."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for client in self._clients:
            await client.close()

    def any_client(self) -> Client:
        """Return the client of a random SEC."""
        return self._chance.choice(self._clients)

    async def ask(self, call: Callable[[Client], Awaitable[T]], *, first: Client | None = None) -> T:
        """Make a call that is safe to repeat until some SEC answers it.

        Raises:
            RpcError: A SEC's answer, where it says something of the request itself.
            LetDown: None has answered.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + PATIENCE_SECONDS
        client = first or self.any_client()
        while True:
            try:
                return await call(client)
            except PASSING as error:
                self.troubles[error.code] += 1
                if loop.time() >= until:
                    raise LetDown(f"no SEC answered for {PATIENCE_SECONDS:.0f} s; the last said: {error}") from error
            except ServerFault as error:
                # A stream or connection that broke carries no reason; a SEC that fails says INTERNAL by itself.
                raise LetDown(f"a SEC failed: {error}") from error
            await asyncio.sleep(PAUSE_SECONDS)
            client = self.any_client()


def refusal_of(error: RpcError) -> str:
    """Return the reason of an answer, for counting."""
    return error.reason or error.code
