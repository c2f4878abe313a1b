"""All worker sessions of this SEC, and the nodes that wait for one.

Routing is by action, version and side. A node with no worker to run it waits
in the queue of its action, first come first served; whenever a window opens,
queues are served, undo actions first. There is this one queue for first
attempts, retries and recovered sagas alike.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from functools import partial

from sagaline.v1 import saga_pb2, worker_service_pb2
from sagaline_server.core import limits
from sagaline_server.core.decide import Cancel, Lost, Rejected, Result, ResultFate
from sagaline_server.core.entries import Kind
from sagaline_server.core.invocation import Invocation
from sagaline_server.core.values import Disposition, Failure, FailureSource
from sagaline_server.dispatch.limited import Expected, LimitedPlacing
from sagaline_server.dispatch.session import ActionKey, AttemptKey, Session
from sagaline_server.ports.clock import Clock
from sagaline_server.ports.sagas import NotTaken, SagaInputs

SURELY_SMALL_BYTES = 64 * 1024
"""An invocation up to here need not be looked at twice."""
FRAME_RESERVE_BYTES = 2 * 1024
"""What a frame has beside its invocations at least."""
GRACE_SECONDS = 20.0
"""How long attempts stay with a worker whose stream has ended: longer than a SEC's lease, so that the death
of a SEC does not lose its workers' attempts too."""


_KINDS = {int(kind): kind for kind in Kind}
_STATES = frozenset(worker_service_pb2.InFlightState.values()) - {worker_service_pb2.IN_FLIGHT_STATE_UNSPECIFIED}


