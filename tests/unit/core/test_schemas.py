"""What schemas tell of each other: only what is certain."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagaline_server.core.schemas import NoSuchPart, at_path, misfit, type_of

INT, TEXT, NULL = {"type": "integer"}, {"type": "string"}, {"type": "null"}
ORDER = {"type": "object", "properties": {"id": TEXT, "lines": {"type": "array", "items": INT}}, "required": ["id"]}

FITS: list[tuple[str, Any, Any]] = [
    ("the same", ORDER, ORDER),
    ("anything for something", INT, {}),
    ("something for anything", {}, INT),
    ("an integer for a number", {"type": "number"}, INT),
    ("one of a union", {"anyOf": [TEXT, NULL]}, TEXT),
    ("a pattern is the worker's matter", {"type": "string", "pattern": "^a"}, TEXT),
    ("a field that may be left out", ORDER, {"type": "object", "properties": {"id": TEXT}}),
    ("more fields than needed", {"type": "object", "required": ["id"]}, ORDER),
    ("an open object may have the field", ORDER, {"type": "object", "additionalProperties": True, "properties": {}}),
    ("some of the values", {"enum": ["a", "b"]}, {"enum": ["a"]}),
    ("a schema that contains itself", {"$ref": "#"}, {"$ref": "#"}),
    ("a document elsewhere", {"$ref": "https://example.org/x"}, INT),
]
MISFITS: list[tuple[str, Any, Any, str]] = [
    ("another type", INT, TEXT, "$ takes integer, and is given string"),
    ("a number for an integer", INT, {"type": "number"}, "$ takes integer, and is given number"),
    ("null beside", TEXT, {"anyOf": [TEXT, NULL]}, "$ takes string, and is given null"),
    ("a field that is missing", ORDER, {"type": "object", "properties": {"no": TEXT}}, "$ needs a field 'id'"),
    ("inside", ORDER, {"type": "object", "properties": {"id": INT}}, "$.id takes string, and is given integer"),
    ("in a list", {"type": "array", "items": INT}, {"type": "array", "items": TEXT}, "$[] takes integer"),
    ("in a tuple", {"prefixItems": [INT], "type": "array"}, {"prefixItems": [TEXT], "type": "array"}, "$[0] takes"),
    ("another value", {"enum": ["a"]}, {"enum": ["a", "c"]}, "$ takes one of 1 values"),
    ("true is not 1", {"enum": [1]}, {"const": True}, "$ takes integer, and is given boolean"),
    ("by reference", {"$ref": "#/$defs/n", "$defs": {"n": INT}}, TEXT, "$ takes integer"),
    ("nothing fits false", {"type": "array", "items": False}, {"type": "array", "items": {"const": 1}}, ""),
]


@pytest.mark.parametrize(("wanted", "offered"), [case[1:] for case in FITS], ids=[case[0] for case in FITS])
def test_what_may_fit_is_not_refused(wanted: Any, offered: Any) -> None:
    assert misfit(wanted, offered) == ""


@pytest.mark.parametrize(("wanted", "offered", "told"), [case[1:] for case in MISFITS], ids=[c[0] for c in MISFITS])
def test_what_cannot_fit_is_told_with_its_place(wanted: Any, offered: Any, told: str) -> None:
    assert misfit(wanted, offered).startswith(told)


def test_a_part_has_the_schema_of_its_field() -> None:
    assert at_path(ORDER, ("lines", "3")) == INT
    assert at_path({}, ("any", "thing")) == {}
    assert at_path({"anyOf": [ORDER, NULL]}, ("id",)) == TEXT
    inner = {
        "type": "object",
        "properties": {"n": {"$ref": "#/$defs/n"}},
        "$defs": {"n": {"items": {"$ref": "#/$defs/n"}}},
    }
    assert misfit(INT, at_path(inner, ("n",))) == ""


@pytest.mark.parametrize("path", [("nothing",), ("id", "x"), ("lines", "first")])
def test_a_part_that_no_value_has_is_told(path: tuple[str, ...]) -> None:
    with pytest.raises(NoSuchPart, match=path[-1]):
        at_path(ORDER, path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def exactly(value: Any) -> dict[str, Any]:
    """The schema that a declared type of this value would have."""
    if isinstance(value, dict):
        fields = {name: exactly(part) for name, part in value.items()}
        return {"type": "object", "properties": fields, "required": list(fields)}
    if isinstance(value, list):
        return {"type": "array", "prefixItems": [exactly(part) for part in value]}
    return {"type": type_of(value)}


@given(JSON)
def test_a_schema_fits_itself(value: Any) -> None:
    assert misfit(exactly(value), exactly(value)) == ""


@given(JSON, JSON)
def test_two_that_are_of_different_types_never_fit(one: Any, other: Any) -> None:
    if type_of(one) != type_of(other):
        assert misfit(exactly(one), exactly(other))
