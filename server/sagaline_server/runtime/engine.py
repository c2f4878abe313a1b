"""The runtime: every saga of this SEC, one turn at a time, in one event loop.

There is no task for a saga or a node. What comes in for a saga goes into its
inbox; a saga with something in its inbox and no append under way is queued;
the queue is drained by turns, each of which makes at most one append. When
that is durable, and not before, its state counts, its invocations leave, and
everybody who asked gets an answer.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Container, Sequence
from functools import partial

import structlog

from sagaline_server.core.apply import IllegalEntry
from sagaline_server.core.decide import NOTHING, Decision, Input, Lost, Rejected, Result, Unwind
from sagaline_server.core.entries import Kind, UnwindCause
from sagaline_server.core.invocation import invocation
from sagaline_server.core.turn import RECORDED, Turn
from sagaline_server.core.values import Payload
from sagaline_server.dispatch.dispatcher import Dispatcher
from sagaline_server.ports.clock import Clock
from sagaline_server.ports.sagas import NotTaken, OnFate
from sagaline_server.ports.store import Append, SagaStore, Status, WriteResult
from sagaline_server.runtime.admissions import Admissions
from sagaline_server.runtime.breakpoints import Breakpoints
from sagaline_server.runtime.crashpoints import die, reach
from sagaline_server.runtime.fates import answer_result, retry_later
from sagaline_server.runtime.lanes import Lanes
from sagaline_server.runtime.live import Controlled, HeldSend, Incoming, LiveSaga, Offer, OnDecision, Wake, size_of
from sagaline_server.runtime.metrics import RuntimeMetrics
from sagaline_server.runtime.steady import SteadyClock
from sagaline_server.runtime.timers import DEADLINE, Timers
from sagaline_server.wire.entries import encode_batch
from sagaline_server.wire.frames import encoded_invocation
from sagaline_server.wire.views import done_record

log = structlog.get_logger("sagaline.runtime")

TURNS_A_ROUND = 64
"""Turns before the loop gets to do other things: so many, and the store has work while the next are taken."""
TURN_BYTES = 512 * 1024
"""Payload bytes after which a turn takes nothing more: with one more payload they still fit into one append."""
MOVED_KEPT = 10_000
"""Sagas whose new owner is remembered."""

Answer = tuple[OnDecision, Decision]


class SagaEngine:
    """Sagas, their turns and their writes: the half of the runtime that changes things."""

    def __init__(
        self,
        store: SagaStore,
        dispatcher: Dispatcher,
        clock: Clock,
        draw: Callable[[], float],
        new_writer_id: Callable[[], bytes],
        sec_id: str,
        metrics: RuntimeMetrics,
    ) -> None:
        """Make an engine for an open store.

        Args:
            store: Where everything durable goes.
            dispatcher: Who gets invocations.
            clock: Time.
            draw: Gives random numbers in [0, 1).
            new_writer_id: Gives 16 bytes that never repeat.
            sec_id: Name of this SEC.
            metrics: What to count.
        """
        self.store = store
        self.dispatcher = dispatcher
        self.clock = clock = SteadyClock(clock)
        self.sec_id = sec_id
        self.metrics = metrics
        self.sagas: dict[str, LiveSaga] = {}
        self.admissions = Admissions(self.sagas, self.let_start)
        self.breakpoints = Breakpoints(self.sagas, clock.wall, self.let_start)
        self.creating: Container[str] = ()
        """Sagas that are being created."""
        self.quarantined: dict[str, str] = {}
        """Sagas set aside because their logs can't be run, with the reason."""
        self.need_operator: set[str] = set()
        """Live sagas that need an operator."""
        self.die = die
        self.is_serving = False
        self.is_between_lives = False
        """True from the death of an incarnation to the beginning of the next: no saga may begin to run meanwhile."""
        self.incarnation_lost = asyncio.Event()
        """Set when the store says that this incarnation owns nothing any more."""
        self.commit = Lanes(store)
        self.draw = draw
        self.new_writer_id = new_writer_id
        self._queue: deque[LiveSaga] = deque()
        self._is_scheduled = False
        self._pass_time: float | None = None
        self._moved: dict[str, tuple[str, str]] = {}
        self.on_begin: Callable[[LiveSaga], None] | None = None
        """Hears of each saga that begins to run here, before anything of it is sent. None: nobody wants to."""
        self.on_stray: Callable[[str, OnFate], None] = retry_later
        """What to do with the result of a saga that does not run here."""
        self.timers = Timers(clock, self._on_due)
        self._held_sends: list[HeldSend] = []
        dispatcher.deliver_to(self)

    def now(self) -> float:
        """Return seconds since 1970: one time for all that happens in one pass of the loop."""
        if self._pass_time is None:
            self._pass_time = self.clock.wall()
            asyncio.get_running_loop().call_soon(self._end_pass)
        return self._pass_time

    def _end_pass(self) -> None:
        self._pass_time = None

    # ---- what comes in

    def post(self, live: LiveSaga, given: Incoming, on_decision: OnDecision | None = None) -> None:
        """Put something into a saga's inbox."""
        live.inbox.append((given, on_decision))
        self._enqueue(live)

    def _enqueue(self, live: LiveSaga) -> None:
        if live.is_writing or live.is_queued or live.is_leaving:
            return
        live.is_queued = True
        self._queue.append(live)
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._drain)

    def _drain(self) -> None:
        self._is_scheduled = False
        for _ in range(min(len(self._queue), TURNS_A_ROUND)):
            live = self._queue.popleft()
            live.is_queued = False
            # A slot released in a saga's own turn may have been offered to the saga itself, which now writes.
            if not live.is_gone and not live.is_leaving and not live.is_writing:
                self._guarded_turn(live)
        if self._queue:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._drain)

    def result(self, saga_id: str, given: Result, on_fate: OnFate) -> None:
        """Take a worker's result."""
        reach("result.received")
        live = self.sagas.get(saga_id)
        if live is not None:
            self.post(live, given, partial(answer_result, on_fate))
        else:
            self.look_up(saga_id, on_fate)

    def look_up(self, saga_id: str, on_fate: OnFate) -> None:
        """Find out whether a saga that does not run here is over."""
        if self.is_serving:
            self.on_stray(saga_id, on_fate)
        else:
            on_fate(NotTaken.RETRY)

    def owner_of(self, saga_id: str) -> tuple[str, str] | None:
        """Return name and address of the SEC that a saga moved to, if known."""
        return self._moved.get(saga_id)

    def note_owner(self, saga_id: str, owner: tuple[str, str]) -> None:
        """Remember where a saga is."""
        if len(self._moved) >= MOVED_KEPT:
            self._moved.pop(next(iter(self._moved)))
        self._moved[saga_id] = owner

    def control(self, live: LiveSaga, control_id: str, given: Input) -> None:
        """Take a request that another SEC accepted; taking it twice is once."""
        if control_id not in live.controls:
            live.controls |= {control_id}
            self.post(live, Controlled(control_id, given))

    def ended(self, saga_id: str, given: Rejected | Lost) -> None:
        """Take the end of an attempt without a result."""
        live = self.sagas.get(saga_id)
        if live is not None:
            self.post(live, given)

    def progressed(self, saga_id: str, node: str, kind: Kind, attempt: int, details: Payload | None) -> None:
        """Take progress of an attempt."""
        live = self.sagas.get(saga_id)
        index = None if live is None else live.state.topology.index.get(node)
        if live is not None and index is not None:
            live.progressed(index, kind, attempt, self.clock.wall(), details)

    def offer(self, saga_id: str, node: int, kind: Kind, worker_id: str) -> bool:
        """Take a reserved slot for a node."""
        live = self.sagas.get(saga_id)
        if live is None or self.commit.holds(saga_id) or (kind is Kind.ACTION and not self._is_admitted(live, node)):
            return False
        self.post(live, Offer(node, kind, worker_id))
        return True

    def is_free(self, saga_id: str, node: int) -> bool:
        """True when no limit holds an action: it is sent again to learn what is to be undone, or nobody wants it."""
        live = self.sagas.get(saga_id)
        return live is None or live.ahead.unwinds(node)

    def let_start(self, live: LiveSaga) -> None:
        """Go on with a saga that the gate held; one that is being created is gone on with when it is durable."""
        if live.claim is not None:
            live.wake_startable()
            self._enqueue(live)

    def may_begin(self, saga_id: str) -> bool:
        """True when a saga that this SEC owns does not run yet, and is not on its way to."""
        return saga_id not in self.sagas and saga_id not in self.quarantined and saga_id not in self.creating

    def is_live(self, saga_id: str) -> bool:
        """True while this SEC runs the saga."""
        return saga_id in self.sagas

    def _on_due(self, saga_id: str, node: int) -> None:
        live = self.sagas.get(saga_id)
        if live is not None and node == DEADLINE:
            self.post(live, Unwind(UnwindCause.DEADLINE, reason="the saga's deadline has passed"))
        elif live is not None:
            self.post(live, Wake(node))

    # ---- turns

    def _guarded_turn(self, live: LiveSaga) -> None:
        """Run a turn; a saga that the machine can't run is set aside, and the others go on."""
        assert live.claim is not None
        turn = live.turn(live.claim.epoch, self.now(), self.draw, self.breakpoints.points)
        try:
            self._turn(live, turn)
        except Exception as error:
            if not isinstance(error, IllegalEntry):
                log.exception("turn_failed", saga_id=live.saga_id)
            self.release(live, turn)
            self.quarantine(live.saga_id, f"{type(error).__name__} in a turn")
            self._drop(live)

    def _turn(self, live: LiveSaga, turn: Turn) -> None:
        inbox, live.inbox = live.inbox, []
        place = partial(self.place, live)
        if len(inbox) == 1 and type(inbox[0][0]) is Result and turn.advance(inbox[0][0], place):
            self.note_waits(live, turn)
            self._write(live, turn, [(on_decision, RECORDED) for _, on_decision in inbox if on_decision], ())
            return
        answers: list[Answer] = []
        consumed: list[str] = []
        taken, last = 0, len(inbox) - 1
        for i, (given, on_decision) in enumerate(inbox):
            if taken > TURN_BYTES:
                live.inbox = inbox[i:]
                break
            if isinstance(given, Offer):
                if not turn.place(given.node, given.kind, given.worker_id):
                    self.dispatcher.release(given.worker_id, live.action_key(given.node, given.kind))
                    turn.saga.woken.append(given.node)  # it may wait for a time now instead
            elif isinstance(given, Wake):
                turn.saga.woken.append(given.node)
            elif isinstance(given, Controlled):
                turn.take(given.given)
                consumed.append(given.control_id)
            else:
                decision = turn.take(given)
                if i != last:
                    taken += size_of(given)
                if on_decision is not None:
                    answers.append((on_decision, decision))
        turn.go_on(place)
        self.note_waits(live, turn)
        if turn.entries or consumed:
            self._write(live, turn, answers, tuple(consumed))
        else:
            live.state = turn.saga
            # No append has proved that the saga is still this SEC's: without the lease, another may know better.
            is_certain = not answers or self.may_send(live)
            for on_decision, decision in answers:
                on_decision(decision if is_certain else None)
            if live.inbox or live.state.woken:
                self._enqueue(live)

    def place(self, live: LiveSaga, node: int, kind: Kind) -> str | None:
        if not self.is_serving or self.commit.holds(live.saga_id):
            return None
        if kind is Kind.ACTION and not self._is_admitted(live, node):
            return None
        is_free = bool(self.dispatcher.permits.shares) and live.ahead.unwinds(node)
        return self.dispatcher.reserve(live.action_key(node, kind), is_free=is_free)

    def _is_admitted(self, live: LiveSaga, node: int) -> bool:
        return not self.admissions.shares or live.ahead.unwinds(node) or self.admissions.admits(live)

    def note_waits(self, live: LiveSaga, turn: Turn) -> None:
        for node, kind in turn.unplaced:
            is_free = live.ahead.unwinds(node)
            if is_free or not live.held_by:
                self.dispatcher.wait(live.saga_id, node, live.action_key(node, kind), is_free=is_free)
        for node, due in turn.timers:
            self.timers.add(live.saga_id, node, due)

    def _write(self, live: LiveSaga, turn: Turn, answers: Sequence[Answer], consumed: tuple[str, ...]) -> None:
        assert live.claim is not None
        writer_id = self.new_writer_id()
        batch = encode_batch(turn.entries, writer_id) if turn.entries else b""
        done = done_record(live.saga_id, live.about, turn.saga) if turn.saga.finished is not None else None
        append = Append(live.claim, live.state.seq + 1, batch, writer_id, consumed, done)
        live.is_writing = True
        if consumed and live.controls:
            answers = [*answers, (partial(live.consumed, consumed), NOTHING)]
        self.commit.submit(append, partial(self.written, live, turn, answers))

    def written(self, live: LiveSaga, turn: Turn, answers: Sequence[Answer], result: WriteResult) -> None:
        live.is_writing = False
        if live.is_gone or result.status is not Status.DONE:
            self._not_written(live, turn, answers, result)
            return
        saga = live.state = turn.saga
        if self.admissions.shares:
            self.admissions.note(live)
        if turn.crashes:
            self.die()
        if saga.needs_operator:
            self.need_operator.add(live.saga_id)
        elif self.need_operator:
            self.need_operator.discard(live.saga_id)
        reach("turn.applied")
        if turn.starts or turn.cancels:
            self._send(live, turn, result.revision)
        reach("turn.sent")
        for on_decision, decision in answers:
            on_decision(decision)
        reach("turn.answered")
        self.metrics.appended(turn.entries)
        if live.observers:
            live.notify(turn.entries)
        if saga.finished is not None:
            reach("saga.finished")
            self._drop(live)
        elif live.on_idle is not None:
            live.on_idle()
        elif live.inbox or saga.woken or not saga.remaining:
            self._enqueue(live)

    def _not_written(self, live: LiveSaga, turn: Turn, answers: Sequence[Answer], result: WriteResult) -> None:
        for on_decision, _ in answers:
            on_decision(None)
        if result.status is Status.REFUSED:
            self.quarantine(live.saga_id, f"the store refuses its append: {result.error}")
            self.release(live, turn)
            self._drop(live)
        elif live.is_gone:
            self.release(live, turn)
        else:
            self._fenced(live, turn)

    def _send(self, live: LiveSaga, turn: Turn, revision: int) -> None:
        """Send what the turn's entries have announced, now that they are durable."""
        may_send = self.may_send(live)
        for node, kind in turn.starts:
            if may_send:
                self._send_attempt(live, node, kind, revision)
            else:
                run = turn.saga.run(node, kind)
                self._held_sends.append(HeldSend(live, node, kind, run.in_flight, run.worker_id, revision))
        for cancel in turn.cancels:
            name = turn.saga.topology.nodes[cancel.node].name
            self.dispatcher.cancel(live.saga_id, name, cancel)

    def _send_attempt(self, live: LiveSaga, node: int, kind: Kind, revision: int) -> None:
        work = invocation(live.state, node, kind)
        message = encoded_invocation(live.saga_id, work, live.epoch_told, revision, live.about)
        self.dispatcher.send(live.saga_id, work, message)

    def may_send(self, live: LiveSaga | None = None) -> bool:
        """True while this SEC may start anything (of a saga): the store can't have given its sagas away."""
        until = (self.store if live is None else self.commit.part(live.saga_id)).serving_until
        return until is None or self.clock.boottime() < until

    def send_held(self) -> None:
        """Send what was held back while the lease was in doubt. Call it every second or so."""
        for saga_id in self.commit.freed():
            if saga_id in self.sagas:
                self.let_start(self.sagas[saga_id])
        held, self._held_sends = self._held_sends, []
        for send in held:
            live = send.live
            if not self.may_send(live) or (live.is_leaving and not live.is_gone):
                self._held_sends.append(send)  # it may have another owner already
            elif not live.is_gone and live.state.run(send.node, send.kind).in_flight == send.attempt:
                self._send_attempt(live, send.node, send.kind, send.revision)
            else:
                self.dispatcher.release(send.worker_id, live.action_key(send.node, send.kind))
                # It was given up for lack of an answer, and certainly never ran.
                name = live.state.topology.nodes[send.node].name
                self.ended(live.saga_id, Rejected(name, send.kind, send.attempt))

    # ---- losing

    def release(self, live: LiveSaga, turn: Turn) -> None:
        for node, kind in turn.starts:
            self.dispatcher.release(turn.saga.run(node, kind).worker_id, live.action_key(node, kind))

    def _fenced(self, live: LiveSaga, turn: Turn) -> None:
        log.warning("fenced", saga_id=live.saga_id, epoch=live.claim.epoch if live.claim else 0)
        self.metrics.fenced += 1
        self.release(live, turn)
        self._drop(live)
        self.dispatcher.forget(live.saga_id)
        self.incarnation_lost.set()

    def _drop(self, live: LiveSaga) -> None:
        """Run a saga no longer, and tell everybody who waits for something of it."""
        live.is_gone = True
        if self.sagas.get(live.saga_id) is live:
            del self.sagas[live.saga_id]
        self.need_operator.discard(live.saga_id)
        self.admissions.gone(live)
        inbox, live.inbox = live.inbox, []
        for given, on_decision in inbox:
            if isinstance(given, Offer):
                self.dispatcher.release(given.worker_id, live.action_key(given.node, given.kind))
            if on_decision is not None:
                on_decision(None)
        if live.on_idle is not None:
            live.on_idle()
        if live.observers or live.followers:
            live.tell_gone()

    # ---- handing off

    async def hold(self, live: LiveSaga) -> bool:
        """Let a saga take no more turns, and wait until nothing of it is being written.

        Returns:
            False: it is gone, or held by somebody else.
        """
        if live.is_leaving:
            return False
        live.is_leaving = True
        if live.is_writing:
            idle = asyncio.Event()
            live.on_idle = idle.set
            await idle.wait()
            live.on_idle = None
        return not live.is_gone

    def stay(self, live: LiveSaga) -> None:
        """Let a held saga go on here after all."""
        live.is_leaving = False
        if not live.is_gone:
            self._enqueue(live)

    def lose(self, live: LiveSaga) -> None:
        """Stop running a saga that this SEC may not own any more; the sweep looks at it again."""
        self.metrics.fenced += 1
        self._drop(live)
        self.dispatcher.forget(live.saga_id)

    def leave(self, live: LiveSaga, owner: tuple[str, str]) -> None:
        """Give up a held saga that another SEC owns now, and tell its workers."""
        self.note_owner(live.saga_id, owner)
        self.dispatcher.move(live.saga_id, owner, live.epoch_told + 1)
        self.metrics.handed_off += 1
        self._drop(live)

    def quarantine(self, saga_id: str, reason: str) -> None:
        """Set a saga aside; it stays owned, and nothing of it runs."""
        log.error("saga_quarantined", saga_id=saga_id, reason=reason)
        self.quarantined[saga_id] = reason
        self.metrics.quarantined += 1

    def forget_all(self) -> None:
        """Drop every saga: this incarnation is dead. What is durable stays, and will be adopted."""
        self.is_between_lives = True
        for live in list(self.sagas.values()):
            self._drop(live)
        self.admissions.forget_all()
        self.quarantined.clear()
        self.timers.clear()
        self._held_sends.clear()
        self.commit.abandon()
        self.dispatcher.clear_sagas()
        self.incarnation_lost.clear()

    def begin(self, live: LiveSaga) -> None:
        """Let a saga run here, before anything of it is sent."""
        self.sagas[live.saga_id] = live
        if self.on_begin is not None:
            self.on_begin(live)
