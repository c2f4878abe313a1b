"""Tells one saga's story by the names of its nodes: a driver whose workers do as the test says."""

from __future__ import annotations

from sagaline_server.core.decide import (
    Decision,
    Rejected,
    Resolve,
    Result,
    SetBreakpoints,
    SetPaused,
    Signal,
    Step,
    Unwind,
)
from sagaline_server.core.entries import Breakpoint, Kind, Resolution, SagaState
from sagaline_server.core.invocation import Invocation
from sagaline_server.core.topology import Topology
from sagaline_server.core.values import NULL, Disposition, Failure, Payload
from tests.unit.core.driver import Driver

ACTION, UNDO = Kind.ACTION, Kind.UNDO
OUTPUT = Payload(json='{"ok":true}')


def failure(
    disposition: Disposition = Disposition.FAIL, kind: str = "test.Trouble", delay: float | None = None
) -> Failure:
    return Failure(kind, "trouble", disposition, next_retry_delay=delay)


class Scene(Driver):
    """A saga whose every answer is given by hand. Attempts are the last ones, unless said otherwise."""

    def __init__(self, topology: Topology, params: Payload = NULL, *, paused: bool = False) -> None:
        super().__init__(topology, params, paused=paused)

    # ---- what workers say

    def result(self, name: str, kind: Kind = ACTION, attempt: int = 0, given: Payload | Failure = OUTPUT) -> Result:
        number = attempt or self.saga.run(self.topology.index[name], kind).attempt
        if isinstance(given, Failure):
            return Result(name, kind, number, failure=given)
        return Result(name, kind, number, given if kind is ACTION else None)

    def succeed(self, *names: str, attempt: int = 0, output: Payload = OUTPUT) -> Decision:
        """The actions of these nodes succeed, one turn each."""
        return [Decision(), *(self.take(self.result(name, ACTION, attempt, output)) for name in names)][-1]

    def fail(self, *names: str, attempt: int = 0) -> Decision:
        """The actions had no effect, their workers say."""
        return [Decision(), *(self.take(self.result(name, ACTION, attempt, failure())) for name in names)][-1]

    def retry(self, name: str, kind: Kind = ACTION, attempt: int = 0, failed: Failure | None = None) -> Decision:
        """The attempt may have had an effect; the worker asks for another."""
        return self.take(self.result(name, kind, attempt, failed or failure(Disposition.RETRY)))

    def hold(self, name: str, attempt: int = 0) -> Decision:
        return self.take(self.result(name, ACTION, attempt, failure(Disposition.HOLD)))

    def undo(self, *names: str, attempt: int = 0) -> Decision:
        """The undo actions of these nodes succeed."""
        return [Decision(), *(self.take(self.result(name, UNDO, attempt)) for name in names)][-1]

    def undo_fails(self, *names: str) -> Decision:
        """The undo actions fail for good."""
        return [Decision(), *(self.take(self.result(name, UNDO, 0, failure())) for name in names)][-1]

    def reject(self, name: str, kind: Kind = ACTION, attempt: int = 0) -> Decision:
        node = self.topology.index[name]
        return self.take(Rejected(name, kind, attempt or self.saga.run(node, kind).attempt))

    def lose(self, name: str, kind: Kind = ACTION, *, uncounted: bool = False) -> Decision:
        return self.take(self.lost(self.topology.index[name], kind, uncounted=uncounted))

    # ---- what people say

    def unwind(self) -> Decision:
        return self.take(Unwind(actor="somebody", reason="because"))

    def pause(self) -> Decision:
        return self.take(SetPaused(True))

    def resume(self) -> Decision:
        return self.take(SetPaused(False))

    def step(self, steps: int = 1) -> Decision:
        return self.take(Step(steps, "somebody", "because"))

    def stop_at(self, *points: str, kind: Kind | None = None) -> Decision:
        """Set breakpoints, and no others."""
        return self.take(SetBreakpoints(tuple(Breakpoint(point, kind) for point in points)))

    def signal(self, name: str, payload: Payload = OUTPUT, request_id: str = "") -> Decision:
        return self.take(Signal(name, payload, request_id))

    def order(self, name: str, resolution: Resolution, output: Payload | None = None, seen: int = 0) -> Decision:
        return self.take(Resolve(name, resolution, "somebody", "because", output, seen))

    # ---- time

    def advance(self, seconds: float) -> None:
        """Time passes, and every timer that is due fires."""
        end = self.now + seconds
        while self.timers and min(self.timers.values()) <= end:
            self.fire_next_timer()
        self.now = end

    def wait(self) -> None:
        """Wait for the next timer."""
        self.fire_next_timer()

    # ---- reading

    def state(self) -> SagaState:
        return self.saga.state

    def flying(self) -> set[str]:
        """Return what is with workers: "a" an action, "undo a" an undo action."""
        return {("undo " if kind is UNDO else "") + self.name(node) for node, kind, _ in self.saga.in_flight()}

    def sent(self, sent: Invocation) -> None:
        """Nothing to do: the story goes on when the test says so."""

    def invocations(self, name: str, kind: Kind = ACTION) -> list[Invocation]:
        """Return all that was sent for one side of a node."""
        return [s.invocation for s in self.sends if (s.invocation.node, s.invocation.kind) == (name, kind)]

    def are(self, **expected: str) -> bool:
        """True if these nodes have these statuses; a node of a subsaga is named "sub__node"."""
        actual = {name: self.status(name.replace("__", "/")).name for name in expected}
        assert actual == expected
        return True
