"""The whole machine against three SECs that crash, come back and hand sagas to each other, over streams that break.

What must hold at every step: what was granted never exceeds the slots; user code never runs twice for an attempt, nor
twice at once for a node; what a SEC may rely on in a hello is named there. What must hold in the end: no result is
lost, and each is recorded by a SEC that owned its saga then.

The worker is to hold streams to two of the SECs; the third, which owns sagas as well, it can only call.
"""

from __future__ import annotations

from collections import Counter

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sagaline.v1 import worker_service_pb2 as pb
from sagaline.worker import limits
from sagaline.worker.attempts import Attempt, Ref
from sagaline.worker.effects import Call, Closed, Connect, Effect, Start, Stop
from sagaline.worker.fleet import Fleet
from sagaline.worker.holdings import Holdings
from sagaline.worker.session import Session, SessionState
from tests.unit.sdk_worker.driving import ACTION, DONE, FAILED, SERVED, UNDO, invocation
from tests.unit.sdk_worker.fleet_driving import address_of, sec_named, sec_set

SLOTS = 6
STREAMED = ("a", "b")
CALLED = "c"
SECS = (*STREAMED, CALLED)
SAGAS = ("s1", "s2", "s3")


class Sec:
    """One SEC, and its half of the stream, if there is one."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.in_flight: set[Ref] = set()
        """What it sent or adopted, and believes to be with the worker."""
        self.expected: set[Ref] = set()
        """What it adopted of that, and has not been told of."""
        self.detach()

    def detach(self) -> None:
        """Its stream is over; what was on its way is lost."""
        self.inward: list[pb.ConnectResponse] = []
        self.outward: list[pb.ConnectRequest] = []
        self.sequence = 0
        self.window = 0
        self.greeted = False
        self.drained_said = False
        self.unacked: list[Ref] = []

    def say(self, **fields: object) -> None:
        self.sequence += 1
        self.inward.append(pb.ConnectResponse(sequence=self.sequence, **fields))  # type: ignore[arg-type]


class WorkerAgainstCluster(RuleBasedStateMachine):
    """The SECs' half is the model: the log that they share, who owns what, and what each believes."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.secs = {name: Sec(name) for name in SECS}
        self.owner = {"s1": "a", "s2": "b", "s3": "a"}
        self.epoch = dict.fromkeys(SAGAS, 1)
        self.attempts: Counter[tuple[str, str, int]] = Counter()
        self.answers: dict[Ref, str] = {}
        """The log: every attempt that was started, and how it ended."""
        self.revision = 1
        # the worker
        self.holdings = Holdings(SERVED, {"": SLOTS})
        self.fleet = Fleet(pb.Hello(worker_id="w"), self.holdings, [address_of("a"), address_of("b")])
        self.ordered: set[str] = set()
        self.calls: list[Call] = []
        self.received: set[Ref] = set()
        self.running: dict[Ref, Attempt] = {}
        self.starts: Counter[Ref] = Counter()
        self.finished: set[Ref] = set()
        self.draining = False

    # ---- the worker's shell

    @initialize()
    def start(self) -> None:
        self.take(self.fleet.start(self.now))
        self.flow(rounds=8)

    def take(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Start():
                    for attempt in effect.attempts:
                        self.begin(attempt)
                case Stop():
                    assert effect.ref in self.running
                case Connect():
                    self.ordered.add(effect.address)
                case Closed():
                    assert effect.error is None
                    self.ordered.discard(effect.address)
                case Call():
                    self.calls.append(effect)

    def begin(self, attempt: Attempt) -> None:
        places = {(held.ref.saga_id, held.ref.node) for held in self.running.values()}
        assert (attempt.ref.saga_id, attempt.ref.node) not in places, "a node runs twice at once"
        assert self.answers.get(attempt.ref) != "rejected", "rejected, and run"
        self.running[attempt.ref] = attempt
        self.starts[attempt.ref] += 1

    def session(self, name: str) -> Session | None:
        return self.fleet.sessions.get(address_of(name))

    def has_stream(self, name: str) -> bool:
        session = self.session(name)
        return session is not None and session.state not in (SessionState.IDLE, SessionState.CLOSED)

    @rule(name=st.sampled_from(STREAMED))
    def dial(self, name: str) -> None:
        if address_of(name) not in self.ordered:
            return
        self.ordered.discard(address_of(name))
        session = self.session(name)
        assert session is not None
        self.secs[name].detach()
        self.take(self.fleet.opened(session, self.now))
        if self.secs[name].alive:
            self.write(name)
        else:
            self.take(self.fleet.ended(session, self.now, "refused", 0.5))

    def write(self, name: str) -> None:
        session = self.session(name)
        frame = session.next_frame(self.now) if session is not None else None
        if session is not None and frame is not None:
            self.secs[name].outward.append(frame)
            self.take(self.fleet.written(session, self.now))

    def read(self, name: str) -> None:
        session, sec = self.session(name), self.secs[name]
        if session is not None and sec.inward and self.has_stream(name):
            frame = sec.inward.pop(0)
            if session.state is not SessionState.ENDING:
                self.received |= {Ref.of(item.ref) for item in frame.invocations}
            self.take(self.fleet.received(session, frame, self.now))

    @rule(name=st.sampled_from(STREAMED), what=st.sampled_from(["write", "read", "hear"]))
    def move_one_frame(self, name: str, what: str) -> None:
        {"write": self.write, "read": self.read, "hear": self.hear}[what](name)

    @rule(rounds=st.integers(1, 8))
    def flow(self, rounds: int) -> None:
        """Things go on as they mostly do."""
        for _ in range(rounds):
            for name in STREAMED:
                self.dial(name)
                self.write(name)
                self.hear(name)
                self.read(name)

    @rule(name=st.sampled_from(STREAMED))
    @precondition(lambda self: self.matters())
    def break_stream(self, name: str) -> None:
        session = self.session(name)
        if session is not None and self.has_stream(name):
            self.secs[name].detach()
            self.take(self.fleet.ended(session, self.now, "broken", 0.5))

    @rule(count=st.integers(1, SLOTS), told=st.booleans())
    @precondition(lambda self: bool(self.running))
    def end_much_user_code(self, count: int, *, told: bool) -> None:
        for _ in range(min(count, len(self.running))):
            self.end_user_code(succeeds=True, pick=0)
        if told:
            self.flow(rounds=2)

    @rule(succeeds=st.booleans(), pick=st.integers(0, SLOTS))
    @precondition(lambda self: bool(self.running))
    def end_user_code(self, *, succeeds: bool, pick: int) -> None:
        ref = sorted(self.running)[pick % len(self.running)]
        del self.running[ref]
        self.finished.add(ref)
        self.holdings.finished(ref, DONE if succeeds else FAILED, self.now)
        self.take(self.fleet.changed(self.now))

    @rule(span=st.sampled_from([0.05, 1.0, 3.0]))
    def pass_time(self, span: float) -> None:
        self.now += span
        self.take(self.fleet.tick(self.now))

    @rule(answered=st.booleans())
    @precondition(lambda self: bool(self.calls))
    def end_call(self, *, answered: bool) -> None:
        call = self.calls.pop(0)
        sec = self.secs[call.address.partition(":")[0]]
        acks = None
        if answered and sec.alive:
            acks = [self.fate(sec, Ref.of(result.ref)) for result in call.request.results]
        self.take(self.fleet.called(call.address, acks, self.now))

    @rule()
    @precondition(lambda self: not self.draining and len(self.finished) > 3)
    def drain(self) -> None:
        self.draining = True
        self.take(self.fleet.drain(self.now, 1_000_000.0))

    # ---- the cluster

    def matters(self) -> bool:
        """Whether something is under way that a fault could spoil."""
        return self.holdings.busy or any(sec.in_flight for sec in self.secs.values())

    @rule(name=st.sampled_from(SECS))
    @precondition(lambda self: self.matters() and sum(sec.alive for sec in self.secs.values()) > 1)
    def crash(self, name: str) -> None:
        sec = self.secs[name]
        if sec.alive:
            sec.alive = False
            sec.in_flight.clear()
            sec.expected.clear()
            self.break_stream(name)
            sec.detach()

    @rule()
    @precondition(lambda self: not all(sec.alive for sec in self.secs.values()))
    def come_back(self) -> None:
        for sec in self.secs.values():
            sec.alive = True
        self.flow(rounds=4)

    @rule(saga=st.sampled_from(SAGAS), to=st.sampled_from(SECS))
    @precondition(lambda self: self.matters())
    def move_saga(self, saga: str, to: str) -> None:
        """By a hand-off if the owner lives, else by adoption."""
        old, new = self.secs[self.owner[saga]], self.secs[to]
        if old is new or not new.alive:
            return
        self.owner[saga] = to
        self.epoch[saga] += 1
        if old.alive:
            known = {ref for ref in old.in_flight if ref.saga_id == saga}
            old.in_flight -= known
            old.expected -= known
            if known and old.greeted:
                old.say(saga_moves=[pb.SagaMoved(saga_id=saga, owner=sec_named(to), epoch=self.epoch[saga])])
        self.adopt(new, saga)

    def open_attempts(self, saga: str) -> set[Ref]:
        return {ref for ref, answer in self.answers.items() if not answer and ref.saga_id == saga}

    def adopt(self, sec: Sec, saga: str) -> None:
        refs = self.open_attempts(saga)
        sec.in_flight |= refs
        sec.expected |= refs
        if sec.greeted:
            self.ask(sec, saga)

    def ask(self, sec: Sec, saga: str) -> None:
        """An adoption tells the worker that this SEC is the owner now: that a hello names it is not enough."""
        refs = sorted(ref for ref in sec.expected if ref.saga_id == saga)
        if refs:
            message = pb.Adoption(saga_id=saga, epoch=self.epoch[saga], refs=[ref.message() for ref in refs])
            sec.say(adoptions=[message])

    @rule()
    def tell_members(self) -> None:
        alive = [name for name, sec in self.secs.items() if sec.alive]
        self.revision += 1
        for sec in self.secs.values():
            if sec.greeted:
                sec.say(secs=sec_set(*alive, revision=self.revision, assigned=STREAMED))

    def hear(self, name: str) -> None:
        sec = self.secs[name]
        if not sec.outward:
            return
        frame = sec.outward.pop(0)
        if frame.HasField("hello"):
            self.hear_hello(sec, frame.hello)
        if frame.HasField("capacity"):
            sec.window = frame.capacity.max_in_flight_by_pool[""]
        for item in frame.rejections:
            self.hear_rejection(sec, Ref.of(item.ref))
        for result in frame.results:
            sec.in_flight.discard(Ref.of(result.ref))
            sec.unacked.append(Ref.of(result.ref))
        self.hear_report(sec, frame.in_flight)
        if frame.HasField("heartbeat"):
            sec.say(heartbeat_nonce=frame.heartbeat.nonce)
        if frame.HasField("drain"):
            sec.drained_said, sec.window = True, 0
            sec.say(drained=True)

    def hear_hello(self, sec: Sec, hello: pb.Hello) -> None:
        """What this SEC sent itself and is not named there is not with the worker: so it must not be."""
        assert hello.in_flight.complete
        listed = {Ref.of(entry.ref) for entry in hello.in_flight.entries}
        for ref in sec.in_flight - sec.expected - listed:
            assert self.owner[ref.saga_id] == sec.name
            self.lose(ref)
        sec.in_flight &= listed | sec.expected
        sec.window = hello.capacity.max_in_flight_by_pool[""]
        sec.greeted = True
        alive = [name for name, other in self.secs.items() if other.alive]
        members = sec_set(*alive, revision=self.revision, assigned=STREAMED)
        sec.say(welcome=pb.Welcome(protocol_version=1, sec_id=sec.name, secs=members))
        for saga in SAGAS:
            self.ask(sec, saga)

    def hear_report(self, sec: Sec, report: pb.InFlightReport) -> None:
        for entry in report.entries:
            ref = Ref.of(entry.ref)
            sec.expected.discard(ref)
            if entry.state == pb.IN_FLIGHT_STATE_NOT_HELD and ref in sec.in_flight:
                sec.in_flight.discard(ref)
                self.lose(ref)

    def lose(self, ref: Ref) -> None:
        if not self.answers[ref]:
            assert ref not in self.received or self.answers[ref], "received, never answered, and not held"
            self.answers[ref] = "lost"

    def hear_rejection(self, sec: Sec, ref: Ref) -> None:
        """From a SEC that lost the saga it counts for nothing, also where it repeats what has long been answered."""
        sec.in_flight.discard(ref)
        if self.owner[ref.saga_id] == sec.name:
            assert self.starts[ref] == 0, "run, and rejected"
            self.answers[ref] = self.answers[ref] or "rejected"

    @rule(name=st.sampled_from(STREAMED), retry=st.booleans())
    @precondition(lambda self: any(sec.unacked for sec in self.secs.values()))
    def acknowledge(self, name: str, *, retry: bool) -> None:
        sec = self.secs[name]
        if sec.unacked and sec.greeted:
            ref = sec.unacked.pop(0)
            ack = pb.ResultAck(ref=ref.message(), status=pb.RESULT_STATUS_RETRY) if retry else self.fate(sec, ref)
            sec.say(result_acks=[ack])

    def fate(self, sec: Sec, ref: Ref) -> pb.ResultAck:
        """Only the owner can write it down; everybody knows the owner."""
        owner = self.owner[ref.saga_id]
        if owner != sec.name:
            return pb.ResultAck(ref=ref.message(), status=pb.RESULT_STATUS_NOT_OWNER, owner=sec_named(owner))
        known = self.answers[ref]
        assert known != "rejected", "rejected, and answered"
        self.answers[ref] = "result"
        sec.in_flight.discard(ref)
        status = pb.RESULT_STATUS_DUPLICATE if known == "result" else pb.RESULT_STATUS_RECORDED
        return pb.ResultAck(ref=ref.message(), status=status)

    @rule(nodes=st.sets(st.sampled_from("wxyz"), min_size=1))
    def send_much(self, nodes: set[str]) -> None:
        for saga in SAGAS:
            for node in sorted(nodes):
                self.send(saga, node, ACTION)
        self.flow(rounds=2)

    @rule()
    def acknowledge_all(self) -> None:
        for name in STREAMED:
            for _ in range(len(self.secs[name].unacked)):
                self.acknowledge(name, retry=False)
        self.flow(rounds=1)

    @rule(saga=st.sampled_from(SAGAS), node=st.sampled_from("wxyz"), kind=st.sampled_from([ACTION, UNDO]))
    def send(self, saga: str, node: str, kind: int) -> None:
        """A new attempt, also while an earlier one was never answered: the SEC may have given it up."""
        sec = self.secs[self.owner[saga]]
        if sec.greeted and not sec.drained_said and len(sec.in_flight) < sec.window:
            self.attempts[saga, node, kind] += 1
            ref = Ref(saga, node, kind, self.attempts[saga, node, kind])
            self.answers[ref] = ""
            sec.in_flight.add(ref)
            sec.say(invocations=[invocation(ref, epoch=self.epoch[saga])])

    @rule(name=st.sampled_from(STREAMED), pick=st.integers(0, 10))
    @precondition(lambda self: any(sec.in_flight for sec in self.secs.values()))
    def send_again(self, name: str, pick: int) -> None:
        sec = self.secs[name]
        if sec.greeted and sec.in_flight and not sec.drained_said:
            ref = sorted(sec.in_flight)[pick % len(sec.in_flight)]
            sec.say(invocations=[invocation(ref, epoch=self.epoch[ref.saga_id])])

    # ---- what must hold

    @invariant()
    def slots_are_granted_once(self) -> None:
        granted = [self.holdings.windows.granted(address)[""] for address in self.fleet.sessions]
        assert sum(granted) <= SLOTS
        assert len(self.running) <= SLOTS

    @invariant()
    def user_code_runs_once(self) -> None:
        assert all(count == 1 for count in self.starts.values())

    @invariant()
    def no_result_is_lost(self) -> None:
        for ref in self.finished:
            assert ref in self.holdings.results or self.answers[ref] == "result"

    def teardown(self) -> None:
        """From here on nothing breaks: all that was sent is answered, and the worker forgets everything.

        Of the SECs that are dead some stay so, and others have their sagas.
        """
        heir = next((name for name in STREAMED if self.secs[name].alive), None)
        if heir is None:
            self.come_back()
            heir = "a"
        for saga, owner in self.owner.items():
            if owner == CALLED or not self.secs[owner].alive:
                self.move_saga(saga, heir)
            elif not self.open_attempts(saga) <= self.secs[owner].in_flight:
                self.adopt(self.secs[owner], saga)
        self.tell_members()
        for _ in range(400):
            if self.all_quiet():
                break
            self.settle_a_little()
        assert not self.running
        assert self.finished <= {ref for ref, answer in self.answers.items() if answer == "result"}
        assert self.holdings.counts()[0] == 0
        left = {ref for ref, answer in self.answers.items() if not answer}
        assert not left, f"never answered: {left}"

    def all_quiet(self) -> bool:
        under_way = any(sec.inward or sec.outward or sec.unacked or sec.in_flight for sec in self.secs.values())
        return not (under_way or self.running or self.calls or self.ordered or self.holdings.busy)

    def settle_a_little(self) -> None:
        for name in STREAMED:
            session = self.session(name)
            if session is not None and session.state is SessionState.ENDING:
                self.break_stream(name)
            self.dial(name)
            for _ in range(20):
                self.write(name)
                self.hear(name)
                self.acknowledge(name, retry=False)
                self.read(name)
            if session is not None and session.state is SessionState.CLOSING:
                self.break_stream(name)
        if self.draining and self.fleet.is_closed:
            for sec in self.secs.values():
                self.lose_all(sec)
        if self.running:
            self.end_user_code(succeeds=True, pick=0)
        if self.calls:
            self.end_call(answered=True)
        self.pass_time(0.5)

    def lose_all(self, sec: Sec) -> None:
        """The worker has left in good order: what was never received is not with it."""
        for ref in sec.in_flight:
            self.lose(ref)
        sec.in_flight.clear()


WorkerAgainstCluster.TestCase.settings = settings(
    max_examples=100,
    stateful_step_count=80,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)
TestWorkerAgainstCluster = WorkerAgainstCluster.TestCase

assert limits.ASTRAY_SECONDS < 3.0, "so that passing time lets results ask their way"
