"""Checks one saga's log: the machine folds it, and a second opinion finds the legal order in it."""

from __future__ import annotations

from collections.abc import Iterable

from sagaline import Client
from sagaline.v1 import log_pb2
from sagaline_server.core.apply import IllegalEntry, apply
from sagaline_server.core.digest import graph_digest
from sagaline_server.core.entries import SagaState
from sagaline_server.core.state import Saga
from sagaline_server.core.topology import flatten
from sagaline_server.wire.entries import entry_from
from sagaline_server.wire.payloads import payload_from
from sagaline_server.wire.specs import graph_from
from tests.unit.core.audit import Auditor, RuleBroken


def problems_of(record: log_pb2.SagaRecord, entries: Iterable[log_pb2.LogEntry]) -> list[str]:
    """Return what is wrong with a log; empty: it is gapless, in the legal order, and ends."""
    graph = graph_from(record.spec.graph)
    topology = flatten(graph, graph_digest(graph))
    saga, auditor = Saga(topology, payload_from(record.spec.params), record.digest), Auditor(topology)
    epoch = 0
    for entry in entries:
        stamped = entry_from(entry)
        if stamped.epoch < epoch:
            return [f"entry {stamped.seq} is of epoch {stamped.epoch}, after one of {epoch}"]
        epoch = stamped.epoch
        try:
            auditor.read(stamped)
            apply(saga, stamped)
        except (RuleBroken, IllegalEntry) as error:
            return [str(error)]
    return [] if saga.finished in (SagaState.SUCCEEDED, SagaState.UNWOUND) else ["it has no end"]


async def check_log(client: Client, saga_id: str) -> list[str]:
    """Read a saga's log and return what is wrong with it."""
    record = await client.record(saga_id)
    entries = [entry async for entry in client.log(saga_id)]
    return [f"log of {saga_id}: {problem}" for problem in problems_of(record, entries)]