class Dispatcher(LimitedPlacing):
    """Worker sessions and waiting nodes."""

    def __init__(self, clock: Clock, draw: Callable[[], float], grace: float = GRACE_SECONDS) -> None:
        """Make a dispatcher without sessions.

        Args:
            clock: For grace times.
            draw: Gives random numbers in [0, 1), for the choice among workers.
            grace: Seconds.
        """
        super().__init__(clock)
        self._clock = clock
        self._draw = draw
        self.grace = grace
        self._by_action: dict[ActionKey, list[Session]] = {}
        self._grace_ends: dict[str, float] = {}
        """When the attempts of a worker without a stream count as lost, by worker."""
        self._sagas: SagaInputs | None = None

    def deliver_to(self, sagas: SagaInputs) -> None:
        """Say where results go. Once, before the first session."""
        self._sagas = sagas

    @property
    def sagas(self) -> SagaInputs:
        """Where results go."""
        assert self._sagas is not None, "deliver_to comes first"
        return self._sagas

    # ---- placing

    def reserve(self, action: ActionKey, *, is_free: bool = False) -> str | None:
        """Reserve a slot for an action; returns the worker, None when none has room or others wait already.

        Args:
            action: Which one, and which side of it.
            is_free: No limit holds it, nor what a limit holds.
        """
        is_limited = bool(self.permits.shares) and self.permits.limits(action)
        if self._waiting and self._waiting.get(action) and not (is_limited and is_free):
            return None
        if is_limited and not is_free and (action[0] in self.permits.blocked or not self.permits.lets(action)):
            return None
        session = self._choose(action)
        if session is None:
            return None
        session.reserve(action)
        if is_limited:
            self.permits.take(action)
        return session.worker_id

    def release(self, worker_id: str, action: ActionKey) -> None:
        """Give back a slot that was reserved and not used."""
        session = self.sessions.get(worker_id)
        if session is not None:
            session.release(action)
            self.pump(session)

    def wait(self, saga_id: str, node: int, action: ActionKey, *, is_free: bool = False) -> None:
        """Queue a node for a worker. Queueing it twice is once; one that no limit holds comes first."""
        key = (saga_id, node, action[2])
        is_limited = bool(self.permits.shares) and self.permits.limits(action)
        if key not in self._is_waiting:
            self._is_waiting.add(key)
            queue = self._waiting.setdefault(action, deque())
            if is_free and is_limited:
                queue.appendleft((saga_id, node))
            else:
                queue.append((saga_id, node))
        elif is_free and is_limited:
            self._waiting[action].remove((saga_id, node))
            self._waiting[action].appendleft((saga_id, node))
        if is_limited and not self.permits.lets(action):
            self.permits.block(action)
            self._look_later()

    def look_again(self, action: ActionKey) -> None:
        """Offer what waits the slots that are free, for some may have come free before it could wait for them."""
        session = self._choose(action)
        if session is not None:
            self.pump(session)

    def _choose(self, action: ActionKey) -> Session | None:
        """Return the less loaded of two random workers; any with room if neither has."""
        sessions = self._by_action.get(action)
        if not sessions:
            return None
        count = len(sessions)
        if count == 1:
            return sessions[0] if sessions[0].has_room(action) else None
        first, second = sessions[int(self._draw() * count)], sessions[int(self._draw() * count)]
        if second.has_room(action) and (not first.has_room(action) or second.load(action) < first.load(action)):
            first = second
        if first.has_room(action):
            return first
        return next((session for session in sessions if session.has_room(action)), None)

    def pump_all(self) -> None:
        """Offer every free slot: a time is over in which none were taken."""
        for session in list(self.attached_sessions()):
            self.pump(session)

    def pump(self, session: Session) -> None:
        """Offer the free slots of a worker to the nodes that wait for it."""
        if self._pumping or not self._is_waiting:
            return
        self._pumping = True
        try:
            for kind in (Kind.UNDO, Kind.ACTION):
                for action in session.served:
                    if action[2] is kind:
                        self._pump_action(session, action)
            if self.permits.blocked:
                self._pump_blocked()
        finally:
            self._pumping = False

    def _pump_action(self, session: Session, action: ActionKey) -> None:
        queue = self._waiting.get(action)
        is_limited = bool(self.permits.shares) and self.permits.limits(action)
        while queue and session.has_room(action):
            if is_limited and not self.sagas.is_free(*queue[0]) and not self.permits.lets(action):
                self.permits.block(action)
                break
            saga_id, node = queue.popleft()
            self._is_waiting.discard((saga_id, node, action[2]))
            session.reserve(action)
            if not self.sagas.offer(saga_id, node, action[2], session.worker_id):
                session.release(action)
            elif is_limited:
                self.permits.take(action)
        if queue is not None and not queue:
            self._waiting.pop(action, None)

    # ---- sending

    def send(self, saga_id: str, invocation: Invocation, encoded: bytes) -> None:
        """Send an encoded invocation whose start is durable to the worker that the log names."""
        action = (invocation.action, invocation.version, invocation.kind)
        session = self.sessions.get(invocation.worker_id)
        too_large = _too_large(invocation.kind, len(encoded)) if len(encoded) > SURELY_SMALL_BYTES else None
        if session is not None and session.attached and not session.draining and too_large is None:
            session.send((saga_id, invocation.node, invocation.kind, invocation.attempt), action, encoded)
            return
        # What is not sent certainly never runs.
        self.release(invocation.worker_id, action)
        if too_large is not None:
            given = Result(invocation.node, invocation.kind, invocation.attempt, failure=too_large)
            self.sagas.result(saga_id, given, _nobody_waits)
        else:
            # The worker has gone, or has been told that nothing more will come.
            self.sagas.ended(saga_id, Rejected(invocation.node, invocation.kind, invocation.attempt))

    def cancel(self, saga_id: str, node: str, cancel: Cancel) -> None:
        """Send a worker the wish to stop an attempt."""
        session = self.sessions.get(cancel.worker_id)
        if session is not None and (saga_id, node, cancel.kind, cancel.attempt) in session.in_flight:
            session.cancel(
                worker_service_pb2.Cancellation(
                    ref=ref_message((saga_id, node, cancel.kind, cancel.attempt)),
                    reason=worker_service_pb2.CancellationReason.ValueType(cancel.reason),
                )
            )

    # ---- sessions

    def connect(
        self, hello: worker_service_pb2.Hello, wake: Callable[[], None], connect_time: float
    ) -> tuple[Session, Session | None]:
        """Begin a stream of a worker; returns its session, and the same again if it replaced an older stream.

        The caller has checked the hello, and lets `reconcile` and `pump` follow.
        """
        session = self.sessions.get(hello.worker_id)
        replaced = session if session is not None and session.attached else None
        if session is None:
            session = self.sessions[hello.worker_id] = Session(hello, connect_time)
        else:
            self._unroute(session)
        session.attach(hello, wake)
        self._grace_ends.pop(hello.worker_id, None)
        for action in session.served:
            self._by_action.setdefault(action, []).append(session)
        return session, replaced

    def reconcile(self, session: Session) -> None:
        """Take what a hello says to be with the worker.

        What was sent from here and is not listed is certainly not running there: the worker reads no older stream
        any more. What was taken over it may hold for the SEC that sent it, so it is asked for that by name.
        """
        session.question = dict.fromkeys(session.in_flight)
        self.report(session, session.hello.in_flight)
        for key, expected in self._expected.get(session.worker_id, {}).items():
            session.say(_adoption(key, expected.epoch))

    def disconnect(self, session: Session) -> None:
        """End the stream of a worker; its attempts stay with it for the grace time."""
        session.detach()
        self._unroute(session)
        if session.draining and not session.in_flight and not self._expected.get(session.worker_id):
            self._forget(session)
        else:
            self._grace_ends[session.worker_id] = self._clock.boottime() + self.grace

    def drain(self, session: Session) -> None:
        """Send a worker nothing more, and tell it so."""
        session.draining = True
        session.say(worker_service_pb2.ConnectResponse(drained=True))

    def _unroute(self, session: Session) -> None:
        for action in session.served:
            routed = self._by_action.get(action)
            if routed and session in routed:
                routed.remove(session)
                if not routed:
                    del self._by_action[action]

    def _forget(self, session: Session) -> None:
        self._unroute(session)
        self.sessions.pop(session.worker_id, None)
        self._grace_ends.pop(session.worker_id, None)

    def end_graces(self) -> None:
        """Count as lost the attempts of workers that have stayed away too long. Call it every second or so."""
        now = self._clock.boottime()
        for worker_id in [worker_id for worker_id, end in self._grace_ends.items() if end <= now]:
            del self._grace_ends[worker_id]
            session = self.sessions.get(worker_id)
            keys = list(self._expected.pop(worker_id, {}))
            if session is not None:
                keys += list(session.in_flight)
                for key in list(session.in_flight):
                    session.finish(key)
                self._forget(session)
            for key in keys:
                self._lose(key, f"its worker has been away for {self.grace:g} s")

    def _lose(self, key: AttemptKey, message: str, *, uncounted: bool = False) -> None:
        self.sagas.ended(key[0], Lost(key[1], key[2], key[3], message, uncounted))

    def expect(self, worker_id: str, key: AttemptKey, action: ActionKey, epoch: int) -> None:
        """Note an attempt of a recovered saga: its worker has the grace time to say that it holds it."""
        self._expected.setdefault(worker_id, {})[key] = Expected(action, epoch)
        session = self.sessions.get(worker_id)
        if session is not None and session.attached:
            session.say(_adoption(key, epoch))
        if session is None or not session.attached:
            self._grace_ends.setdefault(worker_id, self._clock.boottime() + self.grace)

    def report(self, session: Session, report: worker_service_pb2.InFlightReport) -> None:
        """Take what a worker says that it holds: all of it, a part, or the answer to an adoption.

        Raises:
            ValueError: It makes no sense.
        """
        expected = self._expected.get(session.worker_id, {})
        for entry in report.entries:
            key = ref_key(entry.ref)
            is_held = _is_held(entry)
            taken_over = expected.pop(key, None)
            attempt = session.in_flight.get(key)
            if session.question is not None:
                session.question.pop(key, None)
            if not is_held:
                if taken_over is not None or session.finish(key) is not None:
                    self._lose(key, "its worker does not hold it", uncounted=True)
            elif taken_over is not None:
                session.adopt(key, taken_over.action)
            elif attempt is not None:
                attempt.received = True
            elif not self.sagas.is_live(key[0]):
                self.sagas.look_up(key[0], partial(_stop_if_over, session, key))
        if report.complete and session.question is not None:
            question, session.question = session.question, None
            for key in question:
                self._unnamed(session, key)
        if not expected:
            self._expected.pop(session.worker_id, None)

    def _unnamed(self, session: Session, key: AttemptKey) -> None:
        """End an attempt that the worker was asked about and did not name."""
        attempt = session.in_flight.get(key)
        if attempt is None:
            return
        session.finish(key)
        if attempt.received:
            self._lose(key, "its worker does not hold it", uncounted=True)
        else:
            # Its frame was of an earlier stream, and was never read.
            self.sagas.ended(key[0], Rejected(key[1], key[2], key[3]))

    def answered(self, session: Session, key: AttemptKey) -> ActionKey | None:
        """Note that an attempt is with its worker no longer, whatever that still says it holds.

        Returns:
            Its action; None if it was not with the worker, as far as this SEC knew.
        """
        action = session.finish(key)
        if not self._expected:
            return action
        expected = self._expected.get(session.worker_id, {}).pop(key, None)
        return action if expected is None else expected.action

    def move(self, saga_id: str, owner: tuple[str, str], epoch: int) -> None:
        """Tell the workers that hold attempts of a saga who owns it now; this SEC has nothing more with them."""
        sec = worker_service_pb2.Sec(sec_id=owner[0], address=owner[1])
        self._forget_attempts(saga_id, worker_service_pb2.SagaMoved(saga_id=saga_id, owner=sec, epoch=epoch))

    def forget(self, saga_id: str) -> None:
        """Forget the attempts of a saga that another SEC owns now, nobody knows which: it asks the workers itself."""
        self._forget_attempts(saga_id, None)

    def _forget_attempts(self, saga_id: str, moved: worker_service_pb2.SagaMoved | None) -> None:
        for session in list(self.sessions.values()):
            keys = [key for key in session.in_flight if key[0] == saga_id]
            for key in keys:
                session.finish(key)
            if keys and moved is not None:
                session.say(worker_service_pb2.ConnectResponse(saga_moves=[moved]))
            if keys:
                self.pump(session)
        for expected in self._expected.values():
            for key in [key for key in expected if key[0] == saga_id]:
                del expected[key]

    def clear_sagas(self) -> None:
        """Forget what belongs to sagas: this SEC no longer owns any. Sessions stay."""
        self._waiting.clear()
        self._is_waiting.clear()
        self._expected.clear()
        self._forget_blocked()
        for session in self.sessions.values():
            session.forget_work()

    # ---- telling

    def why(self, action: ActionKey) -> tuple[bool, bool, str]:
        """Say why an action waits: whether anybody serves it at all, whether at this version and side, and a text."""
        if self._by_action.get(action):
            return True, True, "every worker that serves it is full"
        others = {f"{version} {kind.name.lower()}" for name, version, kind in self._by_action if name == action[0]}
        wanted = f"version {action[1]} {action[2].name.lower()} of action {action[0]}"
        if others:
            return True, False, f"no worker serves {wanted}; served: {', '.join(sorted(others))}"
        return False, False, f"no worker serves action {action[0]}"

    def tell_demand(self, session: Session) -> None:
        """Tell a worker how much waits that it could serve, if that has changed. Call it every second or so."""
        demand: dict[str, int] = {}
        for action, served in session.served.items():
            demand[served.pool] = demand.get(served.pool, 0) + len(self._waiting.get(action, ()))
        if demand != session.demand and (session.demand or any(demand.values())):
            session.demand = demand
            part = worker_service_pb2.ConnectResponse()
            for pool, count in demand.items():
                part.demands.add(slot_pool=pool, ready_count=count)
            session.say(part)

    def waiting_count(self) -> int:
        """Return the number of nodes that wait for a worker."""
        return len(self._is_waiting)

    def attached_sessions(self) -> Iterator[Session]:
        """Yield the sessions that have a stream."""
        return (session for session in self.sessions.values() if session.attached)


