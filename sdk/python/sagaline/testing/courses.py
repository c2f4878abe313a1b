"""How attempts go in the rounds of the checks: what is made to go wrong, and what is compared.

A course sees one attempt at a time: in a round nothing else runs, so that whatever changes in the world between two
snapshots is that attempt's doing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection

from sagaline.testing.attempts import CRASH, Attempt, Fate, Place, failure_of, told
from sagaline.testing.failures import NotIdempotent, NotUndone, WrongEnd
from sagaline.testing.worlds import Snapshot, differences, taken
from sagaline.v1 import failure_pb2, saga_pb2
from sagaline.v1 import worker_service_pb2 as pb
from sagaline.worker import failures
from sagaline.worker.results import Outcome
from sagaline_server.core.entries import Kind
from sagaline_server.core.invocation import idempotency_key

INJECTED = "sagaline.testing.Injected"
"""Type of the failures that the checks inject."""


def injected(message: str) -> failure_pb2.Failure:
    """Return a failure that is definite: nothing happened."""
    return failure_pb2.Failure(type=INJECTED, message=message, disposition=failures.FAIL, source=failures.APPLICATION)


class Plain:
    """Everything takes its course; notes what ran, in order.

    Args:
        on_new: Called with each place when it comes for the first time.
    """

    def __init__(self, on_new: Callable[[Attempt], None] = lambda _: None) -> None:
        self.ran: list[Place] = []
        self._on_new = on_new

    async def __call__(self, attempt: Attempt) -> Outcome | Fate:
        """Let an attempt go."""
        if attempt.place not in self.ran:
            self.ran.append(attempt.place)
            self._on_new(attempt)
        return await self.go(attempt)

    async def go(self, attempt: Attempt) -> Outcome | Fate:
        """Decide how an attempt goes."""
        return await attempt.run(attempt.invocation)

    @property
    def undone(self) -> list[Place]:
        """What was undone, in order."""
        return [place for place in self.ran if place.is_undo]


class FailAt(Plain):
    """A node fails, the first time that it comes, before its action runs."""

    def __init__(self, node: str) -> None:
        super().__init__()
        self._node = node
        self.reached = False

    async def go(self, attempt: Attempt) -> Outcome | Fate:
        """Decide how an attempt goes."""
        if self.reached or attempt.place.node != self._node or attempt.place.is_undo:
            return await super().go(attempt)
        self.reached = True
        return injected(f"node {self._node} was to fail here")


class UnwindAt(Plain):
    """When an action of a node has run, and before that is known, somebody asks for the saga to unwind."""

    def __init__(self, node: str, unwind: Callable[[], Awaitable[None]]) -> None:
        super().__init__()
        self._node = node
        self._unwind = unwind
        self.reached = False

    async def go(self, attempt: Attempt) -> Outcome | Fate:
        """Decide how an attempt goes."""
        outcome = await attempt.run(attempt.invocation)
        await self.have_run(attempt.place, outcome)
        return outcome

    async def have_run(self, place: Place, outcome: Outcome) -> None:
        """Note what an attempt answers that is to be reported."""
        is_here = place.node == self._node and not place.is_undo and failure_of(outcome) is None
        if is_here and not self.reached:
            self.reached = True
            await self._unwind()


class Again(UnwindAt):
    """Actions, or undo actions, come twice: the first answer gets lost, and what comes again has to change nothing.

    Args:
        snapshot: Of the world.
        wanted: What comes twice.
        fate: How an answer gets lost.
        lenient: Nodes whose output may differ.
        unwind_at: Where the saga is asked to unwind; empty: nowhere.
        unwind: Asks it.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        wanted: Callable[[Place], bool],
        fate: Fate,
        lenient: Collection[str],
        unwind_at: str,
        unwind: Callable[[], Awaitable[None]],
    ) -> None:
        super().__init__(unwind_at, unwind)
        self._snapshot = snapshot
        self._wanted = wanted
        self._fate = fate
        self._lenient = lenient
        self._first: dict[Place, Outcome] = {}
        self.repeated: set[Place] = set()

    async def go(self, attempt: Attempt) -> Outcome | Fate:
        """Decide how an attempt goes."""
        place = attempt.place
        if not self._wanted(place) or place in self.repeated:
            return await super().go(attempt)
        if place not in self._first:
            outcome = await attempt.run(attempt.invocation)
            if failure_of(outcome) is not None:
                return outcome
            self._first[place] = outcome
            return self._fate
        # Other nodes may have run since: only what this attempt changes is its doing.
        before = await taken(self._snapshot)
        outcome = await attempt.run(attempt.invocation)
        self.repeated.add(place)
        self._compare(place, outcome, differences(before, await taken(self._snapshot)))
        await self.have_run(place, outcome)
        return outcome

    def _compare(self, place: Place, outcome: Outcome, changed: str) -> None:
        first = self._first[place]
        how = "after a crash before its result was recorded" if self._fate is CRASH else "with the same idempotency key"
        if failure_of(outcome) is not None:
            raise _not_idempotent(place, f"{place} succeeded, and when it came again, {how}, it {told(outcome)}")
        if changed:
            raise _not_idempotent(place, f"{place} came again, {how}, and changed the world a second time:\n{changed}")
        if not place.is_undo and place.node not in self._lenient and first != outcome:
            raise _not_idempotent(
                place,
                f"{place} came again, {how}, and answered otherwise:\n  {_text(first)} -> {_text(outcome)}\n"
                "Where that is meant, name the node in `outputs_may_differ`.",
            )


