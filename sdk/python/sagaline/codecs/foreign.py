"""Codecs of the types of pydantic, msgspec and protobuf.

What these libraries say of a value that does not fit is told without the value, which they like to quote.

None of the three is imported here: a program that has values of such a type has imported the library itself, and so
it is found among the loaded modules.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any

from google.protobuf.message import Message

from sagaline.codecs.codec import (
    Codec,
    Json,
    Kind,
    Mismatch,
    Schema,
    Unsupported,
    expected,
    field_segment,
    type_name,
)


def is_message(declared: object) -> bool:
    """Say whether this is the class of a protobuf message."""
    return isinstance(declared, type) and issubclass(declared, Message) and hasattr(declared, "DESCRIPTOR")


def is_pydantic(declared: object) -> bool:
    """Say whether this is a model or dataclass of pydantic."""
    return "pydantic" in sys.modules and isinstance(declared, type) and hasattr(declared, "__pydantic_validator__")


def is_struct(declared: object) -> bool:
    """Say whether this is a struct of msgspec."""
    msgspec: Any = sys.modules.get("msgspec")
    return msgspec is not None and isinstance(declared, type) and issubclass(declared, msgspec.Struct)


def pydantic_codec(declared: Any, classes: tuple[type, ...]) -> Codec:
    """Make the codec of whatever pydantic can adapt: its own validation, with aliases as in its own JSON."""
    pydantic: Any = sys.modules["pydantic"]
    try:
        adapter: Any = pydantic.TypeAdapter(declared)
    except pydantic.errors.PydanticUserError as error:
        raise Unsupported(f"pydantic cannot adapt {type_name(declared)}: {error}") from error

    def dump(value: Any) -> Json:
        if not isinstance(value, classes):
            raise expected(f"a {type_name(declared)}", value)
        try:
            return adapter.dump_python(value, mode="json", by_alias=True, warnings="error")
        except ValueError as error:  # pydantic's serialization errors are such
            raise _unwritable(error) from None

    def load_text(text: str) -> Any:
        try:
            return adapter.validate_json(text)
        except pydantic.ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            message = "the tag is none of the union's" if first["type"] == "union_tag_invalid" else first["msg"]
            raise Mismatch(message, *map(_segment, reversed(first["loc"]))) from None

    def load(tree: Json) -> Any:
        return load_text(_text(tree))

    def schema() -> Schema | None:
        found: Schema = adapter.json_schema()
        return found

    return Codec(dump, load, Kind.OBJECT if all(map(_is_object, classes)) else Kind.ANY, classes, schema, load_text)


def _is_object(cls: type) -> bool:
    """Say whether pydantic writes the class as an object: root models may be anything."""
    return is_pydantic(cls) and not getattr(cls, "__pydantic_root_model__", False)


def _unwritable(error: ValueError) -> Mismatch:
    """Say what pydantic expected in the first field that it cannot write, and not what it found there."""
    found = re.search(r"Expected `([^`]*)`[^\[]*\[field_name='(\w+)'", str(error))
    if found is None:
        return Mismatch("pydantic cannot write it")
    return Mismatch(f"expected {found[1]}", field_segment(found[2]))


def _segment(location: str | int) -> str:
    return f"[{location}]" if isinstance(location, int) else field_segment(location)


def _text(tree: Json) -> str:
    return json.dumps(tree)


def struct_codec(declared: Any, classes: tuple[type, ...]) -> Codec:
    """Make the codec of a msgspec struct, or a union of tagged ones: what msgspec itself would write and read."""
    msgspec: Any = sys.modules["msgspec"]
    decoder: Any = msgspec.json.Decoder(declared)

    def dump(value: Any) -> Json:
        if not isinstance(value, classes):
            raise expected(f"a {type_name(declared)}", value)
        try:
            return msgspec.to_builtins(value, str_keys=True)
        except (TypeError, ValueError) as error:
            raise Mismatch(f"msgspec cannot write it: {_without_values(error)}") from None

    def load(tree: Json) -> Any:
        try:
            return msgspec.convert(tree, declared, str_keys=True)
        except msgspec.ValidationError as error:
            raise _struct_mismatch(error) from None

    def load_text(text: str) -> Any:
        try:
            return decoder.decode(text)
        except msgspec.DecodeError as error:  # the validation error is one of these
            raise _struct_mismatch(error) from None

    def schema() -> Schema | None:
        found: Schema = msgspec.json.schema(declared)
        return found

    arrays = any(struct_config(cls).array_like for cls in classes)
    return Codec(dump, load, Kind.ARRAY if arrays else Kind.OBJECT, classes, schema, load_text)


def struct_config(cls: Any) -> Any:
    """Return how a struct is written."""
    return cls.__struct_config__


def _struct_mismatch(error: Exception) -> Mismatch:
    """Take apart what msgspec says: "Expected `int`, got `str` - at `$.lines[0].count`"."""
    message, _, place = _without_values(error).partition(" - at `$")
    return Mismatch(message, place.rstrip("`")) if place else Mismatch(message)


def _without_values(error: Exception) -> str:
    """Return what msgspec says, without the value that it quotes."""
    return re.sub(r"'.*'", "'…'", str(error), flags=re.DOTALL)


def message_codec(cls: type[Message]) -> Codec:
    """Make the codec of a protobuf message inside other values, and of JSON that a client wrote for it by hand."""
    from google.protobuf import json_format  # noqa: PLC0415 - takes longer to import than the rest of the SDK

    name = cls.DESCRIPTOR.full_name

    def dump(value: Any) -> Json:
        if not isinstance(value, cls):
            raise expected(f"a {name}", value)
        return json_format.MessageToDict(value)

    is_object = cls.DESCRIPTOR.file.package != "google.protobuf"  # Timestamp and the like have forms of their own

    def load(tree: Json) -> Message:
        if is_object and type(tree) is not dict:
            raise expected(f"an object for {name}", tree)
        try:
            return json_format.ParseDict(tree, cls(), ignore_unknown_fields=True)
        except json_format.ParseError as error:
            raise _message_mismatch(error, cls) from None

    return Codec(dump, load, Kind.OBJECT if is_object else Kind.ANY, (cls,))


def _message_mismatch(error: Exception, cls: type[Message]) -> Mismatch:
    """Name the field that protobuf names, and not the value that it quotes."""
    found = re.search(rf"parse (\w+) field| at {cls.DESCRIPTOR.name}\.(\w+)", str(error))
    field = (found[1] or found[2]) if found else ""
    known = field in cls.DESCRIPTOR.fields_by_camelcase_name or field in cls.DESCRIPTOR.fields_by_name
    return Mismatch(f"not a {cls.DESCRIPTOR.full_name} in JSON", *([field_segment(field)] if known else []))
