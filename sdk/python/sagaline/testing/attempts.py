"""An attempt as a check sees it, and what a check may do with it instead of letting it take its course."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sagaline.v1 import failure_pb2
from sagaline.v1 import worker_service_pb2 as pb
from sagaline.worker import failures
from sagaline.worker.attempts import UNDO, Ref
from sagaline.worker.results import Outcome


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """One side of one node, and the action there."""

    node: str
    action: str
    is_undo: bool = False

    def __str__(self) -> str:
        side = "undo of node" if self.is_undo else "node"
        return f"{side} {self.node} (action {self.action})"


@dataclass(frozen=True, slots=True)
class Attempt:
    """An invocation that has come, and is not run yet."""

    invocation: pb.Invocation
    run: Callable[[pb.Invocation], Awaitable[Outcome]]
    """Runs the user's function for an invocation, this one or another."""

    @property
    def ref(self) -> Ref:
        """Its name."""
        return Ref.of(self.invocation.ref)

    @property
    def place(self) -> Place:
        """Where it belongs."""
        return Place(self.invocation.ref.node, self.invocation.action, self.invocation.ref.kind == UNDO)


class Fate:
    """What becomes of an attempt where it does not simply report its outcome."""


class Lost(Fate):
    """Its answer is lost, as with a worker that dies: the SEC sends the invocation again."""


class Crash(Fate):
    """The SEC and the worker die before the result is recorded, and start again."""


LOST, CRASH = Lost(), Crash()

Course = Callable[[Attempt], Awaitable[Outcome | Fate]]
"""How attempts go: given each before it runs."""


async def as_it_goes(attempt: Attempt) -> Outcome | Fate:
    """Let the user's function run and report what it answers."""
    return await attempt.run(attempt.invocation)


def failure_of(outcome: Outcome) -> failure_pb2.Failure | None:
    """Return the failure that an outcome is; None where it is an output."""
    return outcome if isinstance(outcome, failure_pb2.Failure) else None


def told(outcome: Outcome) -> str:
    """Return an outcome in words."""
    failure = failure_of(outcome)
    if failure is None:
        return "succeeded"
    verb = "failed" if failure.disposition == failures.FAIL else "ended"
    return f"{verb} with {failure.type}: {failure.message}" if failure.message else f"{verb} with {failure.type}"