class UndoFirst(Plain):
    """At one node, an undo action comes before an action that is late.

    Args:
        snapshot: Of the world.
        node: Where.
        acts_before: Whether the action runs before the undo action, too.
    """

    def __init__(self, snapshot: Snapshot, node: str, *, acts_before: bool) -> None:
        super().__init__()
        self._snapshot = snapshot
        self._node = node
        self._acts_before = acts_before
        self.reached = False

    async def go(self, attempt: Attempt) -> Outcome | Fate:
        """Decide how an attempt goes."""
        if self.reached or attempt.place.node != self._node or attempt.place.is_undo:
            return await super().go(attempt)
        before = await taken(self._snapshot)
        if self._acts_before:
            outcome = await attempt.run(attempt.invocation)
            if failure_of(outcome) is not None:
                return outcome
        self.reached = True
        place = attempt.place
        undone = await attempt.run(undo_of(attempt.invocation))
        order = "the action ran, then its undo" if self._acts_before else "the undo came before the action"
        if failure_of(undone) is not None:
            raise WrongEnd(
                f"undo of {place}: {order}, with an outcome that is not known, and it {told(undone)}. An undo action "
                "has to cope with an action that ran, that did not run, and that is still to come.",
                node=place.node,
                action=place.action,
            )
        await self._compare(before, place, f"undo of {place}: {order}, and something remains:")
        late = await attempt.run(attempt.invocation)
        await self._compare(
            before, place, f"{place}: {order}, and then the action, late; it {told(late)}, and changed the world:"
        )
        return injected(f"node {self._node} was undone before it came")

    async def _compare(self, before: object, place: Place, text: str) -> None:
        changed = differences(before, await taken(self._snapshot))
        if changed:
            raise NotUndone(f"{text}\n{changed}", node=place.node, action=place.action)


def undo_of(action: pb.Invocation) -> pb.Invocation:
    """Return the invocation that undoes an action of which nothing definite is known."""
    undo = pb.Invocation()
    undo.CopyFrom(action)
    saga_id, node = action.ref.saga_id, action.ref.node
    undo.ref.kind = saga_pb2.INVOCATION_KIND_UNDO
    undo.ref.attempt = 1
    undo.idempotency_key = idempotency_key(saga_id, node, Kind.UNDO)
    undo.fencing_token = action.fencing_token + 1
    for limit in ("start_to_close", "heartbeat_timeout", "last_progress"):
        undo.ClearField(limit)
    undo.undo.action_outcome = pb.ACTION_OUTCOME_UNKNOWN
    undo.undo.action_idempotency_key = idempotency_key(saga_id, node, Kind.ACTION)
    return undo


def _not_idempotent(place: Place, text: str) -> NotIdempotent:
    return NotIdempotent(text, node=place.node, action=place.action)


def _text(outcome: Outcome) -> str:
    text = getattr(outcome, "json", "") or str(outcome)
    return text if len(text) <= 160 else text[:157] + "..."  # noqa: PLR2004 - enough to see
