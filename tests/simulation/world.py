"""The world outside: what actions and undo actions change, and how they go about it.

One row a node, as a worker with a barrier keeps it: an action has its effect at
most once, and never once an undo has come. How long an attempt takes, when it
has its effect and what it answers is drawn. An answer is always honest.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec

from sagaline.v1 import failure_pb2, payload_pb2
from sagaline.worker.attempts import ACTION, Ref
from tests.simulation.loop import Simulator

Outcome = payload_pb2.Payload | failure_pb2.Failure
Key = tuple[str, str]
"""Saga and node."""

FAIL = failure_pb2.FAILURE_DISPOSITION_FAIL
RETRY = failure_pb2.FAILURE_DISPOSITION_RETRY
HOLD = failure_pb2.FAILURE_DISPOSITION_HOLD
NOTHING = payload_pb2.Payload(json="null")


class Temper(msgspec.Struct):
    """How actions behave. Shares from 0 to 1, times in seconds."""

    fail: float = 0.0
    """Of action attempts: no effect, and the worker says so."""
    retry: float = 0.0
    """Of action attempts: the worker does not know, with an effect or without."""
    hold: float = 0.0
    """Of action attempts: the worker asks for an operator, with an effect or without."""
    undo_retry: float = 0.0
    undo_fail: float = 0.0
    """Of undo attempts: it can't be undone, an operator is needed."""
    seconds: float = 0.05
    """Usual length of an attempt."""
    slow: float = 0.0
    slow_max: float = 15.0
    hang: float = 0.0
    """Of attempts: it ends only when it is told to stop, or when the faults are over."""
    detached: float = 0.0
    """Of attempts with an effect: the effect comes by itself, even after the worker has died."""
    detached_max: float = 20.0
    obedient: float = 0.5
    """Of attempts: it ends soon when it is told to stop."""


class Row(msgspec.Struct):
    """What the barrier remembers of one node."""

    applied: int = 0
    undone: int = 0
    closed: bool = False
    """True once an undo came: no action has an effect any more."""
    coming: int = 0
    """Effects on their way that nobody can call back."""
    output: str = ""

    @property
    def net(self) -> int:
        """How often the effect is in the world."""
        return self.applied - self.undone


class Plan(msgspec.Struct):
    """How one attempt will go."""

    seconds: float
    hangs: bool
    has_effect: bool
    answer: str
    """ok, fail, retry or hold."""
    effect_share: float
    """When in its course it has its effect, from 0 to 1."""
    detached: float
    """Seconds after that in which the effect comes by itself; 0: at once."""
    obedient: bool


class World:
    """Everything that actions change."""

    def __init__(self, sim: Simulator, chance: random.Random) -> None:
        """Make a world without effects, in a good temper."""
        self.temper = Temper()
        self.rows: dict[Key, Row] = {}
        self.on_effect: Callable[[Key, str], None] = _nobody_looks
        """Called with a node and what has just happened to it: applied, undone, late (an action after its undo)."""
        self._sim = sim
        self._chance = chance

    def row(self, key: Key) -> Row:
        """Return the row of a node."""
        return self.rows.setdefault(key, Row())

    def plan(self, ref: Ref) -> Plan:
        """Draw how an attempt will go."""
        temper, chance = self.temper, self._chance
        drawn = chance.random()
        shares = [("fail", temper.undo_fail), ("retry", temper.undo_retry)]
        if ref.kind == ACTION:
            shares = [("fail", temper.fail), ("retry", temper.retry), ("hold", temper.hold)]
        answer = "ok"
        for name, share in shares:
            if drawn < share:
                answer = name
                break
            drawn -= share
        seconds = temper.seconds * chance.random()
        if temper.slow and chance.random() < temper.slow:
            seconds += temper.slow_max * chance.random()
        return Plan(
            seconds=seconds,
            hangs=bool(temper.hang) and chance.random() < temper.hang,
            has_effect=answer == "ok" or (answer != "fail" and chance.random() < 0.5),
            answer=answer,
            effect_share=chance.choice((0.0, 0.5, 1.0)),
            detached=temper.detached_max * chance.random() if chance.random() < temper.detached else 0.0,
            obedient=chance.random() < temper.obedient,
        )

    def begin_effect(self, ref: Ref, plan: Plan) -> None:
        """An attempt comes to the point where it has its effect, or sends for it."""
        if not plan.has_effect:
            return
        key = (ref.saga_id, ref.node)
        if ref.kind != ACTION:
            self.undo(key)
        elif plan.detached and plan.answer != "ok":
            self.row(key).coming += 1
            self._sim.after(plan.detached, lambda: self._come(key))
        else:
            self.act(key)

    def _come(self, key: Key) -> None:
        self.row(key).coming -= 1
        self.act(key)

    def act(self, key: Key) -> bool:
        """Have the effect of an action, at most once; False when an undo was first."""
        row = self.row(key)
        if row.closed:
            self.on_effect(key, "late")
            return False
        if not row.applied:
            row.applied = 1
            row.output = f'{{"of":"{key[1]}","list":[1,2]}}'
            self.on_effect(key, "applied")
        return True

    def undo(self, key: Key) -> None:
        """Undo, by an undo action or by hand."""
        row = self.row(key)
        row.closed = True
        row.undone = row.applied
        self.on_effect(key, "undone")

    def answer(self, ref: Ref, plan: Plan) -> Outcome:
        """Return what the worker can honestly say at the end of an attempt."""
        row = self.row((ref.saga_id, ref.node))
        if ref.kind != ACTION:
            return (
                NOTHING
                if plan.answer == "ok"
                else _failure("sim.UndoTrouble", FAIL if plan.answer == "fail" else RETRY)
            )
        if row.closed:
            return _failure("sim.UndoneBefore", FAIL)
        if plan.answer == "ok":
            return payload_pb2.Payload(json=row.output)
        if plan.answer == "fail" and not row.applied and not row.coming:
            return _failure("sim.Declined", FAIL)
        return _failure("sim.Trouble", HOLD if plan.answer == "hold" else RETRY)


def _failure(kind: str, disposition: failure_pb2.FailureDisposition.ValueType) -> failure_pb2.Failure:
    return failure_pb2.Failure(
        type=kind, message="drawn", disposition=disposition, source=failure_pb2.FAILURE_SOURCE_APPLICATION
    )


def _nobody_looks(key: Key, what: str) -> None:
    pass
