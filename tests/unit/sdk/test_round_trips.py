"""What goes in comes out: every type, with values that hypothesis makes up."""

from __future__ import annotations

import json
from datetime import timedelta, timezone
from decimal import Decimal
from typing import Annotated, Any, Literal

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from sagaline import JsonValue, decode, encode
from sagaline.v1 import saga_pb2
from sagaline.v1.payload_pb2 import Payload
from tests.unit.sdk.types_to_convert import (
    Box,
    Cash,
    Cat,
    Checked,
    Colour,
    Derived,
    Dog,
    Everything,
    Holder,
    Level,
    Mixed,
    Model,
    Money,
    Names,
    Parcel,
    Row,
    Sku,
    Struct,
    Tree,
    Visa,
)

offsets = st.integers(-1439, 1439).map(lambda minutes: timedelta(minutes=minutes))
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
numbers = st.floats(allow_nan=False, allow_infinity=False)
decimals = st.decimals(allow_nan=False, allow_infinity=False)
moneys = st.builds(Money, decimals, texts)
trees = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)
everything = st.builds(
    Everything,
    text=texts,
    number=st.integers(),
    share=numbers,
    flag=st.booleans(),
    colour=st.sampled_from(Colour),
    level=st.sampled_from(Level),
    at=st.datetimes(timezones=st.none() | st.builds(timezone, offsets)),
    day=st.dates(),
    clock=st.times(),
    span=st.timedeltas(),
    id=st.uuids(),
    price=moneys,
    raw=st.binary(max_size=30),
    sku=texts.map(Sku),
    kind=st.sampled_from(["a", "b", 3, None]),
    pair=st.tuples(st.integers(), texts),
    many=st.lists(numbers, max_size=3).map(tuple),
    tags=st.frozensets(texts, max_size=4),
    prices=st.lists(moneys, max_size=3),
    by_name=st.dictionaries(texts, moneys, max_size=3),
    by_number=st.dictionaries(st.integers(), st.lists(texts, max_size=2), max_size=3),
    by_colour=st.dictionaries(st.sampled_from(Colour), st.integers(), max_size=2),
    words=st.lists(texts, max_size=3),
    maybe=st.none() | moneys,
    either=st.none() | st.integers() | texts | st.lists(st.integers(), max_size=3),
    note=texts,
    extra=st.dictionaries(texts, trees, max_size=2),
)


@given(trees)
def test_json_comes_back_as_it_was(tree: JsonValue) -> None:
    payload = encode(tree)
    assert decode(payload) == tree
    assert json.loads(payload.json) == tree


@given(everything)
def test_a_dataclass_of_all_types_comes_back(value: Everything) -> None:
    payload = encode(value, Everything)
    back = decode(payload, Everything)
    assert back == value
    assert payload == encode(value), "with and without a declared type the payload is the same"
    assert Payload.FromString(payload.SerializeToString()) == payload


@given(st.timedeltas())
def test_durations_are_exact(span: timedelta) -> None:
    assert decode(encode(span), timedelta) == span


@given(decimals)
def test_decimals_keep_their_digits(number: Decimal) -> None:
    assert str(decode(encode(number), Decimal)) == str(number)


TREE = Tree("root", [Tree("leaf"), Tree("branch", [Tree("twig", parent_name="branch")])])


