"""Two transactions of one node at once: the first stands still before its end while the second arrives."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from sagaline import Context, Failed
from sagaline.barrier import Barrier
from sagaline.context import Kind
from sagaline.errors import ActionOutcome

DEADLINE_S = 30.0
PAUSE_S = 0.005

Execute = Callable[[Any, str], Any]


class Crash(Exception):
    """The first transaction does not commit."""


class Racer:
    """One worker of the node: makes the effect, or reverses it, and counts both in a table."""

    def __init__(self, barrier: Barrier[Any], execute: Execute) -> None:
        self._barrier = barrier
        self._execute = execute

    def arrive(self, context: Context, before_end: Callable[[], None] = lambda: None, *, fails: bool = False) -> str:
        """Pass the barrier; return how it was answered."""
        try:
            with self._barrier.transaction() as tx:
                try:
                    answer = self._pass(tx, context, fails=fails)
                finally:
                    before_end()
        except ActionOutcome as outcome:
            return outcome.type.removeprefix("sagaline.")
        return answer

    def _pass(self, tx: Any, context: Context, *, fails: bool) -> str:
        if context.kind is Kind.UNDO:
            return self._barrier.undo(
                tx, context, lambda tx, _output: self._execute(tx, _COUNT_UNDO), returns=str
            ).value
        return self._barrier.action(tx, context, lambda tx: self._act(tx, context, fails=fails), returns=str)

    def _act(self, tx: Any, context: Context, *, fails: bool) -> str:
        self._execute(tx, _COUNT_ACTION)
        if fails:
            raise Failed("SoldOut")
        return f"ticket {context.attempt}"


_COUNT_ACTION = "UPDATE effects SET made = made + 1"
_COUNT_UNDO = "UPDATE effects SET reversed = reversed + 1"
TABLES = ("CREATE TABLE effects (made INTEGER, reversed INTEGER)", "INSERT INTO effects VALUES (0, 0)")
EFFECTS = "SELECT made, reversed FROM effects"


class Gate:
    """Where the first transaction stands still."""

    def __init__(self) -> None:
        self._reached = threading.Event()
        self._open = threading.Event()

    def stand(self) -> None:
        self._reached.set()
        assert self._open.wait(DEADLINE_S), "the gate was never opened"

    def stand_and_crash(self) -> None:
        self.stand()
        raise Crash

    def wait_until_reached(self) -> None:
        assert self._reached.wait(DEADLINE_S), "the first transaction never came to its gate"

    def open(self) -> None:
        self._open.set()


@contextmanager
def threads() -> Iterator[Callable[..., Future[Any]]]:
    """Run functions in threads, which end before the block does."""
    with ThreadPoolExecutor(8) as pool:
        yield pool.submit


def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    for _ in range(int(DEADLINE_S / PAUSE_S)):
        if holds():
            return
        threading.Event().wait(PAUSE_S)
    raise AssertionError("it never came true")


Begin = Callable[[], AbstractContextManager[Any]]