def ref_key(ref: worker_service_pb2.InvocationRef) -> AttemptKey:
    """Return the key of a reference.

    Raises:
        ValueError: Its kind is not set or unknown.
    """
    kind = _KINDS.get(ref.kind)
    if kind is None:
        raise ValueError("ref.kind is ACTION or UNDO")
    return (ref.saga_id, ref.node, kind, ref.attempt)


def ref_message(key: AttemptKey) -> worker_service_pb2.InvocationRef:
    """Return the reference of a key."""
    saga_id, node, kind, attempt = key
    return worker_service_pb2.InvocationRef(
        saga_id=saga_id, node=node, kind=saga_pb2.InvocationKind.ValueType(kind), attempt=attempt
    )


def _adoption(key: AttemptKey, epoch: int) -> worker_service_pb2.ConnectResponse:
    adoption = worker_service_pb2.Adoption(saga_id=key[0], epoch=epoch, refs=[ref_message(key)])
    return worker_service_pb2.ConnectResponse(adoptions=[adoption])


def check_report(report: worker_service_pb2.InFlightReport) -> None:
    """Check a report that is to be taken later.

    Raises:
        ValueError: It makes no sense.
    """
    for entry in report.entries:
        ref_key(entry.ref)
        _is_held(entry)


def _is_held(entry: worker_service_pb2.InFlightEntry) -> bool:
    if entry.state not in _STATES:
        raise ValueError("in_flight: the state of an attempt is one of those that the protocol names")
    return entry.state != worker_service_pb2.IN_FLIGHT_STATE_NOT_HELD


def _stop_if_over(session: Session, key: AttemptKey, fate: ResultFate | NotTaken) -> None:
    """Tell a worker to stop an attempt whose saga is over; of one that another SEC may run this one has no say."""
    if fate is NotTaken.NOT_FOUND:
        reason = worker_service_pb2.CANCELLATION_REASON_NOT_FOUND
        session.cancel(worker_service_pb2.Cancellation(ref=ref_message(key), reason=reason))


def _too_large(kind: Kind, size: int) -> Failure | None:
    """Return why an invocation can't be sent; it would break its worker's stream, and after every retry again."""
    limit = limits.INVOCATION_BYTES if kind is Kind.ACTION else limits.FRAME_BYTES - FRAME_RESERVE_BYTES
    if size <= limit:
        return None
    message = f"its inputs and what goes with them have {size} bytes; at most {limit} are allowed"
    return Failure("sagaline.InvocationTooLarge", message, Disposition.FAIL, FailureSource.SEC)


def _nobody_waits(_fate: ResultFate | NotTaken) -> None:
    """Take the fate of a result that no worker holds."""
