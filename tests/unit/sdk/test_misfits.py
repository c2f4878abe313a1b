"""What cannot be converted is refused with the place and a way out, and nothing of the value is told."""

from __future__ import annotations

import enum
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import InitVar, dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal, Union
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagaline import decode, encode
from sagaline.errors import ConversionError, PayloadTooLarge, TypeNotSupported
from sagaline.limits import PAYLOAD_BYTES
from sagaline.v1 import saga_pb2
from sagaline.v1.payload_pb2 import Payload
from tests.unit.sdk.types_to_convert import (
    Cat,
    Checked,
    Colour,
    Even,
    Everything,
    Model,
    Money,
    Parcel,
    Struct,
    Tree,
    Unwritable,
)

INFINITE = float("inf")


@dataclass
class Line:
    price: float
    count: int = 1


@dataclass
class Order:
    lines: list[Line]
    by_name: dict[str, Line]
    first: tuple[int, Line] | None = None


def path_of(convert: Callable[[], object]) -> str:
    with pytest.raises(ConversionError) as caught:
        convert()
    return caught.value.path


@pytest.mark.parametrize(
    ("json", "declared", "path", "message"),
    [
        ('"x"', int, "$", "expected an integer, got a value of type str"),
        ("true", int, "$", "expected an integer"),
        ("1.5", int, "$", "expected an integer"),
        ("1", bool, "$", "expected a boolean"),
        ("1", str, "$", "expected text"),
        ("null", str, "$", "got null"),
        ("1", None, "$", "expected null"),
        ("{}", list[int], "$", "expected an array, got a value of type dict"),
        ("[]", dict[str, int], "$", "expected an object"),
        ('[1, "x"]', list[int], "$[1]", "expected an integer"),
        ("[1]", tuple[int, str], "$", "expected 2 items, got 1"),
        ('[1, "x"]', tuple[int, int], "$[1]", "expected an integer"),
        ('{"a": 1, "b": "x"}', dict[str, int], "$.b", "expected an integer"),
        ('{"a b": "x"}', dict[str, int], "$['a b']", "expected an integer"),
        ('{"x": 1}', dict[int, int], "$.x", "expected an integer as key"),
        ('{"green": 1}', dict[Colour, int], "$.green", "'blue', 'red'"),
        ('{"lines": [{"price": 1}, {"price": "x"}], "by_name": {}}', Order, "$.lines[1].price", "expected a number"),
        ('{"lines": [], "by_name": {"a": {"price": []}}}', Order, "$.by_name.a.price", "expected a number"),
        ('{"lines": [], "by_name": {}, "first": [1, 2]}', Order, "$.first[1]", "expected an object for Line"),
        ('{"lines": []}', Order, "$.by_name", "Order needs the field 'by_name'"),
        ('{"label": "red"}', Parcel, "$.weight_g", "Parcel needs the field 'weight_g'"),
        ('{"weight_g": 1, "label": "x"}', Parcel, "$.label", "not a value of Colour"),
        (
            '{"name": "a", "children": [{"name": "b", "children": [{}]}]}',
            Tree,
            "$.children[0].children[0].name",
            "Tree needs",
        ),
        ('"green"', Colour, "$", "not a value of Colour, which has 'blue', 'red'"),
        ('"c"', Literal["a", "b"], "$", "not one of 'a', 'b'"),
        ("true", Literal[1], "$", "not one of 1"),
        ("[1]", int | str, "$", "expected int | str, got a value of type list"),
        ('"yesterday"', date, "$", "the text is not a date of ISO 8601"),
        ('"2026-13-01T00:00:00"', datetime, "$", "the text is not a date and time"),
        ('"1 hour"', timedelta, "$", "not a duration of ISO 8601"),
        ('"P"', timedelta, "$", "not a duration of ISO 8601"),
        ('"P1Y"', timedelta, "$", "years and months"),
        ('"P999999999999D"', timedelta, "$", "too long"),
        ('"123"', UUID, "$", "the text is not a UUID"),
        ('"one"', Decimal, "$", "the text is not a decimal number"),
        ('"NaN"', Decimal, "$", "the text is not a decimal number"),
        ('"*"', bytes, "$", "the text is not base64"),
        ("[[]]", set[Any], "$", "cannot be in a set"),
        ('{"number": 3}', Even, "$", "Even refuses it: the number is odd"),
        ('{"positive": 0}', Checked, "$.positive", "greater than 0"),
        ('{"fullName": "a", "lines": [1, "x"]}', Model, "$.lines[1]", "valid integer"),
        ('{"firstName": 3}', Struct, "$.firstName", "Expected `str`, got `int`"),
        ('[{"firstName": "a"}, {"firstName": 3}]', list[Struct], "$[1].firstName", "Expected `str`"),
        ('{"maxAttempts": "x"}', saga_pb2.RetryPolicy, "$.maxAttempts", "not a sagaline.v1.RetryPolicy in JSON"),
    ],
)
def test_the_place_is_told(json: str, declared: Any, path: str, message: str) -> None:
    with pytest.raises(ConversionError) as caught:
        decode(Payload(json=json), declared)
    assert caught.value.path == path
    assert message in caught.value.message
    assert "\n" not in path


