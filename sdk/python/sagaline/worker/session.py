"""The session of this worker at one address: its streams one after another, frame by frame.

No I/O, clock or randomness: the shell tells what happens, with the time of a clock that never goes back (in seconds)
and a random draw where one is needed, and does what the returned effects ask. protos/README.md numbers the rules that
are kept here. What is held (attempts, results, rejections) outlives the stream and is in `Holdings`, shared by all
sessions; whichever event frees or queues something there, every session is asked for its next frame. Which SEC
answers at the address is known from its welcome, and may be another one each time. `Fleet` has all sessions.

    IDLE --opened--> GREETING --welcome--> OPEN --draining, everything said and confirmed--> CLOSING --ended--> CLOSED
     ^                  |                   |                                                                     ^
     |                  +--- given up -----+--> ENDING                                                           |
     +------ ended, from any of the three ------------+                                                           |
     +------ nothing left to say, while draining ----------------------------------------------------------------+

The shell must not deliver a frame of a stream after it said `ended` of it: only so can `hello` say what is held.
"""

from __future__ import annotations

import logging
from enum import Enum

from sagaline.v1 import worker_service_pb2 as pb
from sagaline.worker import limits
from sagaline.worker.attempts import CancelReason, Ref
from sagaline.worker.durations import duration_of
from sagaline.worker.effects import Closed, Effect, EndStream, Members, Reconnect, Welcomed
from sagaline.worker.holdings import Holdings
from sagaline.worker.limits import Terms
from sagaline.worker.pulse import Pulse
from sagaline.worker.reports import Reports


class SessionState(Enum):
    """Where a session stands."""

    IDLE = "idle"
    """No stream; the next one is due."""
    GREETING = "greeting"
    """A stream is open for our hello and has not brought the welcome."""
    OPEN = "open"
    """Everything may flow."""
    ENDING = "ending"
    """We decided that the stream is over; what it still brings is not looked at."""
    CLOSING = "closing"
    """Drained, everything said and confirmed; our half is closed."""
    CLOSED = "closed"
    """Over for good."""


class Event(Enum):
    """What moves a session from state to state."""

    OPENED = "opened"
    WELCOME = "welcome"
    GIVE_UP_STREAM = "give up stream"
    SAID_ALL = "said all"
    ENDED = "ended"
    CLOSE = "close"


TRANSITIONS: dict[tuple[SessionState, Event], SessionState] = {
    (SessionState.IDLE, Event.OPENED): SessionState.GREETING,
    (SessionState.IDLE, Event.CLOSE): SessionState.CLOSED,
    (SessionState.GREETING, Event.WELCOME): SessionState.OPEN,
    (SessionState.GREETING, Event.GIVE_UP_STREAM): SessionState.ENDING,
    (SessionState.GREETING, Event.ENDED): SessionState.IDLE,
    (SessionState.OPEN, Event.GIVE_UP_STREAM): SessionState.ENDING,
    (SessionState.OPEN, Event.SAID_ALL): SessionState.CLOSING,
    (SessionState.OPEN, Event.ENDED): SessionState.IDLE,
    (SessionState.ENDING, Event.ENDED): SessionState.IDLE,
    (SessionState.CLOSING, Event.ENDED): SessionState.CLOSED,
}


CANCEL_REASONS = {
    pb.CANCELLATION_REASON_TIMED_OUT: CancelReason.TIMED_OUT,
    pb.CANCELLATION_REASON_SUPERSEDED: CancelReason.SUPERSEDED,
    pb.CANCELLATION_REASON_NOT_FOUND: CancelReason.NOT_FOUND,
}
"""Every other reason, also one that is not known here, counts as SAGA_UNWINDING."""


class IllegalEventError(Exception):
    """The shell broke the machine's rules; nothing has changed."""


