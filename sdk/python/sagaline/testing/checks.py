"""The checks: rounds of sagas, each with new parameters and a SEC of its own, in which one thing goes wrong."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from sagaline.client.ends import not_succeeded
from sagaline.client.sagas import NewSaga
from sagaline.errors import SagaNotSucceeded
from sagaline.testing.attempts import CRASH, LOST, Place
from sagaline.testing.courses import Again, FailAt, Plain, UndoFirst, UnwindAt
from sagaline.testing.failures import NotReached, NotUndone, WrongEnd
from sagaline.testing.stage import Stage
from sagaline.testing.worlds import Snapshot, differences, taken
from sagaline.v1 import saga_pb2
from sagaline.values import encode
from sagaline_server.core.graph import UndoKind
from sagaline_server.core.inputs import Signal, Unwind
from sagaline_server.wire.payloads import payload_from

C = TypeVar("C", bound=Plain)

SUCCEEDED = saga_pb2.SAGA_STATE_SUCCEEDED
UNWOUND = saga_pb2.SAGA_STATE_UNWOUND
HELD = (saga_pb2.NODE_STATUS_HELD, saga_pb2.NODE_STATUS_UNDO_FAILED)

Unwinding = Callable[[], Awaitable[None]]
"""Asks the saga of a round to unwind."""


@dataclass(frozen=True, slots=True)
class Check:
    """What is checked."""

    new: Callable[[], NewSaga[Any]]
    """Makes a saga with new parameters."""
    signals: Mapping[str, object]
    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class Ran:
    """A node that ran where nothing was in its way."""

    place: Place
    undo: UndoKind | None
    """What undoing it means; None: the saga can't go back behind it."""


@dataclass(frozen=True, slots=True)
class End:
    """How a round ended."""

    saga: saga_pb2.Saga
    changed: str
    """How the world differs from what it was before; empty: not at all."""

    def told(self) -> str:
        """Return how the saga ended, in words."""
        if self.saga.state == SUCCEEDED:
            return "the saga succeeded"
        text = str(not_succeeded(self.saga)).replace(f"saga {self.saga.saga_id}", "the saga")
        if self.saga.failed_node:
            text += f"; the first node that failed is {self.saga.failed_node}"
        stuck = [f"\n  node {node.name}: {node.failure.type}: {node.failure.message}" for node in self._stuck()]
        return text + "".join(stuck)

    def _stuck(self) -> list[saga_pb2.NodeView]:
        if self.saga.state == UNWOUND:
            return []
        return [node for node in self.saga.nodes if node.HasField("failure") and node.name != self.saga.failed_node]


