"""A random world around one saga: workers that answer anything in any order, crashes, operators, clocks.

Whatever it does is what can happen to a SEC. `rage` lets it do its worst for a
number of steps; `calm` then gives every attempt an honest good answer, and the
saga has to come to an end.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Sequence

import msgspec

from sagaline_server.core.decide import (
    Input,
    Rejected,
    Resolve,
    Result,
    ResultFate,
    SetBreakpoints,
    SetPaused,
    Signal,
    Step,
    Unwind,
)
from sagaline_server.core.entries import Breakpoint, Kind, Resolution, SagaState, Stamped, UnwindCause
from sagaline_server.core.gate import EVERY_NODE, ActionPoint
from sagaline_server.core.graph import UndoKind
from sagaline_server.core.growth import members
from sagaline_server.core.invocation import Invocation, invocation
from sagaline_server.core.maps import is_bound
from sagaline_server.core.topology import Topology
from sagaline_server.core.transitions import NodeStatus
from sagaline_server.core.turn import Turn
from sagaline_server.core.values import NULL, Disposition, Failure, FailureSource, Payload
from tests.unit.core.driver import Attempt, Driver
from tests.unit.core.effects import Effects

CALM_STEPS_MAX = 3_000


class Temper(msgspec.Struct, frozen=True):
    """How likely each mischief is, in percent. Zeros: everything succeeds at once, in some order."""

    fail: int = 0
    """Of an attempt: there is no effect, and the worker says so."""
    retry: int = 0
    """Of an attempt: the worker asks for another, whether it had effect or not."""
    hold: int = 0
    """Of an attempt: the worker asks for an operator."""
    undo_trouble: int = 0
    """Of an undo attempt: it does not succeed."""
    undo_fatal: bool = False
    """Undo actions may fail for good."""
    reject: int = 0
    lose: int = 0
    """Of an attempt in flight: its worker is declared lost; it may run and answer all the same."""
    repeat: int = 0
    """Of a result: it is delivered again later."""
    full: int = 0
    """Of a start: no worker has a slot."""
    pause: int = 0
    unwind: int = 0
    crash: int = 0
    fence: int = 0
    """Of an append: it does not happen."""
    resolve: int = 0
    nonsense: int = 0
    """Of a step: a result that belongs to nothing."""


CALM = Temper()


class Flight:
    """An invocation that has reached a worker."""

    def __init__(self, sent: Invocation) -> None:
        self.sent = sent
        self.given_up = False
        """The SEC was told that the worker is lost."""
        self.unknown = False
        """The worker never got it."""

    def may_run(self, node: str) -> bool:
        """True when it is an action of the node on a worker that is heard from."""
        return self.sent.node == node and self.sent.kind is Kind.ACTION and not (self.given_up or self.unknown)

    @property
    def attempt(self) -> Attempt:
        return self.sent.node, self.sent.kind, self.sent.attempt


class World(Driver):
    """One saga, its owner, its workers and its operators."""

    def __init__(
        self,
        topology: Topology,
        temper: Temper = CALM,
        params: Payload = NULL,
        *,
        seed: int = 0,
        paused: bool = False,
        log: Sequence[Stamped] = (),
        effects: Effects | None = None,
    ) -> None:
        """Create a saga, or adopt one whose owner died after `log`."""
        self.temper = temper
        self.effects = effects or Effects()
        self.flights: list[Flight] = []
        """Not yet run by their worker."""
        self.results: list[Result] = []
        """Not yet delivered, in no order."""
        self.sure = not log
        """True while appends do not fail."""
        self.fenced = False
        """True if the last append did not happen."""
        super().__init__(topology, params, paused=paused, log=log, chance=random.Random(seed))
        self.sure = False
        if log:
            self.adopt()

    def happens(self, percent: int) -> bool:
        return percent > 0 and self.chance.random() * 100 < percent

    def adopt(self) -> None:
        """Workers may still have what the log says they were sent, given up or not; then the new owner comes."""
        for node in range(len(self.topology.nodes)):
            run = self.saga.run(node, Kind.ACTION)
            for kind, attempt in [(Kind.ACTION, attempt) for attempt in run.unanswered] + [
                (kind, self.saga.run(node, kind).in_flight) for kind in Kind
            ]:
                if attempt and self.chance.random() < 0.5:
                    flight = Flight(msgspec.structs.replace(invocation(self.saga, node, kind), attempt=attempt))
                    lingers = any(attempt == left for left, _ in run.lingering)
                    flight.given_up = kind is Kind.ACTION and attempt in run.unanswered and not lingers
                    self.flights.append(flight)
        self.crash()

    # ---- the owner

    def sent(self, sent: Invocation) -> None:
        row = self.effects.row(sent.node)
        if sent.kind is Kind.ACTION:
            assert not row.closed, "rule 11: no action is sent once its undo was"
        else:
            assert not any(flight.may_run(sent.node) for flight in self.flights), "rule 8: its action may be running"
        self.flights.append(Flight(sent))

    def finish(self, turn: Turn) -> None:
        """An append that is fenced leaves nothing behind; a crash after it may leave invocations unsent."""
        self.fenced = not self.sure and self.happens(self.temper.fence)
        if self.fenced:
            self.crash()
            self.fenced = True
            return
        before = len(self.flights)
        self.commit(turn)
        if turn.crashes:
            self.crash()
        if turn.starts and self.happens(self.temper.crash):
            for flight in self.flights[before:]:
                flight.unknown = True
            self.crash()

    def worker_for(self, node: int, kind: Kind) -> str:
        return f"worker-{self.chance.randrange(3)}"

    def _place(self, node: int, kind: Kind) -> str | None:
        self.check_start(node, kind)
        return None if self.happens(self.temper.full) else super()._place(node, kind)

    def crash(self, known: Collection[Attempt] = ()) -> None:
        """The new owner asks the workers for what is in flight, and gives up what they don't know."""
        self.flights = [flight for flight in self.flights if not flight.unknown]
        there = [flight.attempt for flight in self.flights]
        there += [(result.node, result.kind, result.attempt) for result in self.results]
        known = {attempt for attempt in there if not self.happens(self.temper.lose)}
        for flight in self.flights:
            flight.given_up |= flight.attempt not in known
        super().crash(known)

    # ---- what can happen

    def step(self) -> None:
        """Let one thing happen."""
        temper, chance = self.temper, self.chance
        possible: list[Callable[[], None]] = []
        possible += [self.run_one] * (3 if self.flights else 0)
        possible += [self.deliver] * (3 if self.results else 0)
        possible += [self.wake_later] * bool(self.timers)
        possible += [self.give_slots] * bool(self.unplaced)
        possible += [self.send_signal] * bool(self.topology.signals)
        for percent, mischief in (
            (temper.lose, self.lose_one),
            (temper.pause, self.toggle_pause),
            (temper.unwind, self.ask_to_unwind),
            (temper.crash, self.crash),
            (temper.resolve, self.order),
            (temper.nonsense, self.talk_nonsense),
        ):
            if self.happens(percent):
                possible = [mischief]
        if possible:
            chance.choice(possible)()

    def run_one(self) -> None:
        """A worker runs an invocation it has, or refuses it."""
        flight = self.flights.pop(self.chance.randrange(len(self.flights)))
        if flight.unknown:
            return
        sent = flight.sent
        if not flight.given_up and self.happens(self.temper.reject):
            self.take(Rejected(sent.node, sent.kind, sent.attempt))
            if self.fenced:
                flight.given_up = True  # whoever adopted the saga did not find it
                self.flights.append(flight)
            return
        answer = self.act(sent) if sent.kind is Kind.ACTION else self.undo(sent)
        self.results.append(answer)

    def act(self, sent: Invocation) -> Result:
        def answer(output: Payload | None = None, failure: Failure | None = None) -> Result:
            return Result(sent.node, Kind.ACTION, sent.attempt, output, failure)

        definite = not self.effects.has_effect(sent.node)
        if self.happens(self.temper.fail) and definite:
            return answer(failure=failed())
        for percent, disposition in (
            (self.temper.retry, Disposition.RETRY),
            (self.temper.hold, Disposition.HOLD),
        ):
            if self.happens(percent):
                if self.chance.random() < 0.5:
                    self.effects.act(sent.node, output_of(sent.node))
                return answer(failure=trouble(disposition, self.chance))
        output = self.effects.act(sent.node, output_of(sent.node))
        return answer(failure=failed("undone before")) if output is None else answer(output)

    def undo(self, sent: Invocation) -> Result:
        failure = None
        if self.happens(self.temper.undo_trouble):
            fatal = self.temper.undo_fatal and self.chance.random() < 0.5
            failure = trouble(Disposition.FAIL if fatal else Disposition.RETRY, self.chance)
            if self.chance.random() < 0.5:
                self.effects.undo(sent.node)
        else:
            self.effects.undo(sent.node)
        return Result(sent.node, Kind.UNDO, sent.attempt, None, failure)

    def deliver(self) -> None:
        """Results arrive: one, or a frame of some, in any order."""
        count = min(len(self.results), self.chance.choice((1, 1, 1, 2, 3)))
        arriving = self.chance.sample(self.results, count)
        placed = [waiting for waiting in self.unplaced if self.chance.random() < 0.3]
        decisions = self.turn(*arriving, place=placed)
        for result, decision in zip(arriving, decisions, strict=True):
            # What is not recorded is not acknowledged, and comes again.
            if not self.fenced and not decision.crashes and not self.happens(self.temper.repeat):
                self.results.remove(result)
        for result, decision in zip(arriving, decisions, strict=True):
            assert decision.fate is not None or decision.crashes, result
            assert decision.fate is not ResultFate.NOT_FOUND, result
            if decision.fate is ResultFate.DUPLICATE:
                assert not decision.entries, "a duplicate changes nothing"

    def wake_later(self) -> None:
        self.fire_next_timer()

    def give_slots(self) -> None:
        """A slot becomes free; the node that waits for it may not want it any more."""
        waiting = list(self.unplaced)
        self.turn(place=self.chance.sample(waiting, self.chance.randint(1, len(waiting))))

    def lose_one(self) -> None:
        """A worker is declared lost. It may have died before, or after; or live on, and answer late."""
        flying = list(self.saga.outstanding())
        if not flying:
            return
        node, kind, attempt, _ = self.chance.choice(flying)
        for flight in self.flights[:]:
            if flight.attempt == (self.name(node), kind, attempt):
                flight.given_up = True
                if self.chance.random() < 0.3:
                    self.flights.remove(flight)
        self.take(self.lost(node, kind, attempt))

    def toggle_pause(self) -> None:
        """Somebody pauses, resumes, steps, or sets breakpoints."""
        nodes = [node.name for node in self.topology.nodes]
        place = self.chance.choice((EVERY_NODE, *nodes))
        points = (Breakpoint(place, self.chance.choice((None, *Kind))),)
        if self.happens(30):
            actions = sorted({node.action.action for node in self.topology.nodes if node.action is not None})
            held = self.chance.sample(actions, min(len(actions), self.chance.randint(0, 2)))
            self.set_points({name: ActionPoint(self.chance.choice((None, *Kind))) for name in held})
            return
        orders: list[Input] = [
            SetPaused(not self.saga.paused, "somebody", "because"),
            Step(self.chance.randint(1, 3), "somebody", "because"),
            SetBreakpoints(points[: self.chance.randint(0, 1)], "somebody", "because"),
        ]
        self.take(self.chance.choice(orders))

    def send_signal(self) -> None:
        """Somebody sends a signal: one that is waited for, or not yet, or no more."""
        if self.topology.signals:
            name = self.chance.choice(sorted(self.topology.signals))
            request_id = self.chance.choice(("", "same", f"r{len(self.log)}"))
            self.take(Signal(name, Payload(json='{"of":"signal","list":[7,8]}'), request_id))

    def answer_waits(self) -> bool:
        """Send the first signal that is waited for; False where none is."""
        for node in range(len(self.topology.nodes)):
            signal = self.topology.nodes[node].signal
            if signal is not None and self.saga.is_waiting(node):
                self.take(Signal(signal, Payload(json='{"of":"signal","list":[7,8]}')))
                return True
        return False

    def open_gate(self) -> None:
        """Nothing is held from here on."""
        self.turn(SetBreakpoints(()), SetPaused(False))
        self.set_points({})

    def ask_to_unwind(self) -> None:
        self.take(Unwind(self.chance.choice(list(UnwindCause)), "somebody", "because"))

    def order(self) -> None:
        """An operator decides about a node, and sees to it that what he says is true."""
        orders = [(node, order) for node in self.topology.nodes for order in self.orders(node.name)]
        if not orders:
            return
        node, order = self.chance.choice(orders)
        self.obey(node.name, order)

    def orders(self, name: str) -> list[Resolution]:
        node = self.topology.index[name]
        action = self.topology.nodes[node].action
        is_forward = not self.saga.unwinds(node) and is_bound(self.saga, node)
        can_fail = [] if is_forward else [Resolution.MARK_FAILED]
        match self.status(name):
            case NodeStatus.HELD:
                return [*([] if action is None else [Resolution.RETRY]), *can_fail, Resolution.SUPPLY_OUTPUT]
            case NodeStatus.RETRYING:
                return [*can_fail, Resolution.SUPPLY_OUTPUT]
            case NodeStatus.UNDO_FAILED if action is not None and action.undo is not UndoKind.NONE:
                return [Resolution.RETRY, Resolution.MARK_UNDONE]
            case NodeStatus.UNDO_FAILED | NodeStatus.UNDO_RETRYING:
                return [Resolution.MARK_UNDONE]
        return []

    def obey(self, name: str, order: Resolution) -> None:
        output = None
        if order in (Resolution.MARK_UNDONE, Resolution.MARK_FAILED):
            self.effects.undo(name)
        elif order is Resolution.SUPPLY_OUTPUT:
            output = self.effects.act(name, output_of(name))
            assert output is not None
        self.sure = True
        seen = self.chance.choice([0, self.saga.seq])
        decision = self.take(Resolve(name, order, "somebody", "because", output, seen))
        self.sure = False
        assert decision.refusal is None

    def talk_nonsense(self) -> None:
        """Somebody reports what nobody asked for."""
        node = self.chance.choice(self.topology.nodes).name
        kind = self.chance.choice(list(Kind))
        last = self.saga.run(self.topology.index[node], kind).attempt
        nonsense: list[Input] = [
            Result("no-such-node", kind, 1, NULL),
            Result(node, kind, last + 1, NULL),
            Result(node, kind, 0, NULL),
            Result(node, kind, -1, failure=failed()),
            Rejected(node, kind, last + 1),
        ]
        before = len(self.log)
        decision = self.begin().take(self.chance.choice(nonsense))
        assert not decision.entries
        assert len(self.log) == before

    # ---- to the end

    def rage(self, steps: int) -> None:
        """Do the worst for a number of steps."""
        for _ in range(steps):
            self.step()

    def calm(self, *, operator: bool = False) -> None:
        """Go on with no more mischief until nothing can happen; with `operator`, his orders included."""
        self.temper = CALM
        for _ in range(CALM_STEPS_MAX):
            if (self.saga.paused or self.saga.breakpoints or self.points.by_action) and self.saga.finished is None:
                self.open_gate()
            elif self.flights or self.results or self.timers or self.unplaced:
                self.settle_one()
            elif self.answer_waits():
                pass
            elif any(True for _ in self.saga.outstanding()) and self.saga.finished is None:
                self.turn(*[self.lost(node, kind, attempt) for node, kind, attempt, _ in self.saga.outstanding()])
            elif operator and self.saga.needs_operator and self.saga.finished is None:
                self.order()
            else:
                break
        else:
            raise AssertionError(f"no end in sight: {self.statuses()}")
        self.check_end()

    def settle_one(self) -> None:
        if self.results:
            self.deliver()
        elif self.flights:
            self.run_one()
        elif self.unplaced:
            self.place_all()
        else:
            self.fire_next_timer()

    def check_end(self) -> None:
        """Nothing can happen any more: the saga has ended, or only an operator can help it."""
        saga = self.saga
        if saga.finished is None:
            assert saga.needs_operator, f"{saga.state.name} for ever: {self.statuses()}"
            self.check_others_are_settled()
            return
        for number, node in enumerate(self.topology.nodes):
            if node.action is None:
                continue
            if saga.finished is SagaState.SUCCEEDED and number not in saga.retreating:
                assert self.effects.net(node.name) == 1, node.name
            elif node.action.undo is not UndoKind.NOOP:
                assert self.effects.net(node.name) == 0, node.name

    def check_others_are_settled(self) -> None:
        """Rule 12: only the nodes that wait for an operator, and those that wait for them, are not at their end."""
        saga, nodes = self.saga, self.topology.nodes
        waits = (NodeStatus.UNDO_FAILED, NodeStatus.HELD)
        blocked = {node for node in range(len(nodes)) if saga.status(node) in waits}
        size = -1
        while size != len(blocked):
            size = len(blocked)
            blocked |= {node for node in range(len(nodes)) if not blocked.isdisjoint(self._waits_for(node))}
        for node in range(len(nodes)):
            unwinds = saga.unwinds(node)
            at_end = saga.is_settled(node) if unwinds else saga.status(node) is NodeStatus.SUCCEEDED
            assert node in blocked or at_end, f"{self.name(node)} is {saga.status(node).name}"

    def _waits_for(self, node: int) -> set[int]:
        """Return the nodes that a node may come after, as things stand."""
        saga, topology = self.saga, self.topology
        flat = topology.nodes[node]
        if saga.unwinds(node):
            return set(flat.children)
        found = set(flat.parents)
        if flat.element is not None:
            grown = topology.grown[topology.elements[flat.element].map]
            found |= {other for element in grown if element < flat.element for other in members(topology, element)}
        if flat.map is not None and node in topology.grown:
            found |= {other for element in topology.grown[node] for other in members(topology, element)}
        return found


def failed(message: str = "no") -> Failure:
    return Failure("test.Failed", message, Disposition.FAIL)


def trouble(disposition: Disposition, chance: random.Random) -> Failure:
    kind = chance.choice(("test.Trouble", "test.Trouble", "test.Hopeless"))
    delay = chance.choice((None, None, 0.0, 5.0))
    return Failure(kind, "trouble", disposition, FailureSource.APPLICATION, next_retry_delay=delay)


def output_of(node: str) -> Payload:
    """What the action of a node gives: an object with a field, or bytes."""
    if node.endswith("raw"):
        return Payload(data=b"raw", encoding="binary/raw")
    return Payload(json=f'{{"of":"{node}","list":[1,2]}}')