@pytest.mark.parametrize(
    ("value", "declared", "path"),
    [
        (object(), Any, "$"),
        ({"a": [1, object()]}, Any, "$.a[1]"),
        ({1: 2}, Any, "$"),
        ({"a": {None: 2}}, Any, "$.a"),
        ([1, complex(1)], list[Any], "$[1]"),
        ("text", list[str], "$"),
        (b"bytes", list[int], "$"),
        ("1", int, "$"),
        (True, int, "$"),
        (True, float, "$"),
        (10**400, float, "$"),
        (datetime(2026, 1, 1, tzinfo=UTC), date, "$"),
        ("2026-01-01", date, "$"),
        ({"price": 1}, Line, "$"),
        (Order([Line(1.0), Line("2")], {}), Order, "$.lines[1].price"),  # type: ignore[arg-type]
        ({"weight_g": "x"}, Parcel, "$.weight_g"),
        ({}, Parcel, "$.weight_g"),
        ("red", Colour, "$"),
        ({"a": 1}, dict[int, int], "$.a"),
        ([1, 2], tuple[int], "$"),
        ([1], set[int], "$"),
        (1.5, int | str, "$"),
        ({"x": 1}, Model, "$"),
        (Cat(1), Struct, "$"),
        (Line(1.0), saga_pb2.RetryPolicy, "$"),
        (saga_pb2.RetryPolicy(), Line, "$"),
        (saga_pb2.RetryPolicy(), saga_pb2.Timeouts, "$"),
    ],
    ids=str,
)
def test_a_value_of_another_type_is_not_sent(value: object, declared: Any, path: str) -> None:
    assert path_of(lambda: encode(value, declared)) == path


@pytest.mark.parametrize(
    ("number", "declared"),
    [
        (float("nan"), list[float]),
        (INFINITE, list[float]),
        (-INFINITE, list[int | float]),
        (Decimal("NaN"), list[Decimal]),
        (Decimal("Infinity"), list[Decimal]),
    ],
)
def test_nan_and_infinity_are_not_sent(number: Any, declared: Any) -> None:
    assert path_of(lambda: encode({"a": [number]})) == "$.a[0]"
    assert path_of(lambda: encode([number], declared)) == "$[0]"


def test_nan_is_not_sent_by_models_and_structs_either() -> None:
    """On their own pydantic and msgspec would write null."""
    path_of(lambda: encode(Model(fullName="a", score=INFINITE)))
    path_of(lambda: encode(Struct("a", score=INFINITE)))


@pytest.mark.parametrize(
    "text", ["NaN", "Infinity", "-Infinity", "1e999", "[1, -1e999]", '{"score": NaN, "fullName": "a"}']
)
@pytest.mark.parametrize("declared", [Any, float, list[float], Model, Struct])
def test_nan_and_infinity_are_not_read(text: str, declared: Any) -> None:
    path_of(lambda: decode(Payload(json=text), declared))