class Checks:
    """One check of one graph.

    Args:
        check: What is checked.
        begin: Begins a stage for a round, on which attempts run one by one.
        end: Ends it.
    """

    def __init__(
        self, check: Check, begin: Callable[[], Awaitable[Stage]], end: Callable[[Stage], Awaitable[None]]
    ) -> None:
        self._check = check
        self._begin = begin
        self._end = end

    # ---- the checks

    async def idempotent(self, lenient: Collection[str]) -> None:
        """Let every action come twice, then every undo action."""
        ran = await self._baseline()
        course = await self._again(lambda place: not place.is_undo, "", lenient)
        for node in ran:
            if node.place not in course.repeated:
                raise _not_reached(node.place, "come twice", "")
        last = _last_that_unwinds(ran)
        if last is not None:
            await self._again(lambda place: place.is_undo, last.place.node, lenient)

    async def _again(self, wanted: Callable[[Place], bool], unwind_at: str, lenient: Collection[str]) -> Again:
        course, end = await self._round(
            lambda unwind: Again(self._check.snapshot, wanted, LOST, lenient, unwind_at, unwind)
        )
        if unwind_at:
            _expect_unwound(end, f"after a request to unwind at node {unwind_at}, every undo action came twice")
        elif end.saga.state != SUCCEEDED:
            raise WrongEnd(f"every action came twice, and {end.told()}")
        return course

    async def unwinds(self) -> None:
        """Let each node fail, then ask for those to be undone that no failure undid."""
        ran = await self._baseline()
        undone: set[Place] = set()
        for node in ran:
            place = node.place
            course, end = await self._round(partial(_fail_at, place.node))
            what = f"{place} was made to fail"
            if not course.reached:
                raise _not_reached(place, "fail", end.told())
            if end.saga.state == SUCCEEDED or _holds_for_operator(end.saga, ran):
                continue  # there was no way back any more, or its map bears with it
            self._expect_undone(place, end, what, [each for each in course.undone if each not in undone])
            undone.update(course.undone)
        for node in _that_unwind(ran):
            if Place(node.place.node, node.place.action, is_undo=True) not in undone:
                undone |= await self._unwound_at(node.place, undone)

    async def _unwound_at(self, place: Place, before: Collection[Place]) -> set[Place]:
        course, end = await self._round(lambda unwind: UnwindAt(place.node, unwind))
        if not course.reached:
            raise _not_reached(place, "be undone by request", end.told())
        what = f"{place} had run when the saga was asked to unwind"
        self._expect_undone(place, end, what, [each for each in course.undone if each not in before])
        return set(course.undone)

    def _expect_undone(self, place: Place, end: End, what: str, suspects: Collection[Place] | None) -> None:
        """Expect nothing to remain; the suspects are what no earlier round undid, None: that is not known."""
        _expect_unwound(end, what)
        really = end.saga.failed_node
        if really and really != place.node:
            raise WrongEnd(f"{what}, and yet {end.told()}", node=place.node, action=place.action)
        if end.changed:
            first = next(iter(suspects), None) if suspects and len(suspects) == 1 else None
            hint = "`assert_unwinds` finds out whose undo action is wrong."
            if suspects is not None:
                hint = f"Undone here, and in no earlier round: {', '.join(map(str, suspects)) or 'nothing'}."
            raise NotUndone(
                f"{what}, the saga unwound, and the world is not as before:\n{end.changed}\n{hint}",
                node=first.node if first else "",
                action=first.action if first else "",
            )

    async def survives_crashes(self) -> None:
        """Let SEC and worker die before each result is recorded."""
        ran = await self._baseline()
        for node in ran:
            place = node.place
            course, end = await self._crash(place, "")
            if place not in course.repeated:
                raise _not_reached(place, "crash", end.told())
            if end.saga.state != SUCCEEDED:
                raise WrongEnd(
                    f"SEC and worker died before the result of {place} was recorded, and {end.told()}",
                    node=place.node,
                    action=place.action,
                )
        last = _last_that_unwinds(ran)
        for node in _that_unwind(ran):
            place = Place(node.place.node, node.place.action, is_undo=True)
            assert last is not None
            course, end = await self._crash(place, last.place.node)
            if place not in course.repeated:
                raise _not_reached(place, "crash", end.told())
            self._expect_undone(place, end, f"SEC and worker died before the result of {place} was recorded", None)

    async def _crash(self, place: Place, unwind_at: str) -> tuple[Again, End]:
        # What an action answers a second time is for `idempotent` to judge.
        return await self._round(
            lambda unwind: Again(self._check.snapshot, place.__eq__, CRASH, [place.node], unwind_at, unwind)
        )

    async def undo_wins(self) -> None:
        """Let each action come after its undo action."""
        ran = await self._baseline()
        for node in ran:
            if node.undo is not UndoKind.ACTION:
                continue
            for acts_before in (False, True):
                course, end = await self._round(partial(self._undo_first, node.place.node, acts_before))
                if not course.reached:
                    raise _not_reached(node.place, "be undone early", end.told())
                if end.saga.state != SUCCEEDED and not _holds_for_operator(end.saga, ran):
                    _expect_unwound(end, f"{node.place} was undone before its action came")

    def _undo_first(self, node: str, acts_before: bool, _unwind: Unwinding) -> UndoFirst:  # noqa: FBT001 - of `partial`
        return UndoFirst(self._check.snapshot, node, acts_before=acts_before)

    # ---- rounds

    async def _baseline(self) -> list[Ran]:
        """Run the saga with nothing in its way; returns the nodes that ran, in order."""
        stage = await self._begin()
        try:
            new = self._check.new()
            ran: list[Ran] = []
            stage.follow(Plain(lambda at: ran.append(Ran(at.place, stage.undo_kind(new.saga_id, at.place.node)))))
            end = await self._play(stage, new)
        finally:
            await self._end(stage)
        if end.saga.state != SUCCEEDED:
            cause: SagaNotSucceeded = not_succeeded(end.saga)
            raise WrongEnd(f"nothing was in its way, and {end.told()}") from cause
        return ran

    async def _round(self, course_of: Callable[[Unwinding], C]) -> tuple[C, End]:
        stage = await self._begin()
        try:
            new = self._check.new()

            async def unwind() -> None:
                await stage.order(new.saga_id, Unwind(actor="sagaline.testing", reason="a check wants it"))

            course = course_of(unwind)
            stage.follow(course)
            return course, await self._play(stage, new)
        finally:
            await self._end(stage)

    async def _play(self, stage: Stage, new: NewSaga[Any]) -> End:
        before = await taken(self._check.snapshot)
        await stage.create(new)
        for name, payload in self._check.signals.items():
            await stage.order(new.saga_id, Signal(name, payload_from(encode(payload)), actor="sagaline.testing"))
        saga = await stage.end_of(new.saga_id)
        return End(saga, differences(before, await taken(self._check.snapshot)))


def _fail_at(node: str, _unwind: Unwinding) -> FailAt:
    return FailAt(node)


def _holds_for_operator(saga: saga_pb2.Saga, ran: list[Ran]) -> bool:
    """Tell whether a saga is held where it should be: at nodes that can't be undone, and nowhere else."""
    irreversible = {node.place.node for node in ran if node.undo is UndoKind.NONE}
    held = {node.name for node in saga.nodes if node.status in HELD}
    return saga.needs_operator and bool(held) and held <= irreversible


def _that_unwind(ran: list[Ran]) -> list[Ran]:
    """Return the nodes with an undo action, up to where there is no way back."""
    found = []
    for node in ran:
        if node.undo is None or node.undo is UndoKind.NONE:
            break
        if node.undo is UndoKind.ACTION:
            found.append(node)
    return found


def _last_that_unwinds(ran: list[Ran]) -> Ran | None:
    return next(reversed(_that_unwind(ran)), None)


def _expect_unwound(end: End, what: str) -> None:
    """Expect a saga to have unwound, and the world to be as before is for the caller to see."""
    if end.saga.state != UNWOUND:
        raise WrongEnd(f"{what}, and {end.told()}", node=end.saga.failed_node)


def _not_reached(place: Place, what: str, told: str) -> NotReached:
    end = f": {told}" if told else ""
    return NotReached(
        f"{place} was to {what}, and it never came{end}. Do parameters or chance decide which nodes run?",
        node=place.node,
        action=place.action,
    )
