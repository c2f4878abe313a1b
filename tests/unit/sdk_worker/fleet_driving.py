"""Drives a worker's whole machine in tests: several SECs made of frames, and a clock that only tests move."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sagaline.v1 import worker_service_pb2 as pb
from sagaline.worker.attempts import Ref
from sagaline.worker.effects import Call, Closed, Connect, Effect, EndStream, Note, Start, Stop
from sagaline.worker.fleet import Fleet
from sagaline.worker.holdings import Holdings
from sagaline.worker.results import Outcome
from sagaline.worker.session import Session, SessionState
from tests.unit.sdk_worker.driving import DONE, SERVED, of_type

SECS = ("a", "b", "c")


def address_of(sec: str) -> str:
    return f"{sec}:7070"


def sec_set(*secs: str, revision: int = 1, assigned: Sequence[str] = ()) -> pb.SecSet:
    return pb.SecSet(
        revision=revision,
        secs=[pb.Sec(sec_id=sec, address=address_of(sec)) for sec in secs],
        assigned_sec_ids=assigned,
    )


def sec_named(sec: str, address: str | None = None) -> pb.Sec:
    return pb.Sec(sec_id=sec, address=address or address_of(sec))


class Peer:
    """The SEC's half of one stream."""

    def __init__(self, driver: FleetDriver, session: Session) -> None:
        self.session = session
        self.frames: list[pb.ConnectRequest] = []
        self._driver = driver
        self._sequence = 0

    def send(self, **fields: object) -> list[Effect]:
        """Say something; what the worker has to say to anybody is then heard."""
        self._sequence += 1
        frame = pb.ConnectResponse(sequence=self._sequence, **fields)  # type: ignore[arg-type]
        return self._driver.keep(self._driver.fleet.received(self.session, frame, self._driver.now))

    def welcome(self, sec: str, **fields: object) -> list[Effect]:
        """Welcome the worker."""
        fields.setdefault("protocol_version", 1)
        return self.send(welcome=pb.Welcome(sec_id=sec, **fields))  # type: ignore[arg-type]

    def invoke(self, *invocations: pb.Invocation) -> list[Effect]:
        """Send work."""
        return self.send(invocations=invocations)

    @property
    def hello(self) -> pb.Hello:
        """What the worker said of itself."""
        return self.frames[0].hello

    def results(self) -> list[Ref]:
        """All that was told here."""
        return [Ref.of(result.ref) for frame in self.frames for result in frame.results]

    def rejections(self) -> list[tuple[Ref, int]]:
        return [(Ref.of(item.ref), item.reason) for frame in self.frames for item in frame.rejections]

    def reported(self) -> dict[Ref, int]:
        """The states that were told in answer to questions, the last of each."""
        return {Ref.of(entry.ref): entry.state for frame in self.frames for entry in frame.in_flight.entries}

    def window(self) -> int | None:
        """What this SEC may have outstanding, as far as it has been told."""
        said = [frame.hello.capacity if frame.HasField("hello") else frame.capacity for frame in self.frames]
        limits = [capacity.max_in_flight_by_pool[""] for capacity in said if capacity.max_in_flight_by_pool]
        return limits[-1] if limits else None


