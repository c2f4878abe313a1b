"""Equality of what is in memory and what was read back: a log keeps times in whole nanoseconds."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

SECONDS = 1e-5
"""Difference of two times that are the same."""


def alike(one: object, other: object) -> bool:
    """Tell whether two values are equal but for the rounding of times."""
    if one == other:
        return True
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) < SECONDS
    if type(one) is not type(other):
        return False
    if isinstance(one, msgspec.Struct):
        return all(alike(getattr(one, field), getattr(other, field)) for field in one.__struct_fields__)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(alike(value, other[key]) for key, value in one.items())
    return False
