"""The owner of sagas as dispatch sees it, in memory: it notes what it is told, and answers when a test says so."""

from __future__ import annotations

from sagaline_server.core.decide import Lost, Rejected, Result
from sagaline_server.core.entries import Kind
from sagaline_server.core.values import Payload
from sagaline_server.ports.sagas import NotTaken, OnFate


class NotedSagas:
    """Keeps the contract of `SagaInputs`."""

    def __init__(self) -> None:
        self.is_serving = True
        self.live: set[str] = {"s"}
        self.over: set[str] = set()
        """Sagas that the store says have ended."""
        self.owners: dict[str, tuple[str, str]] = {}
        self.results: list[tuple[str, Result, OnFate]] = []
        self.ends: list[tuple[str, Rejected | Lost]] = []
        self.progress: list[tuple[str, str, Kind, int, Payload | None]] = []
        self.free: set[tuple[str, int]] = set()
        """Nodes that no limit holds."""
        self.offers: list[tuple[str, int, Kind, str]] = []

    def result(self, saga_id: str, given: Result, on_fate: OnFate) -> None:
        self.results.append((saga_id, given, on_fate))

    def look_up(self, saga_id: str, on_fate: OnFate) -> None:
        on_fate(NotTaken.NOT_FOUND if saga_id in self.over else NotTaken.RETRY)

    def owner_of(self, saga_id: str) -> tuple[str, str] | None:
        return self.owners.get(saga_id)

    def ended(self, saga_id: str, given: Rejected | Lost) -> None:
        self.ends.append((saga_id, given))

    def progressed(self, saga_id: str, node: str, kind: Kind, attempt: int, details: Payload | None) -> None:
        self.progress.append((saga_id, node, kind, attempt, details))

    def offer(self, saga_id: str, node: int, kind: Kind, worker_id: str) -> bool:
        if saga_id not in self.live:
            return False
        self.offers.append((saga_id, node, kind, worker_id))
        return True

    def is_free(self, saga_id: str, node: int) -> bool:
        return (saga_id, node) in self.free

    def is_live(self, saga_id: str) -> bool:
        return saga_id in self.live

    # ---- what tests read

    def rejected(self) -> list[str]:
        """Nodes of which an attempt was rejected."""
        return [given.node for _, given in self.ends if isinstance(given, Rejected)]

    def lost(self) -> list[tuple[str, bool]]:
        """Nodes of which an attempt was lost, and whether it does not count."""
        return [(given.node, given.uncounted) for _, given in self.ends if isinstance(given, Lost)]


class HandClock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def wall(self) -> float:
        return 1_800_000_000.0 + self.now

    def boottime(self) -> float:
        return self.now
