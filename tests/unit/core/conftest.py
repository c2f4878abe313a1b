"""Hypothesis profiles, and numbers of guarantees as keywords.

HYPOTHESIS_PROFILE=deep looks longer, and elsewhere each time; `ci`, the default, is the same every time; `mutants` does
not shrink, for breaking the core on purpose to see which test notices.
"""

from __future__ import annotations

import os
import re

import pytest
from hypothesis import HealthCheck, Phase, settings

settings.register_profile(
    "ci",
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "deep",
    max_examples=2_000,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("mutants", settings.get_profile("ci"), phases=[Phase.explicit, Phase.generate])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

_RULES = re.compile(r"\b[Rr]ules? ((?:\d+|,| |and|to)+)")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Let `-k G7` find the tests whose docstring says that they prove rule 7."""
    docstring = getattr(getattr(item, "obj", None), "__doc__", None) or ""
    item.extra_keyword_matches.update(f"G{number}" for number in rules_of(docstring))


def rules_of(docstring: str) -> set[int]:
    """Return the numbers in "Rule 7", "rules 2, 3 and 10" or "rules 2 to 8"."""
    numbers: set[int] = set()
    for listed in _RULES.findall(docstring):
        for first, last in re.findall(r"(\d+)(?: to (\d+))?", listed):
            numbers.update(range(int(first), int(last or first) + 1))
    return numbers
