"""The twin's rules (`store.memory_backend`), with an ear for every change at the moment it becomes true."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from sagaline_server.ports.cluster import ClusterEvent, HandOff, HandOffFate
from sagaline_server.ports.store import (
    Append,
    Claim,
    NewSaga,
    OwnedSaga,
    SecRecord,
    Status,
    StoredSaga,
    Write,
    WriteResult,
)
from sagaline_server.store.feed import LocalFeed
from sagaline_server.store.memory_backend import MemoryBackend, _Saga

OnWrite = Callable[[str, int, Write, WriteResult], None]
"""Name and incarnation of the writer, the write, and its result; of writes that have just become durable."""


class Feed(LocalFeed):
    """Passes on what changes to whoever carries it to the SECs."""

    def __init__(self) -> None:
        super().__init__()
        self.on_event: Callable[[ClusterEvent], None] = _nobody_looks
        self.on_log: Callable[[str], None] = _nobody_looks

    def tell(self, event: ClusterEvent) -> None:
        self.on_event(event)

    def tell_log(self, saga_id: str) -> None:
        self.on_log(saga_id)


class SimBackend(MemoryBackend):
    """What the SECs of a simulated cluster share."""

    def __init__(self) -> None:
        super().__init__(cluster_id="simulated")
        self.feed: Feed = Feed()
        self.on_write: OnWrite = _nobody_looks
        self.on_fenced: Callable[[str, int, Append], None] = _nobody_looks
        """Called with appends that the fence refused, as `on_write`."""
        self.on_handed_off: Callable[[str, int, Claim], None] = _nobody_looks
        """Called with who gave a saga away, and the claim that it gave up; perhaps more than once."""
        self.on_owner: Callable[[OwnedSaga], None] = _nobody_looks
        """Called with who owns a saga from now on."""
        self.on_adopted: Callable[[OwnedSaga, OwnedSaga], None] = _nobody_looks
        """Called with whom a saga was taken from, and who took it."""
        self.on_deleted: Callable[[str], None] = _nobody_looks
        """Called with a saga of which nothing is left."""
        self.on_removed: Callable[[str], None] = _nobody_looks
        """Called with a saga whose log has been removed."""

    def commit(self, sec_id: str, incarnation: int, writes: Sequence[Write]) -> list[WriteResult]:
        before = self.revision
        results = super().commit(sec_id, incarnation, writes)
        for write, result in zip(writes, results, strict=True):
            if result.status is Status.DONE and result.revision > before:
                if isinstance(write, NewSaga):
                    self._announce_owner(self._sagas[write.saga_id])
                self.on_write(sec_id, incarnation, write, result)
            elif result.status is Status.FENCED and isinstance(write, Append):
                self.on_fenced(sec_id, incarnation, write)
        return results

    def hand_off(self, sec_id: str, incarnation: int, hand_offs: Sequence[HandOff], to: SecRecord) -> list[HandOffFate]:
        fates = super().hand_off(sec_id, incarnation, hand_offs, to)
        for hand_off, fate in zip(hand_offs, fates, strict=True):
            if fate is HandOffFate.DONE:
                self.on_handed_off(sec_id, incarnation, hand_off.claim)
        return fates

    def remove(self, saga_ids: Iterable[str], *, keep_summary: bool, dones: Mapping[str, bytes] | None = None) -> None:
        asked = list(saga_ids)
        were_there = [saga_id for saga_id in asked if saga_id in self._sagas]
        had_log = {saga_id for saga_id in were_there if self._sagas[saga_id].batches}
        super().remove(asked, keep_summary=keep_summary, dones=dones)
        for saga_id in were_there:
            if saga_id not in self._sagas:
                self.on_deleted(saga_id)
        for saga_id in sorted(had_log):
            if saga_id not in self._sagas or not self._sagas[saga_id].batches:
                self.on_removed(saga_id)

    def adopt(self, sec_id: str, incarnation: int, saga: OwnedSaga) -> Claim | None:
        claim = super().adopt(sec_id, incarnation, saga)
        if claim is not None:
            new = OwnedSaga(saga.saga_id, sec_id, incarnation, claim.epoch, claim.revision)
            self.on_adopted(saga, new)
        return claim

    def _pass_on(self, saga: _Saga, owner: OwnedSaga, sec_id: str, incarnation: int) -> OwnedSaga:
        new = super()._pass_on(saga, owner, sec_id, incarnation)
        self._announce_owner(saga)
        return new

    def _announce_owner(self, saga: _Saga) -> None:
        if saga.owner is not None:
            self.on_owner(saga.owner)

    def unfinished(self) -> list[str]:
        """Return the sagas that have not ended."""
        return [owner.saga_id for owner in self.owned()]

    def stored(self) -> list[StoredSaga]:
        """Return everything there is."""
        return [saga for saga in map(self.read, self._ids) if saga is not None]


def _nobody_looks(*_: object) -> None:
    pass
