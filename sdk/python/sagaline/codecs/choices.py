"""Codecs of types that are one of several: enums, literals, optional values and unions."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any

from sagaline.codecs.codec import (
    Codec,
    Json,
    Kind,
    Mismatch,
    Schema,
    Unsupported,
    described,
    expected,
    type_name,
)
from sagaline.codecs.scalars import NULL, SCALARS, finite

_KINDS: dict[type, Kind] = {
    type(None): Kind.NULL,
    bool: Kind.BOOLEAN,
    int: Kind.NUMBER,
    float: Kind.NUMBER,
    str: Kind.STRING,
    list: Kind.ARRAY,
    dict: Kind.OBJECT,
}


def enum_codec(cls: type[enum.Enum]) -> Codec:
    """Make the codec of an enum: its members' values, which are text or numbers."""
    values = {member.value for member in cls if type(member.value) in (str, int, float)}
    if len(values) < len(cls):
        raise Unsupported(f"the values of {type_name(cls)} must be text or numbers to be in a payload")
    kind = Kind(0)
    for value in values:
        kind |= _KINDS[type(value)]

    def dump(value: Any) -> Json:
        if not isinstance(value, cls):
            raise expected(f"a {type_name(cls)}", value)
        return value.value

    def load(tree: Json) -> enum.Enum:
        try:
            return cls(tree)
        except ValueError:
            raise Mismatch(f"not a value of {type_name(cls)}, which has {_listed(values)}") from None

    return Codec(dump, load, kind, (cls,), lambda: {"enum": sorted(values, key=repr)})


def literal_codec(values: Sequence[Any]) -> Codec:
    """Make the codec of Literal[values]."""
    allowed = {(type(value), value): value for value in values}
    if any(type(value) not in (str, int, bool, type(None)) for value in values):
        raise Unsupported("the literals of a payload are text, integers, booleans and None")
    kind = Kind(0)
    for value in values:
        kind |= _KINDS[type(value)]

    def convert(value: Any) -> Any:
        if (type(value), value) not in allowed:
            raise Mismatch(f"not one of {_listed(values)}")
        return value

    def checked(value: Any) -> Any:
        if type(value) not in _KINDS or isinstance(value, list | dict):
            raise expected(f"one of {_listed(values)}", value)
        return convert(value)

    classes = tuple({type(value) for value in values})
    return Codec(checked, checked, kind, classes, lambda: {"enum": list(values)})


def _listed(values: Sequence[Any] | set[Any], most: int = 10) -> str:
    shown = [repr(value) for value in sorted(values, key=repr)[:most]]
    return ", ".join(shown) + (", …" if len(values) > most else "")


def optional_codec(inner: Codec) -> Codec:
    """Make the codec of `inner | None`."""
    dump_inner, load_inner = inner.dump, inner.load

    def dump(value: Any) -> Json:
        return None if value is None else dump_inner(value)

    def load(tree: Json) -> Any:
        return None if tree is None else load_inner(tree)

    classes = (*inner.classes, type(None)) if inner.classes else ()
    return Codec(dump, load, inner.kind | Kind.NULL, classes, lambda: _any_of([inner, NULL]))


def _dump_number(value: Any) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise expected("a number", value)
    return finite(value) if isinstance(value, float) else int(value)


def _load_number(tree: Json) -> int | float:
    if isinstance(tree, bool) or not isinstance(tree, int | float):
        raise expected("a number", tree)
    return tree


NUMBER = Codec(_dump_number, _load_number, Kind.NUMBER, (int, float), lambda: {"type": "number"})
"""`int | float`, which JSON does not tell apart: what is written as an integer comes back as one."""


def union_codec(arms: list[Codec], declared: object) -> Codec:
    """Make the codec of a union whose members JSON can tell apart.

    Raises:
        Unsupported: It cannot: two of them are written as the same kind of JSON.
    """
    if SCALARS[int] in arms and SCALARS[float] in arms:
        arms = [arm for arm in arms if arm not in (SCALARS[int], SCALARS[float])] + [NUMBER]
    by_kind: dict[type, Codec] = {}
    for arm in arms:
        for cls, kind in _KINDS.items():
            if kind not in arm.kind:
                continue
            if by_kind.setdefault(cls, arm) is not arm:
                raise Unsupported(
                    f"JSON cannot tell the members of {type_name(declared)} apart: use one dataclass with optional "
                    "fields, or a union of tagged msgspec structs or of pydantic models with a discriminator"
                )

    def dump(value: Any) -> Json:
        cls = type(value)
        for arm in arms:
            if cls in arm.classes:
                return arm.dump(value)
        for arm in arms:
            if isinstance(value, arm.classes):
                return arm.dump(value)
        raise Mismatch(f"expected {type_name(declared)}, got {described(value)}")

    def load(tree: Json) -> Any:
        arm = by_kind.get(type(tree))
        if arm is None:
            raise Mismatch(f"expected {type_name(declared)}, got {described(tree)}")
        return arm.load(tree)

    kind = Kind(0)
    for arm in arms:
        kind |= arm.kind
    return Codec(dump, load, kind, sum((arm.classes for arm in arms), ()), lambda: _any_of(arms))


def _any_of(arms: Sequence[Codec]) -> Schema:
    return {"anyOf": [arm.schema() or {} for arm in arms]}
