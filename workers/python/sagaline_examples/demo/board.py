"""What is known of the sagas, from their logs as they grow: for the display, and to wait for states."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from rich.console import Console, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table

from sagaline.v1 import failure_pb2, log_pb2, saga_pb2

RUNNING = "running"
UNWINDING = "unwinding"
STUCK = "stuck"
SUCCEEDED = "succeeded"
UNWOUND = "unwound"

STYLES = {RUNNING: "cyan", UNWINDING: "yellow", STUCK: "bold red", SUCCEEDED: "green", UNWOUND: "magenta"}
FINAL = {SUCCEEDED, UNWOUND}
BAR_WIDTH = 40


@dataclass(slots=True)
class Line:
    """One saga, as its log tells it."""

    state: str = RUNNING
    why: str = ""
    """The first failure."""
    at: str = ""
    """Where it failed first."""
    stuck_nodes: set[str] = field(default_factory=set)


class Board:
    """All sagas.

    Args:
        sagas: Their ids.
        console: Where the end of each is told.
    """

    def __init__(self, sagas: Iterable[str], console: Console) -> None:
        self.lines = {saga: Line() for saga in sagas}
        self.counts: Counter[str] = Counter()
        """Actions done, undone and retried, over all sagas."""
        self._began_s = time.monotonic()
        self._console = console
        self._changed = asyncio.Event()

    def states(self) -> Counter[str]:
        """Count the sagas in each state."""
        return Counter(line.state for line in self.lines.values())

    def finished(self) -> int:
        """Count the sagas that have ended."""
        return sum(line.state in FINAL for line in self.lines.values())

    def say(self, text: str, style: str = "") -> None:
        """Print a line and when it was, above the live display if there is one."""
        elapsed_s = time.monotonic() - self._began_s
        self._console.print(f"{elapsed_s:6.2f}  {text}", style=style, markup=False, highlight=False, soft_wrap=True)

    async def until(self, condition: Callable[[Board], bool], what: str, timeout_s: float) -> None:
        """Wait for a state. One waits at a time.

        Raises:
            TimeoutError: It did not come.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while not condition(self):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise TimeoutError(f"{what}: not within {timeout_s:.0f} s; sagas are {dict(self.states())}") from None

    def take(self, saga: str, entry: log_pb2.LogEntry) -> None:
        """Read one more entry of a saga's log."""
        line = self.lines[saga]
        match entry.WhichOneof("entry"):
            case "node_succeeded":
                self.counts["done"] += 1
            case "attempt_ended" | "undo_attempt_ended":
                self.counts["retried"] += 1
            case "node_undone":
                self.counts["undone"] += 1
            case "node_failed":
                self._failed(line, entry.node_failed.node, entry.node_failed.failure)
            case "unwind_requested":
                line.state = UNWINDING
            case "undo_failed":
                self._stuck(saga, line, entry.undo_failed)
            case "operator_resolved":
                line.stuck_nodes.discard(entry.operator_resolved.node)
                line.state = STUCK if line.stuck_nodes else UNWINDING
            case "saga_finished":
                self._finished(saga, line, entry.saga_finished)
        self._changed.set()

    def _failed(self, line: Line, node: str, failure: failure_pb2.Failure) -> None:
        if not line.at:
            line.at, line.why = node, f"{failure.type}: {failure.message}"
        line.state = STUCK if line.stuck_nodes else UNWINDING

    def _stuck(self, saga: str, line: Line, entry: log_pb2.UndoFailed) -> None:
        line.state = STUCK
        line.stuck_nodes.add(entry.node)
        failure = entry.failure
        self.say(f"{saga:8} stuck      undoing {entry.node}: {failure.type}: {failure.message}", STYLES[STUCK])

    def _finished(self, saga: str, line: Line, entry: log_pb2.SagaFinished) -> None:
        line.state = SUCCEEDED if entry.state == saga_pb2.SAGA_STATE_SUCCEEDED else UNWOUND
        why = f"  {line.at}: {line.why}" if line.state == UNWOUND else ""
        self.say(f"{saga:8} {line.state:9}{why}", STYLES[line.state])

    def __rich__(self) -> RenderableType:
        states = self.states()
        table = Table.grid(padding=(0, 2))
        table.add_row(
            ProgressBar(total=len(self.lines), completed=self.finished(), width=BAR_WIDTH),
            *(f"[{style}]{states[state]} {state}[/]" for state, style in STYLES.items()),
        )
        counts = ("done", "undone", "retried")
        table.add_row("actions", *(f"{self.counts[kind]} {kind}" for kind in counts))
        return table
