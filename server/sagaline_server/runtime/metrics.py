"""What an operator counts: sagas, entries, and what went wrong with ownership."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge

from sagaline_server.core.entries import NodeFailed, SagaFinished, Stamped, UndoFailed


class RuntimeMetrics:
    """Counters of one SEC. Never labelled by saga: there would be as many series as sagas."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the counters."""
        self._created = Counter("sagaline_sagas_created", "Sagas created", registry=registry)
        self._finished = Counter("sagaline_sagas_finished", "Sagas ended, by state", ["state"], registry=registry)
        self._entries = Counter("sagaline_log_entries", "Log entries made durable", registry=registry)
        self._node_failures = Counter("sagaline_node_failures", "Nodes that failed", registry=registry)
        self._undo_failures = Counter("sagaline_undo_failures", "Undos that failed for good", registry=registry)
        self._fenced = Counter("sagaline_appends_fenced", "Appends refused by the fence", registry=registry)
        self._handed_off = Counter("sagaline_sagas_handed_off", "Sagas given to another SEC", registry=registry)
        self._adopted = Counter("sagaline_sagas_adopted", "Sagas taken from a dead SEC", registry=registry)
        self._quarantined = Counter("sagaline_sagas_quarantined", "Sagas set aside", registry=registry)
        self.live = Gauge("sagaline_sagas_live", "Sagas owned and unfinished", registry=registry)
        self.waiting = Gauge("sagaline_nodes_waiting", "Nodes that wait for a worker", registry=registry)
        self.workers = Gauge("sagaline_workers", "Workers with a stream", registry=registry)
        self.stuck = Gauge("sagaline_sagas_need_operator", "Sagas that need an operator", registry=registry)

    def created(self) -> None:
        """Count a creation."""
        self._created.inc()

    def appended(self, entries: Sequence[Stamped]) -> None:
        """Count entries that have become durable."""
        self._entries.inc(len(entries))
        for stamped in entries:
            entry = stamped.entry
            if isinstance(entry, SagaFinished):
                self._finished.labels(entry.state.name).inc()
            elif isinstance(entry, NodeFailed):
                self._node_failures.inc()
            elif isinstance(entry, UndoFailed):
                self._undo_failures.inc()

    def fenced(self) -> None:
        """Count an append that the fence refused."""
        self._fenced.inc()

    def handed_off(self) -> None:
        """Count a saga given away."""
        self._handed_off.inc()

    def adopted(self) -> None:
        """Count a saga taken from a dead SEC."""
        self._adopted.inc()

    def quarantined(self) -> None:
        """Count a saga set aside."""
        self._quarantined.inc()
