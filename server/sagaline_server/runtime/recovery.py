"""Taking over what is stored: folding logs, and setting aside those that break the rules."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
import structlog

from sagaline.v1 import log_pb2
from sagaline_server.core.apply import IllegalEntry, apply
from sagaline_server.core.decide import NewOwner
from sagaline_server.core.digest import graph_digest
from sagaline_server.core.entries import OwnerChange
from sagaline_server.core.state import Saga
from sagaline_server.core.topology import Topology, flatten
from sagaline_server.core.transitions import NodeStatus
from sagaline_server.core.validate import check_graph
from sagaline_server.ports.store import Claim, OwnedSaga, StoredSaga
from sagaline_server.runtime.crashpoints import reach
from sagaline_server.runtime.engine import SagaEngine
from sagaline_server.runtime.live import LiveSaga
from sagaline_server.runtime.timers import DEADLINE
from sagaline_server.wire.entries import UnreadableLog, decode_log
from sagaline_server.wire.payloads import payload_from
from sagaline_server.wire.specs import graph_from
from sagaline_server.wire.times import to_seconds
from sagaline_server.wire.views import about

log = structlog.get_logger("sagaline.recovery")

ADOPT_BATCH = 30
"""Sagas claimed in one call."""
ADOPT_BATCH_AT_START = 300
"""The same while nothing is served yet: nobody has to wait for a turn of the loop."""
FOLDS_A_SLICE = 10
"""Sagas folded before others get their turn."""
TOPOLOGIES_KEPT = 1000


Claimed = tuple[OwnedSaga, Claim, StoredSaga | None]
"""A saga as its dead owner left it, this SEC's claim, and what is stored."""


class Folded(msgspec.Struct, frozen=True):
    """A stored saga, folded."""

    record: log_pb2.SagaRecord
    saga: Saga


class Folder:
    """Folds stored sagas; graphs are parsed once for all sagas of one shape."""

    def __init__(self) -> None:
        """Make a folder with an empty cache."""
        self._topologies: dict[bytes, Topology] = {}

    def fold(self, stored: StoredSaga) -> Folded:
        """Return the state that a stored log leads to.

        Raises:
            UnreadableLog: The log can't be read, or its record can't be run.
            IllegalEntry: The log breaks the legal order.
        """
        try:
            record = log_pb2.SagaRecord.FromString(stored.record)
        except Exception as error:
            raise UnreadableLog("the record can't be decoded") from error
        saga = Saga(self._topology(record), payload_from(record.spec.params), record.digest)
        for stamped in decode_log(stored.batches):
            apply(saga, stamped)
        saga.woken = [node for node in dict.fromkeys(saga.woken) if not _is_done_with(saga, node)]
        return Folded(record, saga)

    def _topology(self, record: log_pb2.SagaRecord) -> Topology:
        key = record.spec.graph.SerializeToString(deterministic=True)
        topology = self._topologies.get(key)
        if topology is None:
            graph = graph_from(record.spec.graph)
            problems = check_graph(graph)
            if problems:
                raise UnreadableLog(f"the record's graph can't be run: {problems[0].message}")
            topology = flatten(graph, graph_digest(graph))
            if len(self._topologies) >= TOPOLOGIES_KEPT:
                self._topologies.pop(next(iter(self._topologies)))
            self._topologies[key] = topology
        return topology


def _is_done_with(saga: Saga, node: int) -> bool:
    """True where a node has succeeded, and nobody need look at it as long as the saga goes forward."""
    if saga.unwinds(node) or saga.statuses[node] != NodeStatus.SUCCEEDED:
        return False
    run = saga.runs.get(node)
    return run is None or not run.in_flight


class Recovery:
    """Adopts sagas whose owner is dead and begins to run them."""

    def __init__(self, engine: SagaEngine, folder: Folder) -> None:
        """Make the recovery of an engine."""
        self._engine = engine
        self._folder = folder

    async def adopt_paced(self, orphans: Sequence[OwnedSaga]) -> int:
        """Adopt sagas in batches, each only when the store has taken in most of the one before.

        So a SEC that takes over thousands still serves the sagas it had.

        Raises:
            StoreError: The store can't be reached.
        """
        count = start = 0
        coming: asyncio.Task[list[Claimed]] | None = None
        try:
            while start < len(orphans):
                size = ADOPT_BATCH if self._engine.is_serving else ADOPT_BATCH_AT_START
                await self._engine.commit.until_below(size)
                claimed = await (coming or asyncio.create_task(self._claim(orphans[start : start + size])))
                coming = None
                start += size
                if start < len(orphans):
                    # While these are folded the store reads the next.
                    coming = asyncio.create_task(self._claim(orphans[start : start + size]))
                count += await self._load(claimed)
        finally:
            if coming is not None:
                coming.cancel()
                await asyncio.gather(coming, return_exceptions=True)
        if orphans:
            log.info("sagas_adopted", adopted=count, orphans=len(orphans))
        return count

    async def _claim(self, orphans: Sequence[OwnedSaga]) -> list[Claimed]:
        """Claim orphans and read those that are this SEC's now."""
        claims = await self._engine.store.adopt(orphans)
        reach("adopt.claimed")
        taken = [(old, claim) for old, claim in zip(orphans, claims, strict=True) if claim is not None]
        stored = await self._engine.store.read_many([old.saga_id for old, _ in taken])
        return [(old, claim, read) for (old, claim), read in zip(taken, stored, strict=True)]

    async def _load(self, claimed: Sequence[Claimed]) -> int:
        count = 0
        for number, (old, claim, read) in enumerate(claimed, 1):
            live = None if read is None else self.load(read, claim)
            if live is not None:
                reach("adopt.folded")
                incarnation = self._engine.store.incarnation
                self._engine.metrics.adopted += 1
                self._engine.post(live, NewOwner(self._engine.sec_id, incarnation, OwnerChange.ADOPTED, old.sec_id))
                count += 1
            if number % FOLDS_A_SLICE == 0:
                await asyncio.sleep(0)
        return count

    def load(self, stored: StoredSaga, claim: Claim) -> LiveSaga | None:
        """Fold a saga that this SEC owns and begin to run it; None when it had to be set aside, or is not to be run."""
        owner = stored.owner
        if owner is None or owner.revision != claim.revision:
            return None  # it has moved on since it was claimed
        if self._engine.is_between_lives or owner.incarnation != self._engine.store.incarnation:
            return None  # claimed by an incarnation that is dead
        if stored.saga_id in self._engine.sagas:
            return None  # begun by somebody else while it was read
        try:
            folded = self._folder.fold(stored)
        except (UnreadableLog, IllegalEntry) as error:
            self._engine.quarantine(stored.saga_id, str(error))
            return None
        spec = folded.record.spec
        live = LiveSaga(stored.saga_id, stored.record, about(folded.record), folded.saga, claim)
        self._begin(live, to_seconds(spec.deadline) if spec.HasField("deadline") else None)
        return live

    def _begin(self, live: LiveSaga, deadline: float | None) -> None:
        """Begin to run a saga that was folded from its log."""
        engine = self._engine
        engine.begin(live)
        if live.state.needs_operator:
            engine.need_operator.add(live.saga_id)
        engine.admissions.note(live)
        live.begun = engine.clock.wall()
        for node, kind, attempt, worker_id in live.state.outstanding():
            key = (live.saga_id, live.state.topology.nodes[node].name, kind, attempt)
            engine.dispatcher.expect(worker_id, key, live.action_key(node, kind), live.epoch_told)
        if deadline is not None:
            engine.timers.add(live.saga_id, DEADLINE, live.state.created + deadline)