class FleetDriver:
    """One worker's machine, and the SECs' halves of its streams."""

    def __init__(
        self,
        *bootstrap: str,
        slots: int | Mapping[str, int] = 6,
        served: Mapping[tuple[str, str, int], str] | None = None,
    ) -> None:
        self.now = 1000.0
        self.holdings = Holdings(served or SERVED, {"": slots} if isinstance(slots, int) else slots)
        hello = pb.Hello(protocol_version=1, worker_id="w1")
        self.fleet = Fleet(hello, self.holdings, bootstrap or ("boot:7070",))
        self.effects: list[Effect] = []
        self.started: list[Ref] = []
        self.ordered: list[str] = []
        """Addresses that the worker wants dialled and that no test has dialled yet."""
        self.peers: dict[str, Peer] = {}
        self.keep(self.fleet.start(self.now))

    # ---- streams

    def dial(self, address: str) -> Peer:
        """Do as the worker ordered: open a stream and hear its hello."""
        self.ordered.remove(address)
        session = self.fleet.sessions[address]
        peer = self.peers[address] = Peer(self, session)
        self.keep(self.fleet.opened(session, self.now))
        assert peer.frames[0].HasField("hello")
        return peer

    def connect(self, address: str, sec: str, secs: pb.SecSet | None = None) -> Peer:
        """Dial, and let a SEC welcome the worker."""
        peer = self.dial(address)
        fields = {} if secs is None else {"secs": secs}
        peer.welcome(sec, **fields)
        return peer

    def connect_all(self, *secs: str) -> list[Peer]:
        """Streams to these SECs; the first is reached at the bootstrap address, which is its own."""
        first, *others = secs
        peers = [self.connect(self.ordered[0], first, sec_set(*secs))]
        return peers + [self.connect(address_of(sec), sec) for sec in others]

    def break_stream(self, peer: Peer, draw: float = 0.5) -> list[Effect]:
        """A stream is over."""
        del self.peers[peer.session.address]
        return self.keep(self.fleet.ended(peer.session, self.now, "broken", draw))

    def fail(self, address: str, draw: float = 0.5) -> list[Effect]:
        """Nobody answers where the worker dials."""
        return self.break_stream(self.dial(address), draw)

    # ---- user code and time

    def finish(self, of: Ref, outcome: Outcome = DONE) -> None:
        """User code of an attempt ends."""
        self.holdings.finished(of, outcome, self.now)
        self.keep(self.fleet.changed(self.now))

    def drain(self, timeout: float = 30.0) -> list[Effect]:
        """The worker is told to leave."""
        return self.keep(self.fleet.drain(self.now, timeout))

    def pass_time(self, span: float) -> list[Effect]:
        """Let time pass, with a tick whenever one is asked for and at the end; everybody's heart beats meanwhile."""
        until, effects = self.now + span, list[Effect]()
        while self.now < until:
            due = self.fleet.next_deadline()
            self.now = until if due is None or due > until else max(due, self.now)
            effects += self.keep(self.fleet.tick(self.now))
        return effects

    def called(self, call: Call, *acks: pb.ResultAck, fails: bool = False) -> list[Effect]:
        """A call ends."""
        return self.keep(self.fleet.called(call.address, None if fails else list(acks), self.now))

    def keep(self, effects: list[Effect]) -> list[Effect]:
        """Take effects in, and write all frames that there are to write, as the shell does."""
        self.effects += effects
        self.started += [attempt.ref for effect in of_type(effects, Start) for attempt in effect.attempts]
        self.ordered += [effect.address for effect in of_type(effects, Connect)]
        for closed in of_type(effects, Closed):
            self.ordered = [address for address in self.ordered if address != closed.address]
        effects = list(effects)
        for peer in list(self.peers.values()):
            effects += self._write(peer)
        return effects

    def _write(self, peer: Peer) -> list[Effect]:
        effects: list[Effect] = []
        while (frame := peer.session.next_frame(self.now)) is not None:
            peer.frames.append(frame)
            effects += self.keep(self.fleet.written(peer.session, self.now))
            if frame.HasField("heartbeat") and peer.session.state is SessionState.OPEN:
                effects += peer.send(heartbeat_nonce=frame.heartbeat.nonce)
        return effects

    # ---- what was done

    def states(self) -> dict[str, SessionState]:
        return {address: session.state for address, session in self.fleet.sessions.items()}

    def calls(self) -> list[Call]:
        return of_type(self.effects, Call)

    def stopped(self) -> list[tuple[Ref, str]]:
        return [(effect.ref, str(effect.reason)) for effect in of_type(self.effects, Stop)]

    def ended_streams(self) -> list[EndStream]:
        return of_type(self.effects, EndStream)

    def notes(self) -> list[str]:
        return [effect.event for effect in of_type(self.effects, Note)]