@pytest.mark.parametrize(
    ("value", "declared"),
    [
        (None, None),
        (TREE, Tree),
        ([TREE], list[Tree]),
        (Box(1, [2, 3]), Box[int]),
        (Box(Money(Decimal("1.50")), []), Box[Money]),
        (Mixed.TEXT, Mixed),
        (Mixed.NUMBER, Mixed),
        ({"weight_g": 5}, Parcel),
        ({"weight_g": 5, "label": Colour.RED}, Parcel),
        (Struct("Ada", score=1.5), Struct),
        ([Struct("Ada")], list[Struct]),
        (Cat(9), Cat | Dog),
        (Dog("Rex"), Cat | Dog | None),
        (None, Cat | Dog | None),
        (Row(1, "x"), Row),
        (Row(1, "x"), Row | str),
        (Model(fullName="Ada", lines=[1]), Model),
        ({"a": Model(fullName="Ada")}, dict[str, Model]),
        (Visa(number="4242"), Visa | Cash),
        (Cash(), Annotated[Visa | Cash, "discriminated by kind"]),
        (Names(["a", "b"]), Names),
        (Checked(3), Checked),
        (Holder(Model(fullName="Ada"), Struct("Bob"), "text"), Holder),
        (Holder(Model(fullName="Ada"), Struct("Bob"), Model(fullName="Eve")), Holder),
        (3, int | float),
        (3.5, int | float),
        (True, bool | int),
        (1, bool | int),
        ("b", Literal["a", "b"]),
        ({1: "a", -2: "b"}, dict[int, str]),
        ({Level.HIGH: 1}, dict[Level, int]),
        ((), tuple[()]),
        ({1, 2}, set[int]),
        ([1, "x", None], list[JsonValue]),
        (Sku("abc"), Sku),
    ],
    ids=lambda value: str(value)[:40],
)
def test_it_comes_back(value: object, declared: Any) -> None:
    back = decode(encode(value, declared), declared)
    assert back == value
    assert type(back) is type(value)


def test_an_integer_serves_where_a_float_is_declared() -> None:
    back = decode(encode(3, float), float)
    assert back == 3.0
    assert type(back) is float


def test_a_whole_float_of_another_language_serves_as_an_integer() -> None:
    assert type(decode(Payload(json="3.0"), int)) is int


def test_nothing_is_null() -> None:
    for payload in (None, Payload(), Payload(json="null")):
        assert decode(payload, str | None) is None
    assert encode(None).json == "null"


def test_equal_sets_are_equal_bytes() -> None:
    words = [f"word-{number}" for number in range(50)]
    rotated = words[25:] + words[:25]
    assert encode(set(words)) == encode(set(rotated))


def test_space_around_json_does_not_matter() -> None:
    assert decode(Payload(json=' \n{"a": 1} \t'), dict[str, int]) == {"a": 1}


def test_a_declared_type_leaves_a_subclass_s_fields_behind() -> None:
    value = Derived(Decimal(1), "EUR", 5)
    assert decode(encode(value, Money), Money) == Money(Decimal(1), "EUR")
    assert json.loads(encode(value).json) == {"amount": "1", "currency": "EUR", "hidden": 5}


def test_a_protobuf_message_keeps_its_bytes_and_its_type() -> None:
    policy = saga_pb2.RetryPolicy(max_attempts=3, initial_backoff=Duration(seconds=1))
    payload = encode(policy)
    assert payload.data == policy.SerializeToString()
    assert payload.encoding == "binary/protobuf"
    assert dict(payload.metadata) == {"message_type": "sagaline.v1.RetryPolicy"}
    assert decode(payload, saga_pb2.RetryPolicy) == policy


def test_a_protobuf_message_inside_other_values_is_its_json() -> None:
    at = Timestamp(seconds=1)
    payload = encode({"at": [at]}, dict[str, list[Timestamp]])
    assert payload.json == '{"at":["1970-01-01T00:00:01Z"]}'
    assert decode(payload, dict[str, list[Timestamp]]) == {"at": [at]}


def test_json_that_a_person_wrote_serves_as_a_message() -> None:
    assert decode(Payload(json='{"maxAttempts": 3}'), saga_pb2.RetryPolicy).max_attempts == 3


def test_libraries_write_their_own_names() -> None:
    assert encode(Struct("Ada")).json == '{"firstName":"Ada","born":null,"score":0.0}'
    assert json.loads(encode(Model(fullName="Ada")).json)["fullName"] == "Ada"


def test_a_newer_sender_serves_an_older_reader() -> None:
    assert decode(Payload(json='{"amount": "1", "colour": "red"}'), Money) == Money(Decimal(1), "EUR")
    assert decode(Payload(json='{"weight_g": 1, "colour": "red"}'), Parcel) == {"weight_g": 1}
