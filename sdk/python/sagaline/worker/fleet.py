"""All sessions of this worker: which addresses are dialled, and when; what the shell talks to.

The worker knows a few addresses from its user, the *bootstrap* addresses. One of them is dialled, the next when that
fails, and so on; whichever SEC answers tells who the SECs are, and then each is dialled at its own address. From there
on the bootstrap addresses are a fall-back, for when there is no stream at all.

Two streams to one SEC at the same time must not be: the SEC would take what the second hello says to be held for the
whole truth, while the first stream still brought invocations. A SEC's own address leads to that SEC, and one that is
connected, wherever, is not dialled. But who answers at a bootstrap address is not known before, since it may be
that of a load balancer. So it is dialled only while no other stream is open or on its way, and until it is welcomed
no other is begun.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from sagaline.v1 import worker_service_pb2 as pb
from sagaline.worker.effects import Call, Closed, Connect, Effect, Members, Reconnect, Welcomed
from sagaline.worker.holdings import Holdings
from sagaline.worker.membership import Membership
from sagaline.worker.session import Session, SessionState

IDLE = SessionState.IDLE
SEVERAL_SECS = pb.WORKER_CAPABILITY_SEVERAL_SECS


class Fleet:
    """Fed by the shell with what happens on every stream; its effects say what to do."""

    def __init__(self, hello: pb.Hello, holdings: Holdings, bootstrap: Sequence[str]) -> None:
        """Make a fleet that has dialled nothing yet.

        Args:
            hello: What every session says of the worker.
            holdings: What all sessions share.
            bootstrap: Addresses to begin with, at least one.
        """
        self.holdings = holdings
        self.sessions: dict[str, Session] = {}
        """By address."""
        self.error: str | None = None
        """Why the worker can't go on, though nobody asked it to leave."""
        self._hello = pb.Hello()
        self._hello.CopyFrom(hello)
        if SEVERAL_SECS not in hello.capabilities:
            self._hello.capabilities.append(SEVERAL_SECS)
        self._bootstrap = list(dict.fromkeys(bootstrap))
        self._members = Membership()
        self._retries: dict[str, Reconnect] = {}
        self._ordered: set[str] = set()
        """Addresses that the shell was told to dial, and has not yet."""
        self._favourite: str | None = None
        """The address at which a SEC answered last."""
        self._plan_at: float | None = None
        holdings.results.routes.linked = self.sessions

    # ---- events

    def start(self, now: float) -> list[Effect]:
        """Begin to dial."""
        return self._settle([], now, plan=True)

    def opened(self, session: Session, now: float) -> list[Effect]:
        """The shell has a stream for a session, and will pull its first frame."""
        self._ordered.discard(session.address)
        return self._settle(session.opened(now), now)

    def received(self, session: Session, frame: pb.ConnectResponse, now: float) -> list[Effect]:
        """A frame has come."""
        return self._settle(session.received(frame, now), now)

    def written(self, session: Session, now: float) -> list[Effect]:
        """The frame pulled last is written."""
        return self._settle(session.written(now), now)

    def ended(self, session: Session, now: float, why: str, draw: float) -> list[Effect]:
        """A stream is over; `draw` is random, from 0 to 1."""
        return self._settle(session.ended(now, why, draw), now, plan=True)

    def called(self, address: str, acks: list[pb.ResultAck] | None, now: float) -> list[Effect]:
        """A call of ReportResults has ended; None: without an answer."""
        self.holdings.called(address, acks, now)
        return self.changed(now)

    def changed(self, now: float) -> list[Effect]:
        """The shell told the holdings something: ends of user code, or progress."""
        return self._settle(self.holdings.effects.take(), now)

    def drain(self, now: float, timeout: float) -> list[Effect]:
        """Begin to leave, or leave sooner than was said before."""
        self.holdings.drain(now, timeout)
        return self.tick(now)

    def tick(self, now: float, lag: float = 0.0) -> list[Effect]:
        """Time has passed; `lag` is as for `Session.tick`."""
        self.holdings.tick(now)
        effects = self.holdings.effects.take()
        for session in list(self.sessions.values()):
            effects += session.tick(now, lag)
        return self._settle(effects, now, plan=True)

    def next_deadline(self) -> float | None:
        """When `tick` has something to do. Who has left has nothing to do any more, whatever is left behind."""
        if self.is_closed:
            return None
        deadline, other = self.holdings.next_deadline(), self._plan_at
        if deadline is None or (other is not None and other < deadline):
            deadline = other
        for session in self.sessions.values():
            other = session.next_deadline()
            if deadline is None or (other is not None and other < deadline):
                deadline = other
        return deadline

    @property
    def is_connected(self) -> bool:
        """Whether a session is open at this moment. Good from any thread."""
        return any(session.state is SessionState.OPEN for session in list(self.sessions.values()))

    @property
    def is_closed(self) -> bool:
        """Whether the worker has left."""
        return self.holdings.draining and not self.sessions

    # ---- inside

    def _settle(self, effects: list[Effect], now: float, *, plan: bool = False) -> list[Effect]:
        """Take out what is for the fleet, and add what follows from it."""
        for effect in effects:
            if type(effect) in OWN:
                plan = True
        if plan or self.holdings.draining:
            effects = self._follow(effects, now)
        if self.holdings.results.calls and not self.is_closed:
            worker_id = self._hello.worker_id
            effects += [
                Call(address, pb.ReportResultsRequest(results=results, worker_id=worker_id))
                for address, results in self.holdings.results.take_calls()
            ]
        return effects

    def _follow(self, effects: list[Effect], now: float) -> list[Effect]:
        passed_on: list[Effect] = []
        while True:
            passed_on += [effect for effect in effects if self._pass_on(effect, now)]
            for session in list(self.sessions.values()):
                session.conclude(now)
            self._plan(now)
            effects = self.holdings.effects.take()
            if not effects:
                return passed_on

    def _pass_on(self, effect: Effect, now: float) -> bool:
        """Whether an effect is for the shell; the fleet heeds its own."""
        match effect:
            case Reconnect():
                self._retries[effect.address] = effect
                return False
            case Members():
                self._take_members(effect)
                return False
            case Welcomed():
                self._welcomed(effect)
            case Closed():
                self._forget(effect, now)
        return True

    def _welcomed(self, effect: Welcomed) -> None:
        self._favourite = effect.address
        others = [session for session in self.sessions.values() if session.address != effect.address]
        if not any(session.state is SessionState.OPEN for session in others):
            self._members.forget_revision()
        for other in others:
            if other.sec == effect.sec_id and other.state is SessionState.OPEN:
                # Two addresses lead to one SEC, and it has ended the older stream by now.
                self.holdings.effects.note(
                    logging.WARNING, "two addresses of one SEC", sec=other.sec, one=other.address, two=effect.address
                )
                other.give_up_stream("replaced by another stream of this worker")

    def _take_members(self, effect: Members) -> None:
        if self._members.take(effect.secs):
            self.holdings.members(effect.secs.secs)
            named = ", ".join(f"{sec} at {address}" for sec, address in self._members.addresses.items())
            self.holdings.effects.note(logging.INFO, "membership", revision=effect.secs.revision, secs=named)

    def _forget(self, closed: Closed, now: float) -> None:
        self.sessions.pop(closed.address, None)
        self._retries.pop(closed.address, None)
        self._ordered.discard(closed.address)
        if closed.error is not None and self.error is None:
            self.error = closed.error
            self.holdings.drain(now, 0.0)
            for session in list(self.sessions.values()):
                session.conclude(now)

    # ---- dialling

    def _plan(self, now: float) -> None:
        """Dial what is due and may be dialled; let go of addresses that are good for nothing any more."""
        self._plan_at = None
        if self.holdings.given_up or self.error is not None:
            return
        if self.holdings.draining and not self.holdings.busy:
            self._dial_for_rejections(now)
            self._plan_again(now)
            return
        wanted = self._members.addresses
        self._close_unwanted(set(wanted.values()))
        busy = [session for session in self.sessions.values() if self._is_busy(session)]
        if any(session.state in (IDLE, SessionState.GREETING) and not session.sec for session in busy):
            return  # nobody knows who will answer there
        if not busy and self._is_favourite_alone() and self._dial_if_due(self._favourite or "", "", now):
            return
        taken = {session.sec for session in busy}
        for sec, address in wanted.items():
            if sec not in taken and self._dial_if_due(address, sec, now):
                taken.add(sec)
        if not busy and not self._ordered:
            self._dial_bootstrap(now)
        self._plan_again(now)

    def _dial_for_rejections(self, now: float) -> None:
        """While leaving, with nothing held any more: the sessions that are left owe a rejection."""
        for address, session in list(self.sessions.items()):
            alone = not any(self._is_busy(other) for other in self.sessions.values())
            if alone or address in self._members.addresses.values():
                self._dial_if_due(address, session.sec, now)

    def _is_busy(self, session: Session) -> bool:
        return session.state is not IDLE or session.address in self._ordered

    def _is_favourite_alone(self) -> bool:
        """Whether the bootstrap address that worked until now is to be tried again before anything else."""
        favourite = self._favourite
        if favourite not in self._bootstrap or favourite in self._members.addresses.values():
            return False
        retry = self._retries.get(favourite)
        return retry is None or retry.failures == 0

    def _dial_if_due(self, address: str, sec: str, now: float) -> bool:
        retry = self._retries.get(address)
        session = self.sessions.get(address)
        if (retry is not None and retry.at > now) or (session is not None and self._is_busy(session)):
            return False
        if session is None:
            session = self.sessions[address] = Session(address, self._hello, self.holdings)
        session.sec = sec
        self._ordered.add(address)
        self.holdings.effects.add(Connect(address, fresh_channel=retry is not None and retry.fresh_channel))
        return True

    def _dial_bootstrap(self, now: float) -> None:
        for _ in self._bootstrap:
            address = self._bootstrap.pop(0)
            self._bootstrap.append(address)
            if address not in self._members.addresses.values() and self._dial_if_due(address, "", now):
                return

    def _close_unwanted(self, wanted: set[str]) -> None:
        for address, session in list(self.sessions.items()):
            if address not in wanted and address not in self._bootstrap and not self._is_busy(session):
                session.close()

    def _plan_again(self, now: float) -> None:
        """When the next address is due. What is due and may not be dialled waits for an event, not for a time."""
        times = [
            retry.at
            for address, retry in self._retries.items()
            if retry.at > now and address in self.sessions and not self._is_busy(self.sessions[address])
        ]
        self._plan_at = min(times, default=None)


OWN = frozenset({Reconnect, Members, Welcomed, Closed})
"""Effects that the fleet heeds."""
