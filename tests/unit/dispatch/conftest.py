"""A dispatcher over sagas that only note what they are told."""

from __future__ import annotations

import pytest

from sagaline.v1 import worker_service_pb2 as pb
from sagaline_server.dispatch.dispatcher import Dispatcher
from sagaline_server.dispatch.session import Session
from tests.unit.dispatch.messages import ACT, hello, invocation, key, work
from tests.unit.dispatch.sagas import HandClock, NotedSagas

GRACE = 20.0


class World:
    """A dispatcher with workers that tests play."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.sagas = NotedSagas()
        self.draws: list[float] = []
        """Random numbers for the choice among workers; 0 once they are used up."""
        self.dispatcher = Dispatcher(self.clock, lambda: self.draws.pop(0) if self.draws else 0.0, GRACE)
        self.dispatcher.deliver_to(self.sagas)

    def connect(self, worker_id: str = "w", **fields: object) -> Session:
        """Let a worker say hello, as a stream does."""
        given = hello(worker_id, **fields)  # type: ignore[arg-type]
        session, _ = self.dispatcher.connect(given, _nothing, 5.0)
        self.dispatcher.reconcile(session)
        self.dispatcher.pump(session)
        return session

    def start(self, session: Session, *nodes: str) -> None:
        """Start attempts of nodes on a worker, as the runtime does: reserved, logged, sent."""
        for node in nodes:
            session.reserve(ACT)
            self.dispatcher.send("s", work(session.worker_id, node), invocation(key(node)))

    def deliver(self, session: Session, *, acknowledged: bool = True) -> list[pb.ConnectResponse]:
        """Take what there is to send, as a worker that reads it all."""
        frames = []
        while (frame := session.take_frame()) is not None:
            frames.append(frame)
        if acknowledged:
            session.received(session.last_sequence)
        return frames


def _nothing() -> None:
    """Wake nobody."""


@pytest.fixture
def world() -> World:
    return World()
