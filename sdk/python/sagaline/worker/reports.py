"""In-flight reports that a SEC asked for, told in as many frames as they need."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from sagaline.v1 import worker_service_pb2 as pb
from sagaline.worker.attempts import Ref
from sagaline.worker.holdings import Holdings
from sagaline.worker.limits import ITEM_OVERHEAD_BYTES

ASKED_MAX = 20_000
"""Attempts asked about by name and not yet answered; beyond it the oldest questions go unanswered."""


class Reports:
    """What is still to be reported on one stream.

    States are looked up when a frame is made, not when they were asked for: `complete` speaks of everything up to the
    `ack_sequence` of its frame, and invocations may have come since the question.
    """

    def __init__(self, holdings: Holdings) -> None:
        self._holdings = holdings
        self._of: str | None = None
        self._asked: deque[Ref] = deque(maxlen=ASKED_MAX)
        self._everything = False
        self._told: set[Ref] = set()

    def __bool__(self) -> bool:
        return self._everything or bool(self._asked)

    def clear(self) -> None:
        """A new stream: what was asked on the old one is answered by hello."""
        self._asked.clear()
        self._everything = False

    def everything(self, of: str | None) -> None:
        """Report all that is held of a SEC; None: of all, for nobody knows who will read it.

        Of a report in parts only the last is `complete`. One of all that is not told in full yet stays one of all.
        """
        if not self._everything or self._of is not None:
            self._of = of
        self._everything = True
        self._told.clear()

    def about(self, refs: Iterable[Ref]) -> None:
        """Report these attempts, held or not."""
        self._asked.extend(refs)

    def take(self, budget: int) -> tuple[pb.InFlightReport, int]:
        """The next part, of at most `budget` bytes, and what is left of the budget."""
        report = pb.InFlightReport()
        while self._asked:
            left = _add(report, self._asked[0], self._holdings.state_of(self._asked[0]), budget)
            if left < 0:
                return report, budget
            budget = left
            self._asked.popleft()
        return report, self._tell_everything(report, budget) if self._everything else budget

    def _tell_everything(self, report: pb.InFlightReport, budget: int) -> int:
        for ref, state in self._holdings.report(self._of):
            if ref not in self._told:
                left = _add(report, ref, state, budget)
                if left < 0:
                    return budget
                budget = left
                self._told.add(ref)
        report.complete = True
        self._everything = False
        return budget


def _add(report: pb.InFlightReport, ref: Ref, state: pb.InFlightState.ValueType, budget: int) -> int:
    """Add an entry if it fits; returns what is then left of the budget, or less than nothing if it does not."""
    entry = pb.InFlightEntry(ref=ref.message(), state=state)
    left = budget - entry.ByteSize() - ITEM_OVERHEAD_BYTES
    if left >= 0:
        report.entries.append(entry)
    return left
