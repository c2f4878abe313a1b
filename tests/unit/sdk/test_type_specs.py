"""What is said of types to the server."""

from __future__ import annotations

import json
from dataclasses import make_dataclass
from typing import Any

import pytest

from sagaline.errors import TypeNotSupported
from sagaline.limits import TYPE_SPEC_BYTES
from sagaline.v1 import saga_pb2
from sagaline.values import type_spec
from tests.unit.sdk.types_to_convert import Box, Colour, Everything, Model, Money, Parcel, Struct, Tree


def schema(declared: Any) -> Any:
    spec = type_spec(declared)
    assert spec is not None
    return json.loads(spec.json_schema)


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        (int, {"type": "integer"}),
        (None, {"type": "null"}),
        (str | None, {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        (list[float], {"type": "array", "items": {"type": "number"}}),
        (dict[str, Any], {"type": "object", "additionalProperties": {}}),
        (Colour, {"enum": ["blue", "red"]}),
        (
            Money,
            {
                "type": "object",
                "properties": {
                    "amount": {"type": ["string", "number"], "format": "decimal"},
                    "currency": {"type": "string"},
                },
                "required": ["amount"],
            },
        ),
        (
            Parcel,
            {
                "type": "object",
                "properties": {"weight_g": {"type": "integer"}, "label": {"enum": ["blue", "red"]}},
                "required": ["weight_g"],
            },
        ),
    ],
    ids=str,
)
def test_schemas_of_python_s_own_types(declared: Any, expected: object) -> None:
    assert schema(declared) == expected


def test_schemas_of_libraries_are_their_own() -> None:
    assert schema(Model) == Model.model_json_schema()
    assert "firstName" in schema(Struct)["$defs"]["Struct"]["properties"]


def test_every_kind_of_type_has_a_schema() -> None:
    properties = schema(Everything)["properties"]
    assert set(properties) == set(Everything.__dataclass_fields__)
    assert all(properties[name] for name in properties)


def test_equal_types_are_equal_text() -> None:
    assert type_spec(Box[int]) == type_spec(Box[int])


def test_a_message_is_named() -> None:
    assert type_spec(saga_pb2.RetryPolicy) == type_spec(saga_pb2.RetryPolicy)
    spec = type_spec(saga_pb2.RetryPolicy)
    assert spec is not None
    assert spec.message_name == "sagaline.v1.RetryPolicy"


def test_where_nothing_short_can_be_said_nothing_is() -> None:
    assert type_spec(Any) is None
    many = make_dataclass("Many", [(f"a_long_name_of_a_field_{number}", int) for number in range(500)])
    assert type_spec(many) is None
    assert len(json.dumps(schema(Everything))) < TYPE_SPEC_BYTES


def test_a_type_inside_itself_is_open_there() -> None:
    assert schema(Tree)["properties"]["children"]["items"] == {}


def test_types_that_cannot_be_sent_have_no_spec() -> None:
    with pytest.raises(TypeNotSupported):
        type_spec(complex)
