"""Which types may be given where others are expected, as far as run time can tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Protocol

import pytest

from sagaline import JsonValue
from sagaline.fitting import fits
from tests.unit.sdk.types_to_convert import Box, Colour, Derived, Money, Parcel, Sku, Struct


class Named(Protocol):
    name: str


@pytest.mark.parametrize(
    ("declared", "given"),
    [
        (int, int),
        (float, int),
        (Money, Derived),
        (Money | None, Money),
        (Money | None, None),
        (int | str, str),
        (str, Sku),
        (Sku, str),
        (Annotated[int, "whole"], int),
        (str, Literal["a", "b"]),
        (str, Colour),
        (list[float], list[int]),
        (Sequence[Money], list[Derived]),
        (tuple[int, ...], list[int]),
        (list[int], list),
        (Mapping[str, int], dict[str, int]),
        (Parcel, dict),
        (dict, Parcel),
        (Any, Money),
        (object, Money),
        (JsonValue, Money),
        (Money, Any),
        (Money, JsonValue),
        (Named, Struct),
        (Box[int], Box[int]),
    ],
    ids=str,
)
def test_what_fits(declared: Any, given: Any) -> None:
    assert fits(declared, given)


@pytest.mark.parametrize(
    ("declared", "given"),
    [
        (int, float),
        (int, str),
        (Derived, Money),
        (Money, None),
        (Money, Money | None),
        (Money, Struct),
        (Colour, str),
        (list[int], list[str]),
        (list[int], dict[str, int]),
        (dict[str, int], dict[str, str]),
        (int | str, Money),
        (Box[int], Box[str]),
    ],
    ids=str,
)
def test_what_does_not_fit(declared: Any, given: Any) -> None:
    assert not fits(declared, given)
