"""What the checkers know of every saga, from what was written and nothing else: its log, and what the log leads to."""

from __future__ import annotations

import msgspec

from sagaline.v1 import log_pb2
from sagaline.worker.attempts import Ref
from sagaline_server.core.digest import graph_digest
from sagaline_server.core.entries import AttemptStarted, Kind, Stamped, UndoAttemptStarted
from sagaline_server.core.state import Run, Saga
from sagaline_server.core.topology import Topology, flatten
from sagaline_server.ports.store import NewSaga, OwnedSaga
from sagaline_server.wire.payloads import payload_from
from sagaline_server.wire.specs import graph_from
from tests.simulation.history import Observer, Written


class Page(msgspec.Struct):
    """One saga."""

    saga: Saga
    """As its log folds; brought up to date by the checker of the legal order."""
    log: list[Stamped]
    owners: list[OwnedSaga]
    """By epoch, the first one for epoch 1."""
    started: dict[Ref, str]
    """Attempts whose start is durable, and their workers."""

    def run(self, ref: Ref) -> Run | None:
        """Return the attempts of the side that a reference names."""
        node = self.saga.topology.index.get(ref.node)
        return None if node is None else self.saga.run(node, Kind(ref.kind))

    @property
    def epoch(self) -> int:
        """Number of the present ownership, or the last one."""
        return len(self.owners)


class Ledger(Observer):
    """A page for each saga. It is the first to look, so that every checker finds it up to date."""

    def __init__(self) -> None:
        self.pages: dict[str, Page] = {}
        self._owners: dict[str, list[OwnedSaga]] = {}
        self._topologies: dict[bytes, Topology] = {}

    def owned(self, owner: OwnedSaga) -> None:
        self._owners.setdefault(owner.saga_id, []).append(owner)

    def written(self, written: Written) -> None:
        page = self.pages.get(written.saga_id)
        if page is None:
            assert isinstance(written.write, NewSaga)
            page = self.pages[written.saga_id] = self._page(written.write)
        page.log += written.entries
        for stamped in written.entries:
            if isinstance(stamped.entry, AttemptStarted):
                self._start(page, written.saga_id, stamped.entry, Kind.ACTION)
            elif isinstance(stamped.entry, UndoAttemptStarted):
                self._start(page, written.saga_id, stamped.entry, Kind.UNDO)

    def _start(self, page: Page, saga_id: str, entry: AttemptStarted | UndoAttemptStarted, kind: Kind) -> None:
        page.started[Ref(saga_id, entry.node, int(kind), entry.attempt)] = entry.worker_id

    def _page(self, write: NewSaga) -> Page:
        record = log_pb2.SagaRecord.FromString(write.record)
        topology = self._topology(record)
        saga = Saga(topology, payload_from(record.spec.params), record.digest)
        return Page(saga, [], self._owners.setdefault(write.saga_id, []), {})

    def _topology(self, record: log_pb2.SagaRecord) -> Topology:
        graph = graph_from(record.spec.graph)
        digest = graph_digest(graph)
        if digest not in self._topologies:
            self._topologies[digest] = flatten(graph, digest)
        return self._topologies[digest]
