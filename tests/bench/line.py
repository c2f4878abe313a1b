"""What a figure is: a value beside its target, and what else was seen."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Sequence
from typing import Any

import msgspec


class Target(msgspec.Struct, frozen=True):
    """What a figure is to reach."""

    value: float
    at_least: bool = True
    """False: it must not be more."""

    def met_by(self, value: float) -> bool:
        """Say whether a value reaches it."""
        return value >= self.value if self.at_least else value <= self.value


class Line(msgspec.Struct):
    """One figure, or one limit of what Sagaline is built of, which has no target."""

    name: str
    value: float
    unit: str
    target: Target | None = None
    details: dict[str, Any] = {}

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None if there is none."""
        return None if self.target is None else self.target.met_by(self.value)

    def as_json(self) -> str:
        """Return the line that programs read."""
        kind = "raw" if self.target is None else "figure"
        judged = {}
        if self.target is not None:
            sign = ">=" if self.target.at_least else "<="
            judged = {"target": self.target.value, "target_is": sign, "met": self.met}
        load = round(os.getloadavg()[0], 2)
        fields = {kind: self.name, "value": self.value, "unit": self.unit, **judged, **self.details}
        return json.dumps({**fields, "machine_load": load})


def at_least(value: float) -> Target:
    """Return the target of a figure of which more is better."""
    return Target(value)


def at_most(value: float) -> Target:
    """Return the target of a figure of which less is better."""
    return Target(value, at_least=False)


def median(values: Sequence[float], digits: int = 1) -> float:
    """Return the median, rounded."""
    return round(statistics.median(values), digits)
