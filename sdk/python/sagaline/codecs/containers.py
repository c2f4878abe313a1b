"""Codecs of lists, sets, tuples and dicts, made of the codecs of what they hold."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

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


def list_codec(item: Codec) -> Codec:
    """Make the codec of list[item], which also takes other sequences but text."""

    def dump(values: Any) -> list[Json]:
        if not isinstance(values, Sequence) or isinstance(values, str | bytes | bytearray | memoryview):
            raise expected("a list", values)
        return each(item.dump, values)

    def load(tree: Json) -> list[Any]:
        return each(item.load, _array(tree))

    return Codec(dump, load, Kind.ARRAY, (list, tuple), lambda: _array_schema(item))


def set_codec(item: Codec, cls: type[set[Any] | frozenset[Any]]) -> Codec:
    """Make the codec of a set: an array in the order of its items' JSON, so that equal sets are equal bytes."""

    def dump(values: Any) -> list[Json]:
        if not isinstance(values, set | frozenset):
            raise expected("a set", values)
        return sorted(each(item.dump, list(values)), key=json.dumps)

    def load(tree: Json) -> Collection[Any]:
        try:
            return cls(each(item.load, _array(tree)))
        except TypeError:
            raise Mismatch("an item cannot be in a set: it can change") from None

    return Codec(dump, load, Kind.ARRAY, (set, frozenset), lambda: {**_array_schema(item), "uniqueItems": True})


def endless_tuple_codec(item: Codec) -> Codec:
    """Make the codec of tuple[item, ...]."""
    as_list = list_codec(item)
    return Codec(as_list.dump, lambda tree: tuple(as_list.load(tree)), Kind.ARRAY, as_list.classes, as_list.schema)


def tuple_codec(items: Sequence[Codec]) -> Codec:
    """Make the codec of a tuple of fixed length."""
    dumps = [item.dump for item in items]
    loads = [item.load for item in items]

    def dump(values: Any) -> list[Json]:
        if not isinstance(values, tuple | list):
            raise expected("a tuple", values)
        return _each_its_own(dumps, values)

    def load(tree: Json) -> tuple[Any, ...]:
        return tuple(_each_its_own(loads, _array(tree)))

    def schema() -> Schema:
        inner = [item.schema() or {} for item in items]
        return {"type": "array", "prefixItems": inner, "minItems": len(inner), "maxItems": len(inner)}

    return Codec(dump, load, Kind.ARRAY, (tuple, list), schema)


def dict_codec(key: Codec, value: Codec, declared: object) -> Codec:
    """Make the codec of a dict; its keys are text, or what is text or an integer in JSON."""
    numbers = key.kind == Kind.NUMBER and float not in key.classes
    if not numbers and Kind.STRING not in key.kind:
        raise Unsupported(f"the keys of {type_name(declared)} cannot be the keys of a JSON object; use str or int")
    plain = key.classes == (str,)

    def dump_key(item: Any) -> str:
        dumped = key.dump(item)
        return str(dumped) if numbers else dumped

    def load_key(text: str) -> Any:
        if not numbers:
            return key.load(text)
        if not text.removeprefix("-").isdecimal():
            raise expected("an integer as key", text)
        return key.load(int(text))

    def dump(items: Any) -> dict[str, Json]:
        if not isinstance(items, Mapping):
            raise expected("a dict", items)
        if plain:
            return _each_value(value.dump, items, check_key=True)
        keyed = dict(zip(_each_key(dump_key, items), items.values(), strict=True))
        return _each_value(value.dump, keyed)

    def load(tree: Json) -> dict[Any, Any]:
        if type(tree) is not dict:
            raise expected("an object", tree)
        loaded = _each_value(value.load, tree)
        return loaded if plain else dict(zip(_each_key(load_key, tree), loaded.values(), strict=True))

    return Codec(
        dump,
        load,
        Kind.OBJECT,
        (dict, Mapping),
        lambda: {"type": "object", "additionalProperties": value.schema() or {}},
    )


def each(convert: Callable[[Any], Any], values: Sequence[Any]) -> list[Any]:
    """Convert every item. Where one does not fit, only then look for its index."""
    try:
        return [convert(value) for value in values]
    except Mismatch:
        _blame(convert, values)
        raise


def _blame(convert: Callable[[Any], Any], values: Sequence[Any]) -> None:
    for index, value in enumerate(values):
        try:
            convert(value)
        except Mismatch as mismatch:
            mismatch.segments.append(f"[{index}]")
            raise


def _each_its_own(converts: Sequence[Callable[[Any], Any]], values: Sequence[Any]) -> list[Any]:
    if len(values) != len(converts):
        raise Mismatch(f"expected {len(converts)} items, got {len(values)}")
    made = []
    for index, (convert, value) in enumerate(zip(converts, values, strict=True)):
        try:
            made.append(convert(value))
        except Mismatch as mismatch:
            mismatch.segments.append(f"[{index}]")
            raise
    return made


def _each_value(convert: Callable[[Any], Any], items: Mapping[Any, Any], *, check_key: bool = False) -> dict[Any, Any]:
    made = {}
    for name, value in items.items():
        if check_key and not isinstance(name, str):
            raise expected("text as key", name)
        try:
            made[name] = convert(value)
        except Mismatch as mismatch:
            mismatch.segments.append(field_segment(str(name)))
            raise
    return made


def _each_key(convert: Callable[[Any], Any], items: Mapping[Any, Any]) -> list[Any]:
    made = []
    for name in items:
        try:
            made.append(convert(name))
        except Mismatch as mismatch:
            mismatch.segments.append(field_segment(str(name)))
            raise
    return made


def _array(tree: Json) -> list[Any]:
    if type(tree) is not list:
        raise expected("an array", tree)
    return tree


def _array_schema(item: Codec) -> Schema:
    return {"type": "array", "items": item.schema() or {}}
