"""A second opinion on logs: the rules of execution over plain sets, knowing nothing of how `apply` counts.

`Auditor` reads a log entry by entry and raises where it breaks a rule.
`check_consistent` recomputes from a state's statuses what the machine keeps up
to date by counting.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from sagaline_server.core.entries import (
    AttemptEnded,
    AttemptStarted,
    Breakpoint,
    FaultInjected,
    FaultKind,
    FaultStruck,
    GateChanged,
    Kind,
    MapExpanded,
    NodeFailed,
    NodeHeld,
    NodeSucceeded,
    NodeUndone,
    OperatorResolved,
    Outcome,
    OwnerChanged,
    QuarantineChanged,
    Resolution,
    SagaCreated,
    SagaFinished,
    SagaState,
    SignalReceived,
    Stamped,
    UndoAttemptEnded,
    UndoAttemptStarted,
    UndoFailed,
    UndoneHow,
    UnwindRequested,
)
from sagaline_server.core.graph import UndoKind
from sagaline_server.core.growth import grow, members
from sagaline_server.core.state import Saga
from sagaline_server.core.topology import FlatNode, Topology
from sagaline_server.core.transitions import TRANSITIONS, Event, NodeStatus
from sagaline_server.core.values import FailureSource


class RuleBroken(AssertionError):
    """The log says something that the rules forbid."""


class Side:
    """What the log has said about one side of a node."""

    def __init__(self) -> None:
        self.last = 0
        self.flying = 0
        self.sent: set[int] = set()
        """Attempts not known to have been rejected."""
        self.silent: set[int] = set()
        """Attempts given up before they were answered."""
        self.running: set[int] = set()
        """Those of them that nobody has declared lost."""


class Auditor:
    """Reads one log."""

    def __init__(self, topology: Topology, *, gate: bool = True) -> None:
        """Make one; without `gate` starts are allowed while paused, as `apply` does: the gate is asked by `decide`
        alone, so that a release that holds more still reads the logs of one that held less."""
        self.gate = gate
        self.nodes: dict[str, FlatNode] = {}
        self.acts: dict[str, Side] = {}
        self.undos: dict[str, Side] = {}
        self._have(topology)
        self.fallen: set[int] = set()
        """Elements that unwind, or have, by themselves."""
        self.retreating: set[str] = set()
        """Their nodes."""
        self.succeeded: set[str] = set()
        self.failed: set[str] = set()
        self.doubtful: set[str] = set()
        self.undone: set[str] = set()
        self.stuck: set[str] = set()
        self.held: set[str] = set()
        self.ordered: set[str] = set()
        """Nodes that an operator wants tried again."""
        self.passed: set[str] = set()
        """Instant nodes that had succeeded when the saga turned."""
        self.turned = False
        self.paused = False
        self.signals: list[str] = []
        """Signals that no node has yet."""
        self.signalled: set[str] = set()
        self.requests: set[str] = set()
        self.steps = 0
        self.breakpoints: tuple[Breakpoint, ...] = ()
        self.set_aside = False
        self.faults: Counter[tuple[str, FaultKind]] = Counter()
        self.ended = False
        self.seq = 0

    def read(self, stamped: Stamped) -> None:
        """Take the next entry.

        Raises:
            RuleBroken: It breaks a rule.
        """
        self.entry = stamped.entry
        self.seq += 1
        self._need(stamped.seq == self.seq, "the log has a gap")
        self._need(not self.ended, "a log ends with saga_finished")
        self._need((self.seq == 1) == isinstance(self.entry, SagaCreated), "a log begins with saga_created")
        readers[type(self.entry)](self, self.entry)
        self._hand_out_signals()

    def _have(self, topology: Topology) -> None:
        self.topology = topology
        self.by_number = [node.name for node in topology.nodes]
        self.names = [self.by_number[i] for i in topology.in_order()]
        self.nodes = {node.name: node for node in topology.nodes}
        for name in self.names:
            self.acts.setdefault(name, Side())
            self.undos.setdefault(name, Side())

    # ---- maps

    def _expanded(self, entry: MapExpanded) -> None:
        node = self.topology.index[entry.node]
        self._need(not self._is_turned(entry.node), "rule 6: nothing begins after the turn")
        self._need(self.topology.nodes[node].map is not None and node not in self.topology.grown, "it grows once")
        self._need(all(self.is_done(p) for p in self._parents(entry.node)), "rule 3: a parent has not succeeded")
        self._have(grow(self.topology, node, entry.count))

    def _around(self, name: str) -> Iterator[int]:
        """Yield the elements that a node is in, innermost first."""
        element = self.nodes[name].element
        while element is not None:
            yield element
            element = self.topology.nodes[self.topology.elements[element].map].element

    def _inside(self, element: int) -> set[str]:
        return {name for name in self.names if element in self._around(name)}

    def _is_over(self, element: int) -> bool:
        """True when an element has succeeded, or fallen and nothing of it is left."""
        if element in self.fallen:
            return all(self.is_settled(name) for name in self._inside(element))
        return self.is_done(self.by_number[self.topology.elements[element].end])

    def _need_admitted(self, name: str) -> None:
        for element in self._around(name):
            one = self.topology.elements[element]
            plan, others = self.topology.nodes[one.map].map, self.topology.grown[one.map]
            assert plan is not None
            before = [other for other in others if other < element]
            if plan.max_concurrency:
                running = sum(not self._is_over(other) for other in before)
                self._need(running < plan.max_concurrency, "more elements run than may")
            if one.number >= plan.canary:
                first = others[: plan.canary]
                well = all(self._is_over(other) and other not in self.fallen for other in first)
                self._need(well, "the canaries have not succeeded")

    def _scope(self, name: str) -> int | None:
        for element in self._around(name):
            one = self.topology.elements[element]
            plan = self.topology.nodes[one.map].map
            assert plan is not None
            failed = len(self.fallen.intersection(self.topology.grown[one.map]))
            if one.number >= plan.canary and failed < plan.max_failures:
                return element
        return None

    def _is_turned(self, name: str) -> bool:
        return self.turned or name in self.retreating

    def _hand_out_signals(self) -> None:
        while not self.turned and self.signals:
            for name in self.names:
                signal = self.nodes[name].signal
                waits = name not in self.signalled and not self._is_turned(name) and self._is_free(name)
                if signal in self.signals and waits:
                    self.signals.remove(signal)
                    self.signalled.add(name)
                    break
            else:
                return

    def _signal(self, entry: SignalReceived) -> None:
        self._need(not self.turned, "a saga that unwinds takes no signal")
        self._need(not entry.request_id or entry.request_id not in self.requests, "the same signal counts once")
        self.requests.add(entry.request_id)
        self.signals.append(entry.signal)

    def _need(self, condition: bool, rule: str) -> None:
        if not condition:
            raise RuleBroken(f"entry {self.seq} {self.entry}: {rule}")

    def _parents(self, name: str) -> list[str]:
        return [self.by_number[i] for i in self.nodes[name].parents]

    def _children(self, name: str) -> list[str]:
        children = [self.by_number[i] for i in self.nodes[name].children]
        return children if self.turned or name not in self.retreating else [c for c in children if c in self.retreating]

    def _is_free(self, name: str) -> bool:
        """True when everything that a node comes after has succeeded, and its maps admit it."""
        if not all(self.is_done(parent) for parent in self._parents(name)):
            return False
        try:
            self._need_admitted(name)
        except RuleBroken:
            return False
        return True

    def is_done(self, name: str) -> bool:
        """True when the node has succeeded, or passed by itself."""
        if self.nodes[name].action is not None or self.nodes[name].delay is not None:
            return name in self.succeeded
        if self.nodes[name].signal is not None:
            return name in self.signalled
        if self.nodes[name].map is not None:
            node = self.topology.index[name]
            if node not in self.topology.grown or name in self.succeeded:
                return name in self.succeeded
            return all(self._is_over(element) for element in self.topology.grown[node])
        return self._is_free(name)

    def is_settled(self, name: str) -> bool:
        """True when unwinding asks nothing more of the node."""
        if self.nodes[name].action is not None:
            never_ran = not self.acts[name].sent and name not in self.succeeded
            return name in self.failed or name in self.undone or never_ran
        if name in self.held or (self.nodes[name].map is not None and name in self.failed):
            return name in self.failed
        return name not in self.passed or all(self.is_settled(child) for child in self._children(name))

    def _turn(self, failing: str = "") -> None:
        if self.turned or failing in self.retreating:
            return
        element = self._scope(failing) if failing else None
        names = set(self.names) if element is None else self._inside(element)
        for name in names:
            action = self.nodes[name].action
            may_have = name in self.held | self.succeeded | self.doubtful or bool(self.acts[name].sent)
            if action is not None and action.commits and name != failing:
                self._need(name in self.failed or not may_have, "no way back once what can't be undone may be done")
        self.passed |= {name for name in names if self.nodes[name].action is None and self.is_done(name)}
        if element is None:
            self.turned = True
        else:
            self.fallen.add(element)
            self.retreating |= names

    # ---- entries

    def _created(self, entry: SagaCreated) -> None:
        self.paused = entry.paused

    def _attempt_started(self, entry: AttemptStarted) -> None:
        name, side = entry.node, self.acts[entry.node]
        decided = self.succeeded | self.failed | self.doubtful | self.undone | self.held
        self._pass_gate(name, Kind.ACTION, stepped=entry.stepped)
        self._need(name not in decided, "a decided or held node is not started")
        if not side.sent:
            self._need(not self._is_turned(name), "rule 6: no new node starts after the turn")
            self._need(all(self.is_done(p) for p in self._parents(name)), "rule 3: a parent has not succeeded")
            self._need_admitted(name)
        self._start(side, entry.attempt)

    def _start(self, side: Side, attempt: int) -> None:
        self._need(not side.flying, "one attempt at a time")
        self._need(attempt == side.last + 1, "attempts are numbered without gap")
        side.last = side.flying = attempt
        side.sent.add(attempt)

    def _end(self, side: Side, entry: AttemptEnded | UndoAttemptEnded) -> None:
        self._need(self._is_open(side, entry.attempt), "an attempt ends once")
        if entry.outcome is Outcome.REJECTED:
            self._need(entry.attempt == side.flying, "only what is in flight is rejected")
            side.sent.discard(entry.attempt)
        side.flying = 0 if entry.attempt == side.flying else side.flying
        side.silent.discard(entry.attempt)
        side.running.discard(entry.attempt)
        if entry.overdue or (entry.failure is not None and entry.failure.source is FailureSource.WORKER_LOST):
            side.silent.add(entry.attempt)
        if entry.overdue:
            side.running.add(entry.attempt)

    def _is_open(self, side: Side, attempt: int) -> bool:
        return bool(attempt) and (attempt == side.flying or attempt in side.silent)

    def _answer(self, side: Side, attempt: int) -> None:
        side.silent.discard(attempt)
        side.running.discard(attempt)
        side.flying = 0 if attempt == side.flying else side.flying

    def _attempt_ended(self, entry: AttemptEnded) -> None:
        name, side = entry.node, self.acts[entry.node]
        decides = entry.attempt == side.flying and name not in self.succeeded
        self._need(entry.answered_late is not decides, "late is what decides nothing")
        self._end(side, entry)
        if entry.held:
            self.held.add(name)

    def _succeeded(self, entry: NodeSucceeded) -> None:
        if self.nodes[entry.node].delay is not None:
            self._need(not self._is_turned(entry.node), "rule 6: nothing goes on after the turn")
            self._need(all(self.is_done(p) for p in self._parents(entry.node)), "rule 3: a parent has not succeeded")
            self.succeeded.add(entry.node)
            return
        side = self.acts[entry.node]
        self._need(self._is_open(side, entry.attempt), "an attempt is answered once")
        self._need(entry.node not in self.succeeded | self.failed | self.undone, "rule 4: a node is decided once")
        self._need(not self.undos[entry.node].last, "rule 11: not after its undo was sent")
        self._answer(side, entry.attempt)
        self.succeeded.add(entry.node)
        self.doubtful.discard(entry.node)
        self.held.discard(entry.node)

    def _failed(self, entry: NodeFailed) -> None:
        name, side = entry.node, self.acts[entry.node]
        self._need(name not in self.succeeded | self.failed | self.undone, "rule 4: a node is decided once")
        self._need(side.flying in (0, entry.attempt), "a later attempt is in flight")
        if entry.attempt == 0:
            self._need(not side.sent, "an attempt was sent")
            was_held = name in self.ordered  # and an operator has ordered another try of it
            self._need(was_held or not self._is_turned(name), "rule 6: it would not have started any more")
            self._need(all(self.is_done(p) for p in self._parents(name)), "rule 3: a parent has not succeeded")
        if entry.effect_unknown:
            self._need(bool(side.sent), "what never ran is not in doubt")
            self._need(name not in self.doubtful | self.held, "it is in doubt already")
        else:
            self._need(not side.silent - {entry.attempt}, "rule 4: an attempt is unanswered")
            self._need(entry.attempt == 0 or self._is_open(side, entry.attempt), "answered before")
        if not entry.effect_unknown or entry.attempt == side.flying:
            self._answer(side, entry.attempt)
        self._turn(name)
        action = self.nodes[name].action
        self._need(
            not (entry.effect_unknown and action and action.commits), "what can't be undone is not left in doubt"
        )
        self.doubtful.discard(name)
        self.held.discard(name)
        (self.doubtful if entry.effect_unknown else self.failed).add(name)

    def _node_held(self, entry: NodeHeld) -> None:
        side = self.acts[entry.node]
        decided = self.succeeded | self.failed | self.doubtful | self.undone | self.held
        self._need(entry.node not in decided and not side.flying, "decided, held, or in flight")
        if not side.sent:
            self._need(all(self.is_done(p) for p in self._parents(entry.node)), "rule 3: a parent has not succeeded")
        self.held.add(entry.node)

    def _unwind(self, entry: UnwindRequested) -> None:
        self._need(not self.turned, "a saga turns once")
        self._turn()

    def _need_undoable(self, name: str) -> None:
        self._need(self._is_turned(name), "rule 7: it does not unwind")
        self._need(name in self.succeeded | self.doubtful, "rule 8: there is nothing to undo")
        self._need(name not in self.undone, "undone already")
        self._need(all(self.is_settled(c) for c in self._children(name)), "rule 7: a child is not settled")
        self._need(not self.acts[name].flying, "rule 8: an attempt of its action is in flight")
        self._need(not self.acts[name].running, "rule 8: an attempt of its action may be running")
        policy = self.nodes[name].action
        self._need(policy is None or policy.undo is not UndoKind.NONE or self.undos[name].last == 0, "it has no undo")

    def _undo_started(self, entry: UndoAttemptStarted) -> None:
        self._pass_gate(entry.node, Kind.UNDO, stepped=entry.stepped)
        self._need(entry.node not in self.stuck, "rule 12: the node is stuck")
        self._need_undoable(entry.node)
        self._start(self.undos[entry.node], entry.attempt)

    def _undo_ended(self, entry: UndoAttemptEnded) -> None:
        self._need(entry.attempt == self.undos[entry.node].flying, "that undo attempt is not in flight")
        self._end(self.undos[entry.node], entry)

    def _undone(self, entry: NodeUndone) -> None:
        name = entry.node
        self._need_undoable(name)
        if entry.how is UndoneHow.NOOP:
            policy = self.nodes[name].action
            self._need(policy is not None and policy.undo is UndoKind.NOOP, "its undo is an action")
        else:
            side = self.undos[name]
            self._need(self._is_open(side, entry.attempt), "an attempt is answered once")
            self._answer(side, entry.attempt)
        self.undone.add(name)
        self.stuck.discard(name)

    def _undo_failed(self, entry: UndoFailed) -> None:
        side = self.undos[entry.node]
        self._need(entry.node not in self.undone | self.stuck, "decided already")
        if entry.attempt == 0:
            self._need_undoable(entry.node)
        self._need(entry.attempt <= side.last and side.flying in (0, entry.attempt), "not that attempt's")
        if side.flying:
            self._answer(side, entry.attempt)
        self.stuck.add(entry.node)

    def _quarantine(self, entry: QuarantineChanged) -> None:
        self.set_aside = entry.quarantined

    def _injected(self, entry: FaultInjected) -> None:
        self.faults[entry.node, entry.fault] += entry.times

    def _struck(self, entry: FaultStruck) -> None:
        self._need(self.faults[entry.node, entry.fault] > 0, "a fault strikes once")
        self.faults[entry.node, entry.fault] -= 1

    def _gate(self, entry: GateChanged) -> None:
        self.paused, self.steps, self.breakpoints = entry.paused, entry.steps, entry.breakpoints

    def _pass_gate(self, name: str, kind: Kind, *, stepped: bool) -> None:
        self._need(not self.set_aside or not self.gate, "the saga is set aside")
        inside = [name[: i + 1] for i in range(len(name)) if name[i + 1 : i + 2] in ("/", "[")]
        places = {"*", name, *inside}
        stops = any(point.node in places and point.kind in (kind, None) for point in self.breakpoints)
        holds = self.paused or stops
        self._need(not (stepped and holds), "only a start that the log would not know to be held says so itself")
        if holds or stepped:
            self._need(self.steps > 0 or not self.gate, "rule 15: the gate holds")
            self.steps = max(self.steps - 1, 0)

    def _owner(self, entry: OwnerChanged) -> None:
        pass

    def _resolved(self, entry: OperatorResolved) -> None:
        name = entry.node
        seen = entry.expected_log_length
        self._need(not seen or self.seq <= seen + 1, "invariant 28: the operator has not seen what came in between")
        match entry.resolution:
            case Resolution.RETRY:
                self._need(name in self.stuck | self.held, "nothing waits for an operator")
                self.stuck.discard(name)
                self.held.discard(name)
                self.ordered.add(name)
            case Resolution.MARK_UNDONE:
                begun = self.undos[name].last > 0 or name in self.stuck
                self._need(begun and name not in self.undone, "not being undone")
                self._need(not self.undos[name].flying, "an undo attempt is in flight")
                self.undone.add(name)
                self.stuck.discard(name)
            case Resolution.MARK_FAILED | Resolution.SUPPLY_OUTPUT:
                decided = self.succeeded | self.failed | self.doubtful | self.undone
                doubtful = bool(self.acts[name].sent) or name in self.held
                self._need(name not in decided and doubtful, "not held or in doubt")
                self._need(not self.acts[name].flying, "an attempt is in flight")
                self.held.discard(name)
                if entry.resolution is Resolution.MARK_FAILED:
                    self._turn(name)
                    self.failed.add(name)
                else:
                    self.succeeded.add(name)

    def _is_at_end(self, name: str) -> bool:
        return self.is_settled(name) if name in self.retreating else self.is_done(name)

    def _finished(self, entry: SagaFinished) -> None:
        if entry.state is SagaState.SUCCEEDED:
            self._need(not self.turned and all(self._is_at_end(n) for n in self.names), "not all has succeeded")
        else:
            self._need(entry.state is SagaState.UNWOUND, "that is no end")
            self._need(self.turned and all(self.is_settled(n) for n in self.names), "not all is settled")
        self.ended = True


readers: dict[type, Callable[[Auditor, Any], None]] = {
    SagaCreated: Auditor._created,
    AttemptStarted: Auditor._attempt_started,
    AttemptEnded: Auditor._attempt_ended,
    MapExpanded: Auditor._expanded,
    NodeSucceeded: Auditor._succeeded,
    NodeFailed: Auditor._failed,
    NodeHeld: Auditor._node_held,
    UnwindRequested: Auditor._unwind,
    UndoAttemptStarted: Auditor._undo_started,
    UndoAttemptEnded: Auditor._undo_ended,
    NodeUndone: Auditor._undone,
    UndoFailed: Auditor._undo_failed,
    GateChanged: Auditor._gate,
    SignalReceived: Auditor._signal,
    OwnerChanged: Auditor._owner,
    OperatorResolved: Auditor._resolved,
    FaultInjected: Auditor._injected,
    FaultStruck: Auditor._struck,
    QuarantineChanged: Auditor._quarantine,
    SagaFinished: Auditor._finished,
}

MOVES = {(old, new) for moves in TRANSITIONS.values() for old, new in moves.items()} | {
    # A first attempt is rejected while the saga unwinds: two events of one entry.
    (NodeStatus.RUNNING, TRANSITIONS[Event.ABANDON][NodeStatus.PENDING]),
    # The output of a map is supplied while it unwinds: it has nothing to undo.
    (NodeStatus.HELD, TRANSITIONS[Event.UNDO][NodeStatus.SUCCEEDED]),
}


def check_moves(before: bytearray, after: bytearray) -> None:
    """Every change of a status is one that the table has."""
    for node, (old, new) in enumerate(zip(before, after[: len(before)], strict=True)):  # maps add nodes
        if old != new:
            assert (old, new) in MOVES, f"node {node}: {NodeStatus(old).name} -> {NodeStatus(new).name}"


def check_consistent(saga: Saga) -> None:
    """The counters, and the statuses of instant nodes, are what the other statuses make them."""
    succeeded = [status == NodeStatus.SUCCEEDED for status in saga.statuses]
    settled = [saga.is_settled(node) for node in range(len(succeeded))]
    for node, flat in enumerate(saga.topology.nodes):
        status = saga.status(node)
        if saga.unwinding:
            assert saga.waiting[node] == sum(not settled[c] for c in flat.children), flat.name
        elif node in saga.retreating:
            inside = [c for c in flat.children if c in saga.retreating]
            ends = flat.element in saga.fallen and flat.children == (saga.topology.elements[flat.element or 0].map,)
            assert saga.waiting[node] == (0 if ends else sum(not settled[c] for c in inside)), flat.name
        else:
            held = is_kept_back(saga, node)
            assert saga.waiting[node] == sum(not has_come(saga, p) for p in flat.parents) + held, flat.name
        assert status is not NodeStatus.PENDING or not saga.unwinds(node), flat.name
        if flat.action is None:
            check_instant(saga, node, flat)
        elif status is NodeStatus.SUCCEEDED:
            assert node in saga.outputs
        acting, undoing = (bool(saga.run(node, kind).in_flight) for kind in Kind)
        assert acting or status is not NodeStatus.RUNNING, flat.name
        assert undoing == (status is NodeStatus.UNDOING), flat.name
    ended = [settled[node] if saga.unwinds(node) else succeeded[node] for node in range(len(succeeded))]
    assert saga.remaining == ended.count(False) or not saga.seq


def has_come(saga: Saga, node: int) -> bool:
    """True when what comes after a node going forward need not wait for it: it succeeded, or its element is gone."""
    element = saga.topology.nodes[node].element
    if node not in saga.retreating or element is None:
        return saga.statuses[node] == NodeStatus.SUCCEEDED
    return all(saga.is_settled(inside) for inside in members(saga.topology, element))


def is_kept_back(saga: Saga, node: int) -> bool:
    """True for the first nodes of an element that its map does not admit yet."""
    element = saga.topology.nodes[node].element
    if element is None:
        return False
    one = saga.topology.elements[element]
    plan = saga.topology.nodes[one.map].map
    assert plan is not None
    return one.number >= saga.maps[one.map].admitted and not plan.template.nodes[node - one.first].parents


def check_instant(saga: Saga, node: int, flat: FlatNode) -> None:
    status = saga.status(node)
    if flat.value is None and flat.map is None:
        assert (status is NodeStatus.SUCCEEDED) <= (node in saga.outputs), flat.name
    unwinds = saga.unwinds(node)
    if flat.map is not None and status in (NodeStatus.HELD, NodeStatus.FAILED):
        return
    if not unwinds and flat.value is None:
        assert not saga.waiting[node] or status is NodeStatus.PENDING, flat.name
    elif not unwinds:
        assert (status is NodeStatus.SUCCEEDED) == (saga.waiting[node] == 0), flat.name
    elif status is NodeStatus.SUCCEEDED:
        assert saga.waiting[node], f"{flat.name}: nothing depends on it any more"
    else:
        timed_out = status is NodeStatus.FAILED and flat.timeout is not None
        assert timed_out or status in (NodeStatus.UNDONE, NodeStatus.ABANDONED), flat.name
