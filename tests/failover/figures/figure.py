"""What a figure is, and what all of them need."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Figure:
    """One figure: values for people and programs, and what of it must not be."""

    name: str
    values: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def line(self) -> dict[str, Any]:
        """Return it for programs."""
        return {"figure": self.name, **self.values, "problems": self.problems}

    def demand(self, holds: bool, problem: str) -> None:
        """Note a problem unless something holds."""
        if not holds:
            self.problems.append(problem)


def quantile_ms(seconds: Sequence[float], share: float) -> float:
    """Return a quantile of times in milliseconds."""
    ordered = sorted(seconds)
    return round(ordered[min(int(len(ordered) * share), len(ordered) - 1)] * 1000, 1) if ordered else 0.0


class Traces:
    """What the workers of `actions` leave in a folder: a line for each run, and the gate that they wait for."""

    def __init__(self, folder: Path) -> None:
        self.trace = folder / "trace"
        self.gate = folder / "gate"

    @property
    def environment(self) -> dict[str, str]:
        """Variables that such a worker needs."""
        return {"SAGALINE_TEST_TRACE": str(self.trace), "SAGALINE_TEST_GATE": str(self.gate)}

    def runs(self) -> Counter[str]:
        """Count the runs of each idempotency key."""
        return Counter(self.trace.read_text().split()) if self.trace.exists() else Counter()

    def run_twice(self) -> int:
        """Count the runs beyond the first, over all idempotency keys."""
        return sum(count - 1 for count in self.runs().values())
