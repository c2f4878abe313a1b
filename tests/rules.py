"""Which rules of execution a docstring claims to prove."""

from __future__ import annotations

import re

_CLAIM = re.compile(r"\b[Rr]ules? ((?:\d+|,| |and|to)+)")


def rules_of(text: str) -> set[int]:
    """Return the numbers that a text claims: "rule 7", "rules 2 and 3", "rules 2 to 4"."""
    found: set[int] = set()
    for claim in _CLAIM.finditer(text):
        numbers = [int(number) for number in re.findall(r"\d+", claim.group(1))]
        found.update(range(numbers[0], numbers[-1] + 1) if " to " in claim.group(1) else numbers)
    return found
