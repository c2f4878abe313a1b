"""Values and payloads: `encode` turns a value into a `Payload`, `decode` turns one back into a value of a known type.

| Python | JSON |
| --- | --- |
| None, bool, int, float, str | itself; NaN and infinity are refused |
| list, tuple, Sequence; set, frozenset | array; sets in the order of their items' JSON |
| dict, Mapping | object; keys are text, or what is text or an integer in JSON |
| dataclass, TypedDict | object; unknown fields are ignored, absent ones take their default |
| Enum, Literal | their values |
| datetime, date, time, timedelta | text of ISO 8601 |
| UUID, Decimal | text |
| bytes | base64 text |
| pydantic model, msgspec struct | what pydantic or msgspec make of it |
| protobuf message | as the whole value: its bytes; inside other values: its JSON mapping |

`X | None` is `X` or null. Other unions work where JSON can tell their members apart. A value is converted by its
*declared* type, where there is one (an action's annotations): fields that a subclass adds stay behind.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias, TypeVar, overload

from google.protobuf.message import DecodeError, EncodeError, Message

from sagaline.codecs import foreign
from sagaline.codecs.codec import Codec, Json, Mismatch, Unsupported, type_name
from sagaline.codecs.compiler import ANY, codec_of
from sagaline.codecs.compiler import JsonValue as _AnyJson
from sagaline.errors import ConversionError, PayloadTooLarge, TypeNotSupported
from sagaline.limits import PAYLOAD_BYTES, TYPE_SPEC_BYTES
from sagaline.v1.payload_pb2 import Payload, TypeSpec

if TYPE_CHECKING:
    JsonValue: TypeAlias = "dict[str, JsonValue] | list[JsonValue] | str | int | float | bool | None"
    """Any JSON value, for parameters that take whatever comes."""
else:
    JsonValue = _AnyJson

T = TypeVar("T")

PROTOBUF_ENCODING: Final = "binary/protobuf"
MESSAGE_TYPE: Final = "message_type"
"""Key of `Payload.metadata`: the full name of a protobuf message."""

_SHORT_CHARS: Final = PAYLOAD_BYTES // 4 - 64
"""Text of so few characters is under the limit however many bytes each one takes."""


def encode(value: object, declared: Any = Any) -> Payload:
    """Turn a value into a payload.

    Args:
        value: The value.
        declared: Its type. Without it every part of the value is converted by its own class.

    Raises:
        ConversionError: The value does not fit the type, or is not JSON: `path` says where.
        TypeNotSupported: No payload can carry the type.
        PayloadTooLarge: It has more than 256 KiB.
    """
    if isinstance(value, Message):
        return _encode_message(value, declared)
    try:
        tree = ANY.dump(value) if declared is Any else codec_of(declared).dump(value)
        text = _to_text(tree)
    except Mismatch as mismatch:
        raise ConversionError(mismatch.message, mismatch.path) from mismatch.__cause__
    except Unsupported as problem:
        raise TypeNotSupported(str(problem)) from problem.__cause__
    except RecursionError:
        raise ConversionError("the value contains itself, or is nested too deep") from None
    payload = Payload(json=text)
    if len(text) > _SHORT_CHARS:
        check_size(payload)
    return payload


@overload
def decode(payload: Payload | None) -> Any: ...
@overload
def decode(payload: Payload | None, declared: type[T]) -> T: ...
@overload
def decode(payload: Payload | None, declared: Any) -> Any: ...
def decode(payload: Payload | None, declared: Any = Any) -> Any:
    """Turn a payload into a value.

    Args:
        payload: The payload. None, and one without a value, is the JSON null.
        declared: Type of the value. Without it JSON comes back as it is: dicts, lists and scalars.

    Raises:
        ConversionError: The payload does not hold such a value: `path` says where.
        TypeNotSupported: No payload can carry the type.
    """
    try:
        held = None if payload is None else payload.WhichOneof("value")
        if payload is not None and held == "data":
            return _decode_data(payload, declared)
        text = payload.json if payload is not None and held == "json" else "null"
        codec = ANY if declared is Any else codec_of(declared)
        return _from_text(text, codec)
    except Mismatch as mismatch:
        raise ConversionError(mismatch.message, mismatch.path) from mismatch.__cause__
    except Unsupported as problem:
        raise TypeNotSupported(str(problem)) from problem.__cause__
    except RecursionError:
        raise ConversionError("the value is nested too deep") from None


def check_size(payload: Payload) -> None:
    """Refuse a payload that is over the limit.

    Raises:
        PayloadTooLarge: It has more than 256 KiB, encoded.
    """
    size = payload.ByteSize()
    if size > PAYLOAD_BYTES:
        raise PayloadTooLarge(
            f"the value has {size} bytes; a payload has at most {PAYLOAD_BYTES}: store it elsewhere, pass its key",
            size_bytes=size,
            limit_bytes=PAYLOAD_BYTES,
        )


def type_spec(declared: Any) -> TypeSpec | None:
    """Return what a payload of the type looks like, for graphs and workers to be compared by.

    None where nothing short can be said of it: for `Any`, for types that contain themselves, and for schemas of more
    than 16 KiB.

    Raises:
        TypeNotSupported: No payload can carry the type.
    """
    if foreign.is_message(declared):
        return TypeSpec(message_name=declared.DESCRIPTOR.full_name)
    try:
        schema = codec_of(declared).schema()
    except Unsupported as problem:
        raise TypeNotSupported(str(problem)) from problem.__cause__
    if not schema:
        return None
    text = json.dumps(schema, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return TypeSpec(json_schema=text) if len(text.encode()) <= TYPE_SPEC_BYTES else None


def check_type(declared: Any) -> None:
    """Refuse a type that no payload can carry.

    Raises:
        TypeNotSupported: It is one; the message names what can be used instead.
    """
    try:
        codec_of(declared)
    except Unsupported as problem:
        raise TypeNotSupported(str(problem)) from problem.__cause__


def _encode_message(message: Message, declared: Any) -> Payload:
    if foreign.is_message(declared) and not isinstance(message, declared):
        raise ConversionError(f"expected a {type_name(declared)}, got a value of type {type_name(type(message))}")
    if declared is not Any and not foreign.is_message(declared):
        raise ConversionError(f"expected {type_name(declared)}, got a protobuf message")
    try:
        data = message.SerializeToString(deterministic=True)
    except EncodeError as error:
        raise ConversionError(f"protobuf cannot write it: {error}") from error
    metadata = {MESSAGE_TYPE: message.DESCRIPTOR.full_name}
    payload = Payload(data=data, encoding=PROTOBUF_ENCODING, metadata=metadata)
    check_size(payload)
    return payload


def _decode_data(payload: Payload, declared: Any) -> Any:
    if payload.encoding != PROTOBUF_ENCODING:
        raise Mismatch(f"the payload is encoded as {payload.encoding!r}, which this SDK does not know")
    if not foreign.is_message(declared):
        raise Mismatch(f"expected {type_name(declared)}, got a protobuf message")
    name = payload.metadata.get(MESSAGE_TYPE, declared.DESCRIPTOR.full_name)
    if name != declared.DESCRIPTOR.full_name:
        raise Mismatch(f"expected the message {declared.DESCRIPTOR.full_name}, got {name}")
    try:
        return declared.FromString(payload.data)
    except DecodeError as error:
        raise Mismatch(f"the bytes are not a {name}") from error


def _refuse_constant(name: str) -> NoReturn:
    raise Mismatch(f"{name} is not JSON")


def _parse_float(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise Mismatch("a number is too large for a float")
    return number


_WRITE: Final = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
).encode
_READER: Final = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_parse_float)

_ODD: Final = re.compile(r"NaN|Infinity|[0-9][eE]\+?[0-9]{3}|[0-9]{300}|\\u[dD]")
"""What may be something that JSON does not allow and pydantic or msgspec do."""


def _to_text(tree: Json) -> str:
    if tree is None:
        return "null"
    try:
        text = int.__repr__(tree) if type(tree) is int else _WRITE(tree)
    except ValueError as error:  # an integer of more digits than Python writes
        raise Mismatch(f"not JSON: {error}") from error
    if not text.isascii():
        _refuse_surrogates(tree, text)
    return text


def _from_text(text: str, codec: Codec) -> Any:
    """Read JSON text as RFC 8259 has it, which Python and pydantic are laxer than."""
    if codec.load_text is not None and not _ODD.search(text):
        return codec.load_text(text)
    try:
        tree = _read(text)
    except ValueError as error:
        raise Mismatch(f"the payload is not JSON: {_json_problem(error)}") from None
    if "\\ud" in text or "\\uD" in text:
        _refuse_surrogates(tree, _WRITE(tree))
    return codec.load(tree)


def _read(text: str) -> Json:
    """Read JSON text. The way without looking for space around the value is the quicker one."""
    if text[:1] not in _SPACE:
        tree, end = _READER.raw_decode(text)
        if end == len(text):
            return tree
    return _READER.decode(text)


_SPACE: Final = ("", " ", "\t", "\n", "\r")


def _json_problem(error: ValueError) -> str:
    return f"{error.msg} at character {error.pos}" if isinstance(error, json.JSONDecodeError) else str(error)


def _refuse_surrogates(tree: Json, text: str) -> None:
    """Refuse text with half a surrogate pair, which UTF-8 has no bytes for."""
    try:
        text.encode()
    except UnicodeEncodeError:
        segments = _surrogate_path(tree) or []
        raise Mismatch("the text has half of a surrogate pair, which is not Unicode", *segments) from None


def _surrogate_path(tree: Json) -> list[str] | None:
    """Return where the half pair is, innermost segment first; None if it is not in here."""
    if isinstance(tree, str):
        return [] if any("\ud800" <= char <= "\udfff" for char in tree) else None
    pairs = enumerate(tree) if isinstance(tree, list) else tree.items() if isinstance(tree, Mapping) else ()
    for key, item in pairs:
        if isinstance(key, str) and _surrogate_path(key) is not None:
            return []
        found = _surrogate_path(item)
        if found is not None:
            return [*found, f"[{key}]" if isinstance(key, int) else f".{key}"]
    return None
