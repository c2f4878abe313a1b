"""A model of one node between a SEC, a network and a worker's barrier, and a search through all that it can do.

The SEC has two epochs and appends to its log before it sends. The network loses, repeats and reorders; a message once
sent can arrive for ever, also one of an owner that is long gone. The saga may be unwound at any time. The worker runs
the barrier's own `decide`, or a mutant of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from sagaline.barrier.machine import RULES, Answer, Arrival, Decision, Row, Rules, State, decide
from sagaline.context import Kind

ATTEMPTS_MAX = 3
EPOCHS = 2
DIGEST = b""


class Phase(Enum):
    """Where the node stands in the SEC's log."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNDOING = "undoing"
    UNDONE = "undone"
    STUCK = "stuck"
    ENDED = "the saga has succeeded"


class Message(NamedTuple):
    """One attempt, on its way."""

    kind: Kind
    token: int
    epoch: int
    action_succeeded: bool = False


class Reply(NamedTuple):
    """What a worker answered."""

    kind: Kind
    answer: Answer


class Scene(NamedTuple):
    """Everything there is."""

    phase: Phase = Phase.PENDING
    unwinding: bool = False
    epoch: int = 1
    actions: int = 0
    undos: int = 0
    messages: frozenset[Message] = frozenset()
    replies: frozenset[Reply] = frozenset()
    row: Row | None = None
    applied: int = 0
    reversed: int = 0
    undo_took_effect: bool = False
    epoch_seen: int = 0
    """By the worker, where it fences epochs."""
    broken: str = ""
    """What was wrong with an answer that a worker gave."""


@dataclass(frozen=True)
class Variant:
    """A barrier, and what the SEC relies on it for."""

    rules: Rules = field(default_factory=lambda: RULES)
    direct_undo: bool = False
    """Undo a node in doubt without sending its action again."""
    undo_failed: bool = False
    """Send the undo of failed nodes as well."""
    epoch_fence: bool = False
    forgets_on_undo: bool = False
    removes: frozenset[State] = frozenset()
    """States in which the row is removed while messages may still arrive."""
    checks_business_first: bool = False
    two_transactions: bool = False
    """The row is committed before the effect."""


@dataclass
class Findings:
    """What a search came upon."""

    scenes: int = 0
    problems: dict[str, list[str]] = field(default_factory=dict)
    """What can break, each with the shortest way to it."""


def explore(variant: Variant) -> Findings:
    """Search everything that can happen; what is broken is not followed further."""
    start = Scene()
    came_from: dict[Scene, tuple[Scene, str] | None] = {start: None}
    unexplored = deque([start])
    findings = Findings()
    while unexplored:
        scene = unexplored.popleft()
        for name, after in moves(scene, variant):
            if after in came_from:
                continue
            came_from[after] = (scene, name)
            problem = broken(after, variant)
            if problem:
                findings.problems.setdefault(problem, trace(after, came_from))
            else:
                unexplored.append(after)
    findings.scenes = len(came_from)
    return findings


def trace(scene: Scene, came_from: dict[Scene, tuple[Scene, str] | None]) -> list[str]:
    steps: list[str] = []
    step = came_from[scene]
    while step is not None:
        steps.append(step[1])
        step = came_from[step[0]]
    return steps[::-1]


def broken(scene: Scene, variant: Variant) -> str:
    """Say which invariant does not hold."""
    standing = scene.applied - scene.reversed
    if scene.applied > 1:
        return "the effect was made twice"
    if not 0 <= standing <= 1:
        return "the effect was reversed more often than made"
    settled = scene.phase is Phase.UNDONE or (scene.phase is Phase.FAILED and not variant.undo_failed)
    if settled and standing:
        return f"an effect stands, and the log says {scene.phase.value}"
    if scene.phase is Phase.ENDED and not standing:
        return "the saga has succeeded without the effect"
    return scene.broken


def moves(scene: Scene, variant: Variant) -> Iterator[tuple[str, Scene]]:
    yield from sec_moves(scene, variant)
    for reply in scene.replies:
        after = take(scene, reply)
        if after is not scene:
            yield f"the SEC reads {reply.kind}: {reply.answer.name}", after
    for message in scene.messages:
        yield from deliveries(scene, message, variant)
    if scene.row is not None and scene.row.state in variant.removes:
        yield f"the {scene.row.state} row is removed", scene._replace(row=None)