@pytest.mark.parametrize("text", ["", " ", "{", "[1,]", "{'a': 1}", "1 2", "nul", '"\x00"', "9" * 5000])
def test_what_is_not_json_is_refused(text: str) -> None:
    for declared in (Any, int, Model, Struct):
        path_of(lambda declared=declared: decode(Payload(json=text), declared))  # type: ignore[misc]


def test_half_of_a_surrogate_pair_is_refused_both_ways() -> None:
    assert path_of(lambda: encode({"a": ["b", "\ud83d"]})) == "$.a[1]"
    for text in ('"\\ud83d"', '{"\\uDE00": 1}'):
        path_of(lambda text=text: decode(Payload(json=text), Any))  # type: ignore[misc]
    assert decode(Payload(json='"\\ud83d\\ude00"'), str) == "\N{GRINNING FACE}"


def test_endless_and_deep_values_are_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    path_of(lambda: encode(endless))
    path_of(lambda: decode(Payload(json="[" * 100_000), Any))


def test_a_huge_integer_is_refused_rather_than_slow() -> None:
    path_of(lambda: encode(10**5000))
    path_of(lambda: encode([10**5000]))


class Opaque:
    pass


def generator() -> Iterator[int]:
    yield 1


@dataclass
class HasInitVar:
    seed: InitVar[int]


@dataclass
class HasOpaque:
    inner: Opaque


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        (Opaque, "Opaque cannot be a payload: use JSON's own types, dataclasses"),
        (complex, "complex cannot be a payload"),
        (Callable[[], int], "cannot be a payload"),
        (list[Opaque], "Opaque cannot be a payload"),
        (HasOpaque, "the field 'inner' of HasOpaque: Opaque cannot"),
        (HasInitVar, "InitVar 'seed'"),
        (Unwritable, "values of Unwritable must be text or numbers"),
        (dict[Money, int], "cannot be the keys"),
        (dict[float, int], "cannot be the keys"),
        (Money | Line, "JSON cannot tell the members"),
        (str | datetime, "JSON cannot tell the members"),
        (list[int] | set[int], "JSON cannot tell the members"),
        (Literal[b"x"], "literals of a payload"),
        ("Money", "is not resolved"),
        (Union["Money", None], "is not resolved"),
        (type[int], "cannot be a payload"),
    ],
    ids=str,
)
def test_types_that_no_payload_can_carry(declared: Any, message: str) -> None:
    for convert in (lambda: encode(None, declared), lambda: decode(Payload(), declared)):
        with pytest.raises(TypeNotSupported) as caught:
            convert()
        assert message in str(caught.value)
        assert caught.value.code == "TYPE_NOT_SUPPORTED"


def test_an_annotation_that_cannot_be_resolved_is_told() -> None:
    class Elsewhere:
        pass

    @dataclass
    class Local:
        other: Elsewhere

    with pytest.raises(TypeNotSupported, match="cannot be resolved"):
        encode(Local(Elsewhere()), Local)


def test_payloads_of_other_encodings_are_refused() -> None:
    data = saga_pb2.RetryPolicy(max_attempts=3).SerializeToString()
    encrypted = Payload(data=data, encoding="binary/encrypted")
    with pytest.raises(ConversionError, match="binary/encrypted"):
        decode(encrypted, saga_pb2.RetryPolicy)
    message = encode(saga_pb2.RetryPolicy(max_attempts=3))
    with pytest.raises(ConversionError, match=r"expected the message sagaline\.v1\.Timeouts"):
        decode(message, saga_pb2.Timeouts)
    with pytest.raises(ConversionError, match="got a protobuf message"):
        decode(message, int)
    with pytest.raises(ConversionError, match="the bytes are not"):
        decode(Payload(data=b"\xff", encoding="binary/protobuf"), saga_pb2.RetryPolicy)


