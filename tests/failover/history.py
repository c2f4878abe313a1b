"""What etcd remembers of a run, from the first write to the last, read by the checkers of the simulation.

etcd keeps every revision until it is told to compact, so the whole order in
which ownership changed and logs grew can be looked at afterwards, whoever
wrote it: who owned a saga when an entry of it was written, and whether that
incarnation lived.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from typing import Any, cast

import grpc
from aetcd import rpc

from sagaline.v1 import log_pb2
from sagaline_server.ports.store import Append, Claim, ListedSaga, NewSaga, OwnedSaga, Status, Write, WriteResult
from sagaline_server.store.etcd.keys import Keys, after_all
from sagaline_server.wire.entries import decode_batch, entry_message
from tests.simulation.checkers.checker import Checker
from tests.simulation.checkers.legal_order import LegalOrder
from tests.simulation.checkers.log_order import LogOrder
from tests.simulation.checkers.terminal import Terminal
from tests.simulation.history import Written
from tests.simulation.ledger import Ledger
from tests.simulation.scene import Scene

READ_SECONDS = 60.0
CHECKERS: tuple[type[Checker], ...] = (LogOrder, LegalOrder, Terminal)
"""Those of the simulation that look at nothing but what was written."""


class Findings:
    """Takes what checkers complain of; to them it is the history of a simulation."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def fail(self, checker: str, what: str) -> None:
        """Note what is wrong."""
        self.problems.append(f"{checker}: {what}")


class Incarnations:
    """Which incarnations live at the moment that is read; to the checkers it is the store of a simulation."""

    def __init__(self) -> None:
        self._living: dict[str, int] = {}
        self.count = 0
        """How many there have been."""

    def take(self, sec_id: str, event: Any) -> None:
        """Take what happened to a SEC's leased key."""
        if event.type != rpc.Event.PUT:
            self._living.pop(sec_id, None)
        elif event.kv.create_revision == event.kv.mod_revision:
            self._living[sec_id] = event.kv.create_revision
            self.count += 1

    def alive(self, sec_id: str, incarnation: int) -> bool:
        """Tell whether an incarnation lives."""
        return self._living.get(sec_id) == incarnation


class Archive:
    """Reads the history of one prefix; to the checkers it is the scene that they watch."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self.ledger = Ledger()
        self.backend = Incarnations()
        self.history = Findings()
        self._checkers = [checker(cast("Scene", self)) for checker in CHECKERS]
        self._owners: dict[str, OwnedSaga] = {}
        self.owner_changes = 0
        self.entries = 0

    @property
    def problems(self) -> list[str]:
        """What is wrong."""
        return self.history.problems

    def alive(self, sec_id: str, incarnation: int) -> bool:
        """Tell whether an incarnation lives at the moment that is read."""
        return self.backend.alive(sec_id, incarnation)

    async def read(self, channel: grpc.aio.Channel, root: bytes) -> None:
        """Read everything that ever was under a prefix, in the order in which it was written."""
        revisions = revisions_of(channel, root)
        async for events in revisions:
            self._take(events)

    def _take(self, events: list[Any]) -> None:
        """Take what one transaction did: ownership first, because a creation brings its own."""
        by_key = {bytes(event.kv.key): event for event in events}
        for key, event in by_key.items():
            if key.startswith(self._keys.secs):
                self.backend.take(key.removeprefix(self._keys.secs).decode(), event)
            elif key.startswith(self._keys.owners) and event.type == rpc.Event.PUT:
                self._take_owner(key.removeprefix(self._keys.owners).decode(), event.kv)
        for key, event in by_key.items():
            if key.startswith(self._keys.logs) and event.type == rpc.Event.PUT:
                saga_id = key.removeprefix(self._keys.logs).rpartition(b"/")[0].decode()
                record = by_key.get(self._keys.record(saga_id))
                self._take_batch(saga_id, event.kv, None if record is None else bytes(record.kv.value))

    def _take_owner(self, saga_id: str, kv: Any) -> None:
        record = log_pb2.OwnerRecord.FromString(kv.value)
        owner = OwnedSaga(saga_id, record.sec_id, record.incarnation, kv.version, kv.mod_revision)
        self._owners[saga_id] = owner
        self.ledger.owned(owner)
        self.owner_changes += kv.version > 1
        for checker in self._checkers:
            checker.owned(owner)
        if not self.backend.alive(owner.sec_id, owner.incarnation):
            who = f"{owner.sec_id} of incarnation {owner.incarnation}"
            self.history.fail("fence", f"{who} becomes the owner of {saga_id} in epoch {owner.epoch}, and is dead")

    def _take_batch(self, saga_id: str, kv: Any, record: bytes | None) -> None:
        entries = decode_batch(kv.value)
        self.entries += len(entries)
        owner = self._owners.get(saga_id)
        if owner is None or (record is None and saga_id not in self.ledger.pages):
            self.history.fail("record", f"{saga_id} has a log, and no owner or record was written with its beginning")
            return
        write: Write = Append(Claim(saga_id, owner.epoch, owner.revision), entries[0].seq, kv.value, b"")
        if record is not None:
            write = NewSaga(saga_id, record, kv.value, ListedSaga("", 0.0), b"")
        written = Written(saga_id, owner.sec_id, owner.incarnation, write, WriteResult(Status.DONE), entries)
        self.ledger.written(written)
        for checker in self._checkers:
            checker.written(written)

    def logs(self) -> dict[str, list[log_pb2.LogEntry]]:
        """Return every log, as clients see it."""
        return {
            saga_id: [entry_message(stamped) for stamped in page.log] for saga_id, page in self.ledger.pages.items()
        }

    def unfinished(self) -> list[str]:
        """Return the sagas whose log has no end."""
        return [saga_id for saga_id, page in self.ledger.pages.items() if page.saga.finished is None]


async def revisions_of(channel: grpc.aio.Channel, root: bytes) -> AsyncIterator[list[Any]]:
    """Yield the events of each revision under a prefix, up to now."""
    mark = root + b"failover-end-of-history"
    await rpc.KVStub(channel).Put(rpc.PutRequest(key=mark, value=b"."), timeout=READ_SECONDS)

    async def ask() -> AsyncIterator[Any]:
        create = rpc.WatchCreateRequest(key=root, range_end=after_all(root), start_revision=1)
        yield rpc.WatchRequest(create_request=create)

    call = rpc.WatchStub(channel).Watch(ask(), timeout=READ_SECONDS)
    pending: list[Any] = []
    async for response in call:
        if response.canceled:
            raise RuntimeError(f"etcd has compacted the history: {response.cancel_reason}")
        pending += response.events
        groups = list(_by_revision(pending))
        is_over = bool(pending) and bytes(pending[-1].kv.key) == mark
        # The last revision may go on in the next answer.
        pending = [] if is_over or not groups else groups.pop()
        for group in groups:
            yield group
        if is_over:
            break
    call.cancel()


def _by_revision(events: list[Any]) -> Iterator[list[Any]]:
    for _, group in itertools.groupby(events, key=lambda event: event.kv.mod_revision):
        yield list(group)