def sec_moves(scene: Scene, variant: Variant) -> Iterator[tuple[str, Scene]]:
    if scene.phase in (Phase.ENDED, Phase.UNDONE, Phase.STUCK):
        return
    if scene.epoch < EPOCHS:
        yield "another SEC takes over", scene._replace(epoch=scene.epoch + 1)
    if not scene.unwinding:
        yield "the saga unwinds", scene._replace(unwinding=True)
        if scene.phase is Phase.SUCCEEDED:
            yield "the saga succeeds", scene._replace(phase=Phase.ENDED)
    may_act = scene.phase is Phase.RUNNING or (scene.phase is Phase.PENDING and not scene.unwinding)
    if may_act and scene.actions < ATTEMPTS_MAX:
        yield "the action is sent", sent(scene, Kind.ACTION)._replace(phase=Phase.RUNNING, actions=scene.actions + 1)
    undoes = {Phase.SUCCEEDED, Phase.UNDOING}
    undoes |= {Phase.RUNNING} if variant.direct_undo else set()
    undoes |= {Phase.FAILED} if variant.undo_failed else set()
    if scene.unwinding and scene.phase in undoes and scene.undos < ATTEMPTS_MAX:
        yield "the undo is sent", sent(scene, Kind.UNDO)._replace(phase=Phase.UNDOING, undos=scene.undos + 1)


def sent(scene: Scene, kind: Kind) -> Scene:
    token = scene.actions + scene.undos + 1
    known = kind is Kind.UNDO and scene.phase is Phase.SUCCEEDED
    again = kind is Kind.UNDO and any(message.action_succeeded for message in scene.messages)
    return scene._replace(messages=scene.messages | {Message(kind, token, scene.epoch, known or again)})


def take(scene: Scene, reply: Reply) -> Scene:
    """A reply reaches the SEC, which takes it in where the node is still open."""
    if reply.kind is Kind.ACTION and scene.phase is Phase.RUNNING:
        if reply.answer is Answer.OUTPUT:
            return scene._replace(phase=Phase.SUCCEEDED)
        if reply.answer in (Answer.FAILURE, Answer.SUPPRESSED):
            return scene._replace(phase=Phase.FAILED, unwinding=True)
    if reply.kind is Kind.UNDO and scene.phase is Phase.UNDOING:
        if reply.answer is Answer.UNDONE:
            return scene._replace(phase=Phase.UNDONE)
        if reply.answer is Answer.NOT_RECORDED:
            return scene._replace(phase=Phase.STUCK)
    return scene


def deliveries(scene: Scene, message: Message, variant: Variant) -> Iterator[tuple[str, Scene]]:
    """Everything that can come of a message that arrives at the worker now. To crash is as not to arrive."""
    name = f"{message.kind} {message.token}"
    if variant.epoch_fence:
        if message.epoch < scene.epoch_seen:
            return
        scene = scene._replace(epoch_seen=message.epoch)
    if variant.checks_business_first and message.kind is Kind.ACTION:
        yield f"{name}: no longer possible", replied(scene, message, Answer.FAILURE)
    came = Arrival(message.kind, message.token, DIGEST, message.action_succeeded)
    decision = decide(scene.row, came, variant.rules)
    if decision.answer is not Answer.RUN:
        after = scene._replace(row=row_after(scene.row, came, decision.to, decision))
        yield f"{name}: {decision.answer.name}", replied(after, message, decision.answer)
        return
    after = scene._replace(row=row_after(scene.row, came, decision.to, decision))
    if message.kind is Kind.UNDO:
        after = after._replace(reversed=scene.reversed + 1, row=None if variant.forgets_on_undo else after.row)
        yield f"{name}: undone", replied(after, message, Answer.UNDONE)
        return
    if variant.two_transactions:
        yield f"{name}: crashes between its transactions", after
    yield f"{name}: done", replied(after._replace(applied=scene.applied + 1), message, Answer.OUTPUT)
    failed = scene._replace(row=row_after(scene.row, came, decision.on_failed, decision))
    yield f"{name}: fails", replied(failed, message, Answer.FAILURE)


def row_after(row: Row | None, came: Arrival, to: State | None, decision: Decision) -> Row | None:
    if to is not None:
        return Row(to, came.fencing_token, DIGEST)
    return Row(row.state, came.fencing_token, DIGEST) if row is not None and decision.raises_token else row


def replied(scene: Scene, message: Message, answer: Answer) -> Scene:
    if message.kind is Kind.UNDO and answer is Answer.UNDONE:
        scene = scene._replace(undo_took_effect=True)
    if message.kind is Kind.ACTION and answer is Answer.OUTPUT and scene.undo_took_effect:
        scene = scene._replace(broken="an action that came after the undo was answered with success")
    return scene._replace(replies=scene.replies | {Reply(message.kind, answer)})