class Session:
    """One worker, one address, and the SEC there."""

    def __init__(self, address: str, hello: pb.Hello, holdings: Holdings) -> None:
        self.address = address
        self.sec = ""
        """The SEC that is expected there, or that has welcomed us; "" while nobody knows who will answer."""
        self.state = SessionState.IDLE
        self._hello = hello
        self._holdings = holdings
        self._effects = holdings.effects
        self._terms = Terms()
        self._pulse = Pulse(holdings.streams)
        self._reports = Reports(holdings)
        self._stream_epoch = 0
        self._failures = 0
        self._error: str | None = None
        # Of the stream that is open:
        self._sequence = 0
        self._welcomed_at: float | None = None
        self._deadline: float | None = None
        self._hello_due = False
        self._drain_said = False
        self._drained = False
        self._broke_rules = False

    # ---- events

    def opened(self, now: float) -> list[Effect]:
        """The shell has a stream, and will pull its first frame."""
        self._move(Event.OPENED)
        self._stream_epoch = self._holdings.opened(self.address)
        self._sequence, self._welcomed_at = 0, None
        self._deadline = now + limits.HANDSHAKE_SECONDS
        self._hello_due, self._broke_rules = True, False
        self._drain_said, self._drained = False, False
        self._reports.clear()
        return self._effects.take()

    def received(self, frame: pb.ConnectResponse, now: float) -> list[Effect]:
        """A frame of the open stream."""
        if self.state in (SessionState.IDLE, SessionState.CLOSED):
            raise IllegalEventError(f"a frame in state {self.state.value}")
        if self.state is SessionState.ENDING:
            return []
        problem = self._problem(frame)
        if problem is not None:
            self._broke_rules = True
            self._effects.note(logging.ERROR, "protocol error of the SEC", **self._names(), problem=problem)
            self.give_up_stream(f"protocol error: {problem}")
            return self._effects.take()
        self._sequence = frame.sequence
        self._pulse.heard(now)
        if frame.HasField("welcome"):
            self._welcome(frame.welcome, now)
        self._process(frame, now)
        self.conclude(now)
        return self._effects.take()

    def written(self, now: float) -> list[Effect]:
        """The frame pulled last is written."""
        self.conclude(now)
        return self._effects.take()

    def ended(self, now: float, why: str, draw: float) -> list[Effect]:
        """The stream is over, whatever the reason; `draw` is random, from 0 to 1."""
        steady = self._welcomed_at is not None and now - self._welcomed_at >= limits.STEADY_SECONDS
        self._move(Event.ENDED)
        self._holdings.ended(self.address, now)
        self._deadline = None
        self._failures = 0 if steady and not self._broke_rules else self._failures + 1
        self._effects.note(self._level(), "stream ended", **self._names(), why=why, failures=self._failures)
        if self.state is SessionState.CLOSED:
            self._effects.add(Closed(self.address))
        elif self._error is not None:
            self.close()
        else:
            self.conclude(now)
        if self.state is SessionState.IDLE:
            self._reconnect(now, draw)
        return self._effects.take()

    def tick(self, now: float, lag: float = 0.0) -> list[Effect]:
        """Time has passed; `lag` is how long the shell stood still and could not have read a frame, in seconds.

        Of the holdings this is told first: `Holdings.tick`.
        """
        self._pulse.stood_still(lag)
        if self.state is SessionState.OPEN and (dead := self._pulse.tick(now)) is not None:
            self.give_up_stream(dead)
        elif self._deadline is not None and now >= self._deadline:
            self.give_up_stream("no welcome in time" if self._welcomed_at is None else "no end of stream in time")
        self.conclude(now)
        return self._effects.take()

    def next_deadline(self) -> float | None:
        """When `tick` has something to do."""
        if self.state is SessionState.OPEN:
            return self._pulse.next_deadline()
        return self._deadline

    # ---- frames

    def has_frame(self) -> bool:
        """Whether `next_frame` gives one."""
        state, sec, holdings = self.state, self.sec, self._holdings
        if state is SessionState.OPEN or state is SessionState.CLOSING:
            if holdings.results.has_queued(sec) or holdings.rejections.has_queued(sec):
                return True
            return state is SessionState.OPEN and (
                self._pulse.due
                or (holdings.draining and not self._drain_said)
                or bool(self._reports)
                or holdings.progress.has_queued(sec)
                or holdings.windows.has_news(self.address, closed=holdings.closed)
            )
        return state is SessionState.GREETING and self._hello_due

    def next_frame(self, now: float) -> pb.ConnectRequest | None:
        """The next frame to write, with all that is queued and fits; None while there is nothing to say."""
        if not self.has_frame():
            return None
        frame = pb.ConnectRequest(ack_sequence=self._sequence)
        budget = self._terms.frame_bytes - limits.FRAME_RESERVE_BYTES
        if self.state is SessionState.GREETING:
            self._add_hello(frame, budget)
            return frame
        if self.state is SessionState.OPEN:
            budget = self._add_facts(frame, budget, now)
        self._add_answers(frame, budget, now)
        return frame

    def _add_hello(self, frame: pb.ConnectRequest, budget: int) -> None:
        self._hello_due = False
        hello = frame.hello
        hello.CopyFrom(self._hello)
        hello.stream_epoch = self._stream_epoch
        hello.capacity.CopyFrom(self._capacity())
        self._reports.everything(of=self.sec or None)
        report, _ = self._reports.take(budget - hello.ByteSize())
        hello.in_flight.CopyFrom(report)

    def _add_facts(self, frame: pb.ConnectRequest, budget: int, now: float) -> int:
        """What the session itself has to say. All but reports is small and of fixed size."""
        if self._pulse.due:
            held, unacked_bytes = self._holdings.counts()
            frame.heartbeat.CopyFrom(self._pulse.beat(now, held, unacked_bytes))
        if self._holdings.windows.has_news(self.address, closed=self._holdings.closed):
            frame.capacity.CopyFrom(self._capacity())
        if self._holdings.draining and not self._drain_said:
            self._drain_said = True
            frame.drain.timeout.CopyFrom(duration_of(self._holdings.drain_left(now)))
            frame.drain.reason = "the worker stops"
        if self._reports:
            report, budget = self._reports.take(budget)
            frame.in_flight.CopyFrom(report)
        return budget

    def _add_answers(self, frame: pb.ConnectRequest, budget: int, now: float) -> None:
        holdings = self._holdings
        progress, budget = holdings.progress.take(self.sec, budget, now)
        frame.progress.extend(progress)
        if holdings.rejections.has_queued(self.sec):
            nonce = frame.heartbeat.nonce or holdings.streams.nonce + 1
            rejections, budget = holdings.rejections.take(self.sec, budget, nonce)
            frame.rejections.extend(rejections)
            if len(holdings.rejections) >= limits.HEARTBEAT_EARLY_REJECTIONS:
                self._pulse.hurry(now)
        results, _ = holdings.results.take(self.sec, budget)
        frame.results.extend(results)

    def _capacity(self) -> pb.Capacity:
        window = self._holdings.windows.tell(self.address, closed=self._holdings.closed)
        return pb.Capacity(max_in_flight_by_pool=window, max_in_flight_bytes=limits.OUTSTANDING_BYTES_MAX)

    # ---- what a frame says

    def _problem(self, frame: pb.ConnectResponse) -> str | None:
        """How a frame breaks the protocol so that nothing on the stream can be trusted any more."""
        if frame.sequence != self._sequence + 1:
            return f"sequence {frame.sequence} after {self._sequence}"
        if frame.HasField("welcome") != (self.state is SessionState.GREETING):
            return "a second welcome" if frame.HasField("welcome") else "the first frame has no welcome"
        version = frame.welcome.protocol_version
        if frame.HasField("welcome") and not 1 <= version <= limits.PROTOCOL_VERSION:
            return f"protocol version {version}, while {limits.PROTOCOL_VERSION} was offered"
        return None

    def _welcome(self, welcome: pb.Welcome, now: float) -> None:
        self._move(Event.WELCOME)
        self._welcomed_at, self._deadline = now, None
        self._terms = Terms.of(welcome)
        self._pulse.start(now, self._terms)
        self.sec = welcome.sec_id or self.address
        self._holdings.welcomed(self.address, self.sec, self._terms.payload_bytes, now)
        self._effects.add(Welcomed(self.address, self.sec, dict(welcome.refused_actions)))
        if welcome.HasField("secs"):
            self._effects.add(Members(welcome.secs))

    def _process(self, frame: pb.ConnectResponse, now: float) -> None:
        """Acknowledgements first, for they free; cancellations after the invocations that they may be about."""
        holdings = self._holdings
        for ack in frame.result_acks:
            holdings.acknowledge(ack, self.sec, now)
        if frame.saga_moves:
            holdings.move(self.sec, frame.saga_moves, now)
        if frame.adoptions:
            holdings.adopt(self.sec, frame.adoptions, now)
            for adoption in frame.adoptions:
                self._reports.about(map(Ref.of, adoption.refs))
        for invocation in frame.invocations:
            holdings.receive(invocation, self.sec, now)
        for cancellation in frame.cancellations:
            ref = Ref.of(cancellation.ref)
            reason = CANCEL_REASONS.get(cancellation.reason, CancelReason.SAGA_UNWINDING)
            if not holdings.cancel(ref, reason):
                self._reports.about([ref])
        if frame.HasField("reconcile"):
            if frame.reconcile.refs:
                self._reports.about(map(Ref.of, frame.reconcile.refs))
            else:
                self._reports.everything(of=self.sec)
        if frame.heartbeat_nonce:
            self._pulse.echoed(frame.heartbeat_nonce)
            holdings.rejections.confirm(self.sec, frame.heartbeat_nonce)
        self._drained = self._drained or frame.drained
        if frame.demands:
            holdings.windows.demand(self.address, frame.demands, now)
        if frame.HasField("secs"):
            self._effects.add(Members(frame.secs))
        if frame.HasField("go_away"):
            self._go_away(frame.go_away)

    def _go_away(self, go_away: pb.GoAway) -> None:
        reason = go_away.reason
        name = pb.GoAwayReason.Name(reason) if reason in pb.GoAwayReason.values() else str(reason)
        at_fault = reason in (pb.GO_AWAY_REASON_PROTOCOL_ERROR, pb.GO_AWAY_REASON_REPLACED)
        level = logging.ERROR if at_fault else logging.INFO
        self._effects.note(level, "the SEC ends the stream", **self._names(), reason=name, message=go_away.message)
        self._broke_rules = self._broke_rules or reason == pb.GO_AWAY_REASON_PROTOCOL_ERROR
        if reason == pb.GO_AWAY_REASON_REPLACED:
            if not self._holdings.streams.replaced_by_us(self.address):
                # So another process has: a copy of this one, with its id. Two would fight for ever.
                self._error = f"another process uses the worker id {self._hello.worker_id}"
            self.give_up_stream("replaced")

    # ---- state

    def _move(self, event: Event) -> None:
        target = TRANSITIONS.get((self.state, event))
        if target is None:
            raise IllegalEventError(f"{event.value} in state {self.state.value}")
        self.state = target

    def give_up_stream(self, why: str) -> None:
        """Let the stream end, if there is one."""
        if self.state in (SessionState.GREETING, SessionState.OPEN):
            self._move(Event.GIVE_UP_STREAM)
        self._deadline = None
        self._effects.add(EndStream(self.address, why))

    def conclude(self, now: float) -> None:
        """While draining: end what has nothing left to say, or no time left to say it.

        As long as anything is held, from whichever SEC, each session stays: sagas move, and results with them.
        """
        holdings = self._holdings
        if not holdings.draining:
            return
        if self.state is SessionState.IDLE:
            if holdings.given_up or not (holdings.busy or self._owes_rejections()):
                self.close()
        elif self.state is SessionState.GREETING:
            nothing_can_come = not any(holdings.windows.granted(self.address).values())
            if holdings.given_up or (nothing_can_come and not (holdings.busy or self._owes_rejections())):
                self.give_up_stream("the worker leaves")
        elif self.state is SessionState.OPEN:
            all_said = self._drained and not holdings.busy and not self.has_frame()
            if all_said or holdings.given_up:
                self._move(Event.SAID_ALL)
                self._deadline = now + limits.HALF_CLOSE_SECONDS
                why = "drained" if all_said else "the drain's time is over"
                self._effects.add(EndStream(self.address, why, half_close=True))

    def _owes_rejections(self) -> bool:
        return any(True for _ in self._holdings.rejections.of(self.sec))

    def close(self) -> None:
        """There will be no stream any more; only while there is none."""
        self._move(Event.CLOSE)
        self._effects.add(Closed(self.address, self._error))

    def _reconnect(self, now: float, draw: float) -> None:
        """At once after a stream that worked; else with full jitter under a ceiling that doubles, for ever."""
        delay = 0.0
        if self._failures:
            doublings = min(self._failures - 1, 16)
            delay = draw * min(limits.RECONNECT_SECONDS_MAX, limits.RECONNECT_SECONDS_MIN * 2**doublings)
        fresh = self._failures > 0 and self._failures % limits.FRESH_CHANNEL_FAILURES == 0
        self._effects.add(Reconnect(self.address, now + delay, fresh, self._failures))

    def _level(self) -> int:
        """Failures that go on are told of ever more rarely."""
        if self._holdings.draining:
            return logging.INFO
        return logging.DEBUG if self._failures & (self._failures - 1) else logging.WARNING

    def _names(self) -> dict[str, object]:
        return {"sec": self.sec or "?", "address": self.address}
