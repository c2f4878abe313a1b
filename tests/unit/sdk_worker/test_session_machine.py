"""The machine against a SEC that does everything the protocol allows, over streams that break anywhere.

What must hold at every step: user code never runs twice for an attempt, nor twice at once for a node; no more runs
than there are slots; nothing of a lower epoch starts after a higher one. What must hold in the end, once the stream
stays up: every attempt that was sent and not lost with a stream is answered, and no result is lost.
"""

from __future__ import annotations

from collections import Counter

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sagaline.v1 import worker_service_pb2 as pb
from sagaline.worker import limits
from sagaline.worker.attempts import Attempt, Ref
from sagaline.worker.effects import Effect, Start, Stop
from sagaline.worker.holdings import Holdings
from sagaline.worker.session import Session, SessionState
from tests.unit.sdk_worker.driving import ACTION, DONE, FAILED, SEC, SERVED, UNDO, ack, invocation

SLOTS = 3
EXCESS = 2
"""A SEC that does not know yet that its window shrank sends more than it may."""
STATUSES = [
    pb.RESULT_STATUS_RECORDED,
    pb.RESULT_STATUS_DUPLICATE,
    pb.RESULT_STATUS_SUPERSEDED,
    pb.RESULT_STATUS_RETRY,
]


class WorkerAgainstSec(RuleBasedStateMachine):
    """The SEC's half is the model: what it sent, what it heard, and what it may send next."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.draw = 0.0, 0.5
        self.holdings = Holdings(SERVED, {"": SLOTS})
        self.session = Session(SEC, pb.Hello(worker_id="w"), self.holdings)
        # user code
        self.running: dict[Ref, Attempt] = {}
        self.starts: Counter[Ref] = Counter()
        self.finished: set[Ref] = set()
        self.stopped: set[Ref] = set()
        # the SEC
        self.half_closed = False
        self.sequence = 0
        self.inward: list[pb.ConnectResponse] = []
        self.outward: list[pb.ConnectRequest] = []
        self.attempts: Counter[tuple[str, str, int]] = Counter()
        self.epoch = 1
        self.outstanding: set[Ref] = set()
        self.settled: set[Ref] = set()
        self.rejected: set[Ref] = set()
        self.unacked: list[Ref] = []
        self.sent_in: dict[Ref, int] = {}
        self.received: set[Ref] = set()
        self.window = 0
        self.draining = False
        self.drained_said = False

    # ---- the worker's shell

    def take(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Start):
                for attempt in effect.attempts:
                    places = {(held.ref.saga_id, held.ref.node) for held in self.running.values()}
                    assert (attempt.ref.saga_id, attempt.ref.node) not in places, "a node runs twice at once"
                    assert attempt.ref not in self.rejected, "rejected, and run"
                    self.running[attempt.ref] = attempt
                    self.starts[attempt.ref] += 1
            elif isinstance(effect, Stop):
                assert effect.ref in self.running
                self.stopped.add(effect.ref)

    @initialize()
    def start(self) -> None:
        self.reconnect()

    @rule()
    @precondition(lambda self: self.session.state is SessionState.IDLE)
    def reconnect(self) -> None:
        self.sequence, self.half_closed = 0, False
        self.take(self.session.opened(self.now))
        self.write()

    def can_write(self) -> bool:
        """After our half of the stream is closed nothing can."""
        return self.session.has_frame() and not self.half_closed

    @rule()
    @precondition(lambda self: self.can_write())
    def write(self) -> None:
        frame = self.session.next_frame(self.now)
        assert frame is not None
        assert frame.ByteSize() <= limits.FRAME_BYTES
        self.outward.append(frame)
        self.take(self.session.written(self.now))
        self.half_close()

    def half_close(self) -> None:
        self.half_closed = self.session.state is SessionState.CLOSING and not self.session.has_frame()

    @rule()
    @precondition(lambda self: bool(self.inward) and self.session.state is not SessionState.IDLE)
    def read(self) -> None:
        self.take(self.session.received(self.inward.pop(0), self.now))
        self.half_close()

    @rule(steps=st.integers(1, 8))
    def flow(self, steps: int) -> None:
        """Things go on as they mostly do: what can be written is, what was written is read."""
        for _ in range(steps):
            if self.session.state is SessionState.IDLE:
                self.reconnect()
            elif self.can_write():
                self.write()
            elif self.outward:
                self.hear()
            elif self.inward and self.session.state is not SessionState.CLOSED:
                self.read()

    @rule(succeeds=st.booleans(), pick=st.integers(0, SLOTS))
    @precondition(lambda self: bool(self.running))
    def end_user_code(self, *, succeeds: bool, pick: int) -> None:
        ref = sorted(self.running)[pick % len(self.running)]
        del self.running[ref]
        self.finished.add(ref)
        self.holdings.finished(ref, DONE if succeeds else FAILED, self.now)
        self.take(self.holdings.effects.take())

    @rule(span=st.sampled_from([0.05, 1.0, 4.0]))
    def pass_time(self, span: float) -> None:
        self.now += span
        self.holdings.tick(self.now)
        self.take(self.session.tick(self.now))

    @rule()
    @precondition(lambda self: self.live() or self.session.state is SessionState.ENDING)
    def break_stream(self) -> None:
        """What is on its way in either direction is lost."""
        self.inward, self.outward = [], []
        self.take(self.session.ended(self.now, "broken", self.draw))

    @rule()
    @precondition(lambda self: not self.draining and len(self.finished) > 2)
    def drain(self) -> None:
        self.draining = True
        self.holdings.drain(self.now, 1_000_000.0)
        self.take(self.session.tick(self.now))

    # ---- the SEC

    def live(self) -> bool:
        return self.session.state in (SessionState.GREETING, SessionState.OPEN, SessionState.CLOSING)

    def say(self, **fields: object) -> None:
        self.sequence += 1
        self.inward.append(pb.ConnectResponse(sequence=self.sequence, **fields))  # type: ignore[arg-type]

    @rule()
    @precondition(lambda self: bool(self.outward))
    def hear(self) -> None:
        frame = self.outward.pop(0)
        if frame.HasField("hello"):
            self.hear_hello(frame.hello)
        self.received |= {ref for ref, sequence in self.sent_in.items() if sequence <= frame.ack_sequence}
        if frame.HasField("capacity"):
            self.window = frame.capacity.max_in_flight_by_pool[""]
        for item in frame.rejections:
            ref = Ref.of(item.ref)
            assert self.starts[ref] == 0, "run, and rejected"
            self.rejected.add(ref)
            self.outstanding.discard(ref)
        for result in frame.results:
            ref = Ref.of(result.ref)
            assert ref not in self.rejected, "rejected, and answered"
            self.outstanding.discard(ref)
            self.unacked.append(ref)
        if frame.HasField("heartbeat"):
            self.say(heartbeat_nonce=frame.heartbeat.nonce)
        if frame.HasField("drain"):
            self.drained_said = True
            self.window = 0
            self.say(drained=True)

    def hear_hello(self, hello: pb.Hello) -> None:
        """What the worker does not list was lost with the old stream, before it was read."""
        self.drained_said = False
        assert hello.in_flight.complete
        listed = {Ref.of(entry.ref) for entry in hello.in_flight.entries}
        assert not {ref for ref in self.finished if ref not in self.settled} - listed, "a result was lost"
        assert set(self.running) <= listed
        assert not (self.outstanding - listed) & self.received, "received, never answered, and not held"
        self.outstanding &= listed
        self.sent_in.clear()
        self.window = hello.capacity.max_in_flight_by_pool[""]
        self.say(welcome=pb.Welcome(protocol_version=1, sec_id="a"))

    def can_send(self) -> bool:
        greeted = self.live() and self.sequence > 0 and not self.drained_said
        return greeted and self.window > 0 and len(self.outstanding) < self.window + EXCESS

    @rule(saga=st.sampled_from(["s1", "s2"]), node=st.sampled_from(["a", "b"]), kind=st.sampled_from([ACTION, UNDO]))
    @precondition(lambda self: self.can_send())
    def send(self, saga: str, node: str, kind: int) -> None:
        """A new attempt, also while an earlier one was never answered: the SEC may have given it up."""
        self.attempts[saga, node, kind] += 1
        ref = Ref(saga, node, kind, self.attempts[saga, node, kind])
        self.outstanding.add(ref)
        self.say(invocations=[invocation(ref, epoch=self.epoch)])

    @rule(pick=st.integers(0, 10))
    @precondition(lambda self: self.can_send() and bool(self.outstanding))
    def send_again(self, pick: int) -> None:
        ref = sorted(self.outstanding)[pick % len(self.outstanding)]
        self.say(invocations=[invocation(ref, epoch=self.epoch)])
        self.sent_in.setdefault(ref, self.sequence)

    @rule()
    def take_over(self) -> None:
        self.epoch += 1

    @rule(pick=st.integers(0, 10))
    @precondition(lambda self: self.live() and self.sequence > 0 and bool(self.outstanding))
    def cancel(self, pick: int) -> None:
        ref = sorted(self.outstanding)[pick % len(self.outstanding)]
        self.say(cancellations=[pb.Cancellation(ref=ref.message(), reason=pb.CANCELLATION_REASON_TIMED_OUT)])

    @rule(status=st.sampled_from(STATUSES))
    @precondition(lambda self: bool(self.unacked) and self.live() and self.sequence > 0)
    def acknowledge(self, status: pb.ResultStatus.ValueType) -> None:
        ref = self.unacked.pop(0)
        if status != pb.RESULT_STATUS_RETRY:
            self.settled.add(ref)
        self.say(result_acks=[ack(ref, status, delay=0.1)])

    @rule()
    @precondition(lambda self: self.live() and self.sequence > 0)
    def reconcile(self) -> None:
        self.say(reconcile=pb.Reconcile())

    # ---- what must hold

    @invariant()
    def user_code_runs_once(self) -> None:
        assert all(count == 1 for count in self.starts.values())
        assert len(self.running) <= SLOTS
        held, _ = self.holdings.counts()
        assert held - len(self.holdings.results) <= SLOTS + limits.EXCESS_MAX

    def teardown(self) -> None:
        """From here on nothing breaks: all that was sent is answered, and the worker forgets everything."""
        for _ in range(500):
            if self.session.state is SessionState.CLOSED or self.all_quiet():
                break
            self.settle_a_little()
        assert not self.running
        assert not self.outstanding, f"never answered: {self.outstanding}"
        assert self.finished <= self.settled
        assert not self.holdings.results.messages()
        assert self.draining or self.all_quiet()

    def all_quiet(self) -> bool:
        under_way = self.outstanding or self.unacked or self.outward or self.inward or self.running
        return not under_way and not self.holdings.results.messages() and not self.can_write()

    def settle_a_little(self) -> None:
        if self.session.state is SessionState.IDLE:
            self.reconnect()
        if self.session.state is SessionState.ENDING:
            self.break_stream()
            return
        while self.can_write():
            self.write()
        while self.outward:
            self.hear()
        while self.unacked:
            self.acknowledge(pb.RESULT_STATUS_RECORDED)
        while self.inward and self.live():
            self.read()
        if self.running:
            self.end_user_code(succeeds=True, pick=0)
        if self.half_closed and not self.inward:
            self.break_stream()
        self.pass_time(0.05)


WorkerAgainstSec.TestCase.settings = settings(
    max_examples=150,
    stateful_step_count=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)
TestWorkerAgainstSec = WorkerAgainstSec.TestCase