@pytest.mark.parametrize("char", ["a", "é", "\N{GRINNING FACE}"])
def test_a_payload_of_256_kib_passes_and_one_byte_more_does_not(char: str) -> None:
    overhead = encode("x" * (PAYLOAD_BYTES // 2)).ByteSize() - PAYLOAD_BYTES // 2
    room = PAYLOAD_BYTES - overhead
    fits = char * (room // len(char.encode())) + "a" * (room % len(char.encode()))
    assert encode(fits).ByteSize() == PAYLOAD_BYTES
    with pytest.raises(PayloadTooLarge) as caught:
        encode(fits + "a")
    assert (caught.value.size_bytes, caught.value.limit_bytes) == (PAYLOAD_BYTES + 1, PAYLOAD_BYTES)
    assert caught.value.code == "PAYLOAD_TOO_LARGE"


def test_a_message_over_the_limit_is_refused() -> None:
    with pytest.raises(PayloadTooLarge):
        encode(saga_pb2.Graph(name="x" * PAYLOAD_BYTES))


SECRET = "4242-4242"


class Cup(msgspec.Struct):
    colour: Colour


LEAKS: list[Callable[[], object]] = [
    lambda: encode({"card": SECRET}, dict[str, int]),
    lambda: decode(encode({"card": SECRET}), dict[str, int]),
    lambda: decode(encode({"fullName": [SECRET]}), Model),
    lambda: decode(encode({"firstName": [SECRET]}), Struct),
    lambda: decode(encode({"colour": SECRET}), Cup),
    lambda: decode(encode({"maxAttempts": SECRET}), saga_pb2.RetryPolicy),
    lambda: decode(encode({"jitter": SECRET}), saga_pb2.RetryPolicy),
    lambda: decode(encode(SECRET), saga_pb2.RetryPolicy),
    lambda: decode(encode(SECRET), Colour),
    lambda: decode(encode(SECRET), Literal["a"]),
    lambda: decode(encode(SECRET), UUID),
    lambda: decode(encode(SECRET), Decimal),
    lambda: decode(encode(SECRET), datetime),
    lambda: decode(Payload(json=f'{{"fullName": {SECRET}'), Model),
    lambda: encode(Model.model_construct(full_name="a", lines=[SECRET]), Model),
]


@pytest.mark.parametrize("convert", LEAKS)
def test_no_error_tells_the_value(convert: Callable[[], object]) -> None:
    """Errors are logged, with their causes; values may be secret."""
    with pytest.raises(ConversionError) as caught:
        convert()
    told = "".join(traceback.format_exception(caught.value))
    assert SECRET not in told.replace(inspect.getsource(sys.modules[__name__]), "")


def test_what_libraries_say_is_told() -> None:
    for convert, path, message in (
        (lambda: encode(Model.model_construct(full_name="a", score="x"), Model), "$.score", "expected float"),
        (lambda: decode(encode({"colour": "x"}), Cup), "$.colour", "Invalid enum value '…'"),
        (lambda: decode(encode({"jitter": "x"}), saga_pb2.RetryPolicy), "$.jitter", "not a sagaline.v1.RetryPolicy"),
        (lambda: encode(Cup(object()), Cup), "$", "msgspec cannot write it"),  # type: ignore[arg-type]
    ):
        with pytest.raises(ConversionError) as caught:
            convert()
        assert caught.value.path == path
        assert message in caught.value.message


@given(st.text(max_size=60), st.sampled_from([Any, int, Everything, Order, Model, Struct, Cat, Parcel, dict[int, str]]))
def test_whatever_text_comes_only_conversion_errors_are_raised(text: str, declared: Any) -> None:
    try:
        payload = Payload(json=text)
    except UnicodeEncodeError:
        return
    with suppress(ConversionError):
        decode(payload, declared)


class Recursive(enum.Enum):
    A = "a"


def test_a_class_of_plain_python_with_nothing_declared() -> None:
    """Subclasses of JSON's own types are written as those."""

    class Text(str):
        __slots__ = ()

    class Names(dict[str, int]):
        pass

    class Row(list[int]):
        pass

    assert (
        encode([Text("a"), Names(b=1), Row([2]), Recursive.A, (1,), frozenset({3})]).json
        == '["a",{"b":1},[2],"a",[1],[3]]'
    )
