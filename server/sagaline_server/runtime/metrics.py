"""What an operator counts: sagas, entries, and what went wrong with ownership.

Plain numbers that a collector reads when it is asked: the hot path adds to an
integer and takes no lock. Never labelled by saga: there would be as many
series as sagas.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from sagaline_server.core.entries import Entry, NodeFailed, SagaFinished, SagaState, Stamped, UndoFailed

_COUNTED = frozenset({SagaFinished, NodeFailed, UndoFailed})


class RuntimeMetrics(Collector):
    """Counters of one SEC."""

    def __init__(self, registry: CollectorRegistry | None) -> None:
        """Begin at zero, and register; None: nobody will ask."""
        self.created = 0
        self.entries = 0
        self.node_failures = 0
        self.undo_failures = 0
        self.fenced = 0
        self.quarantined = 0
        self.handed_off = 0
        self.adopted = 0
        self.archived = 0
        self.compacted = 0
        self.removed = 0
        self.spans_exported = 0
        self.spans_dropped = 0
        self.sagas_untraced = 0
        self.finished = {SagaState.SUCCEEDED: 0, SagaState.UNWOUND: 0}
        self.live = 0
        self.waiting = 0
        self.workers = 0
        self.need_operator = 0
        self.lease_margin = 0.0
        self.writes_waiting = 0
        self.store_refused = False
        if registry is not None:
            registry.register(self)

    def appended(self, entries: Sequence[Stamped]) -> None:
        """Count entries that have become durable."""
        self.entries += len(entries)
        for stamped in entries:
            kind = type(stamped.entry)
            if kind in _COUNTED:
                self._count(stamped.entry)

    def _count(self, entry: Entry) -> None:
        if isinstance(entry, SagaFinished):
            self.finished[entry.state] += 1
        elif isinstance(entry, NodeFailed):
            self.node_failures += 1
        else:
            self.undo_failures += 1

    def collect(self) -> Iterator[Metric]:
        """Yield what Prometheus reads."""
        counters = {
            "sagas_created": ("Sagas created", self.created),
            "log_entries": ("Log entries made durable", self.entries),
            "node_failures": ("Nodes that failed", self.node_failures),
            "undo_failures": ("Undos that failed for good", self.undo_failures),
            "appends_fenced": ("Appends refused by the fence", self.fenced),
            "sagas_quarantined": ("Sagas set aside", self.quarantined),
            "sagas_handed_off": ("Sagas given to another SEC", self.handed_off),
            "sagas_adopted": ("Sagas taken from a dead SEC", self.adopted),
            "sagas_archived": ("Finished sagas put into the archive", self.archived),
            "sagas_compacted": ("Finished sagas whose logs were removed", self.compacted),
            "sagas_removed": ("Finished sagas that were removed", self.removed),
            "spans_exported": ("Spans that the collector has taken", self.spans_exported),
            "spans_dropped": ("Spans that the collector has not taken", self.spans_dropped),
            "sagas_untraced": ("Sagas whose spans were to be made, and were not", self.sagas_untraced),
        }
        for name, (text, value) in counters.items():
            yield CounterMetricFamily(f"sagaline_{name}", text, value=value)
        finished = CounterMetricFamily("sagaline_sagas_finished", "Sagas ended, by state", labels=["state"])
        for state, count in self.finished.items():
            finished.add_metric([state.name], count)
        yield finished
        gauges = {
            "sagas_live": ("Sagas owned and unfinished", self.live),
            "nodes_waiting": ("Nodes that wait for a worker", self.waiting),
            "workers": ("Workers with a stream", self.workers),
            "sagas_need_operator": ("Sagas that need an operator", self.need_operator),
            "lease_margin_seconds": ("Time left before dispatching would stop", self.lease_margin),
            "writes_waiting": ("Writes that wait for the store, or to be sent again", self.writes_waiting),
            "store_refused": (
                "1: the store was restored or is another one, and an operator has to see",
                self.store_refused,
            ),
        }
        for name, (text, level) in gauges.items():
            yield GaugeMetricFamily(f"sagaline_{name}", text, value=level)
