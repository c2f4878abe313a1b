"""Codecs of dataclasses and TypedDicts: JSON objects with known fields.

Fields that the type does not know are left out on the way in, so that a newer sender can serve an older reader.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Mapping
from typing import Any

from sagaline.codecs.codec import Codec, Json, Kind, Mismatch, Schema, expected, field_segment, type_name


@dataclasses.dataclass(frozen=True, slots=True)
class Field:
    """One field of a record."""

    name: str
    codec: Codec
    required: bool


def dataclass_codec(cls: type, codecs: Mapping[str, Codec]) -> Codec:
    """Make the codec of a dataclass from those of its fields. Fields that `__init__` does not take stay here."""
    fields = [_dataclass_field(field, codecs[field.name]) for field in dataclasses.fields(cls) if field.init]
    dumps = [(field.name, field.codec.dump) for field in fields]
    name = type_name(cls)

    def dump(value: Any) -> dict[str, Json]:
        if not isinstance(value, cls):
            raise expected(f"a {name}", value)
        made = {}
        for key, convert in dumps:
            try:
                made[key] = convert(getattr(value, key))
            except Mismatch as mismatch:
                mismatch.segments.append(field_segment(key))
                raise
        return made

    read = _reader([(field.name, field.codec.load, field.required) for field in fields], name)

    def load(tree: Json) -> Any:
        values = read(tree)
        try:
            return cls(**values)
        except (TypeError, ValueError) as error:
            raise Mismatch(f"{name} refuses it: {error}") from error

    return Codec(dump, load, Kind.OBJECT, (cls,), lambda: _schema(fields))


def _dataclass_field(field: dataclasses.Field[Any], codec: Codec) -> Field:
    optional = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
    return Field(field.name, codec, not optional)


def typed_dict_codec(cls: type, codecs: Mapping[str, Codec]) -> Codec:
    """Make the codec of a TypedDict from those of its keys."""
    required = required_keys(cls)
    fields = [Field(name, codec, name in required) for name, codec in codecs.items()]
    name = type_name(cls)
    read = _reader([(field.name, field.codec.load, field.required) for field in fields], name)
    write = _reader([(field.name, field.codec.dump, field.required) for field in fields], name)

    def dump(value: Any) -> dict[str, Json]:
        if not isinstance(value, Mapping):
            raise expected(f"a {name}", value)
        return write(dict(value))

    return Codec(dump, read, Kind.OBJECT, (dict, Mapping), lambda: _schema(fields))


def required_keys(cls: Any) -> frozenset[str]:
    """Return the keys that must be there. The class itself does not know where its annotations were text."""
    found = set(cls.__required_keys__)
    for name, hint in typing.get_type_hints(cls, include_extras=True).items():
        wrapper = typing.get_origin(hint)
        if wrapper is typing.NotRequired:
            found.discard(name)
        elif wrapper is typing.Required:
            found.add(name)
    return frozenset(found)


def _reader(
    fields: list[tuple[str, Callable[[Any], Any], bool]], name: str
) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Make what converts the known fields of an object: (name, conversion, whether it must be there)."""

    def read(tree: dict[str, Any]) -> dict[str, Any]:
        if type(tree) is not dict:
            raise expected(f"an object for {name}", tree)
        made = {}
        for key, convert, required in fields:
            if key in tree:
                try:
                    made[key] = convert(tree[key])
                except Mismatch as mismatch:
                    mismatch.segments.append(field_segment(key))
                    raise
            elif required:
                raise Mismatch(f"{name} needs the field {key!r}", field_segment(key))
        return made

    return read


def _schema(fields: list[Field]) -> Schema:
    schema: Schema = {
        "type": "object",
        "properties": {field.name: field.codec.schema() or {} for field in fields},
    }
    required = [field.name for field in fields if field.required]
    return {**schema, "required": required} if required else schema
