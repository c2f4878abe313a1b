"""Whether the values of one JSON Schema fit another, as far as schemas tell without a value at hand.

Graphs are refused for what is found here, so it speaks only where it is certain: a type that the taker does not take, a
field that the giver does not have, a value outside an enumeration. Keywords that are not read (patterns, bounds,
conditions) never count against anybody; the worker, which sees the value, has the last word on them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Schema = Mapping[str, Any]
"""A JSON Schema that is an object; `true` is the empty one."""

ANY: Schema = {}
_NEVER: Schema = {"enum": ()}
_DEPTH = 24
"""Schemas nested deeper, or that contain themselves, are not compared further down."""
_MEMBERS = 64
"""Members of a union, fields of an object and values of an enumeration that are looked at."""

_SELF = "$"


def as_schema(loaded: object) -> Schema:
    """Return a schema as an object. `false`, which nothing fits, becomes one that no value fits."""
    if loaded is False:
        return _NEVER
    return loaded if isinstance(loaded, Mapping) else ANY


class Side:
    """A schema, and the document that its references point into."""

    __slots__ = ("root", "schema")

    def __init__(self, schema: Schema, root: Schema | None = None) -> None:
        self.root = schema if root is None else root
        self.schema = self._resolved(schema)

    def inner(self, schema: object) -> Side:
        """Return a part of the same document."""
        return Side(as_schema(schema), self.root)

    def _resolved(self, schema: Schema) -> Schema:
        for _ in range(_DEPTH):
            ref = schema.get("$ref")
            if not isinstance(ref, str):
                return schema
            schema = self._target(ref)
        return ANY

    def _target(self, ref: str) -> Schema:
        if not ref.startswith("#"):
            return ANY  # another document; nothing is fetched, so nothing is known
        found: object = self.root
        for part in ref[1:].split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            found = found.get(key) if isinstance(found, Mapping) else None
        return as_schema(found)

    def members(self) -> list[Side]:
        """Return the members of a union; the schema itself if it is none."""
        for keyword in ("anyOf", "oneOf"):
            arms = self.schema.get(keyword)
            if isinstance(arms, Sequence) and arms:
                return [member for arm in arms[:_MEMBERS] for member in self.inner(arm).members()]
        return [self]

    def types(self) -> frozenset[str]:
        """Return the JSON types that its values may have; empty: any."""
        declared = self.schema.get("type")
        if isinstance(declared, str):
            return frozenset((declared,))
        if isinstance(declared, Sequence):
            return frozenset(name for name in declared if isinstance(name, str))
        values = self.values()
        return frozenset() if values is None else frozenset(type_of(value) for value in values)

    def values(self) -> Sequence[Any] | None:
        """Return the only values that fit; None: they are not listed."""
        if "const" in self.schema:
            return (self.schema["const"],)
        listed = self.schema.get("enum")
        return listed if isinstance(listed, Sequence) and not isinstance(listed, str) else None

    def fields(self) -> Mapping[str, Any]:
        """Return the fields that its objects are declared to have."""
        found = self.schema.get("properties")
        return found if isinstance(found, Mapping) else {}

    def required(self) -> Iterable[str]:
        """Return the fields that its objects need."""
        found = self.schema.get("required")
        return [name for name in found if isinstance(name, str)] if isinstance(found, Sequence) else ()

    def has_all_its_fields(self) -> bool:
        """Say whether its objects have the declared fields and no others."""
        others = self.schema.get("additionalProperties", False)
        return bool(self.fields()) and others is False and "patternProperties" not in self.schema

    def item(self, number: int) -> Side | None:
        """Return the schema of an array's element; None: it has none of that number."""
        first = self.schema.get("prefixItems")
        prefix = first if isinstance(first, Sequence) else ()
        if number < len(prefix):
            return self.inner(prefix[number])
        rest = self.schema.get("items", True)
        longest = self.schema.get("maxItems")
        if rest is False or (isinstance(longest, int) and number >= longest):
            return None
        return self.inner(rest)


def type_of(value: object) -> str:
    """Return the JSON type of a value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "integer" if float(value).is_integer() else "number"
    if isinstance(value, str):
        return "string"
    return "object" if isinstance(value, Mapping) else "array"


def misfit(wanted: Schema, offered: Schema) -> str:
    """Say why some value of `offered` does not fit `wanted`, with its place inside the value; empty: it may fit."""
    return _misfit(Side(wanted), Side(offered), _SELF, 0)


def _misfit(wanted: Side, offered: Side, where: str, depth: int) -> str:
    if depth > _DEPTH:
        return ""
    takers = wanted.members()
    for giver in offered.members():
        reasons = [_misfit_one(taker, giver, where, depth) for taker in takers]
        if all(reasons):
            # Of a union the member of the same type tells more than the others do.
            alike = (reason for taker, reason in zip(takers, reasons, strict=True) if taker.types() & giver.types())
            return next(alike, reasons[0])
    return ""


def _misfit_one(wanted: Side, offered: Side, where: str, depth: int) -> str:
    takes, gives = wanted.types(), offered.types()
    if takes and gives:
        foreign = sorted(name for name in gives if not _takes(takes, name))
        if foreign:
            return f"{where} takes {_named(takes)}, and is given {_named(gives)}"
    listed, given = wanted.values(), offered.values()
    if listed is not None and given is not None:
        for value in given[:_MEMBERS]:
            if not any(type_of(value) == type_of(known) and value == known for known in listed):
                return f"{where} takes one of {len(listed)} values, and may be given another"
    if not _may_be("object", takes, gives):
        return "" if not _may_be("array", takes, gives) else _misfit_arrays(wanted, offered, where, depth)
    return _misfit_objects(wanted, offered, where, depth)


def _takes(takes: frozenset[str], name: str) -> bool:
    return name in takes or (name == "integer" and "number" in takes)


def _may_be(name: str, takes: frozenset[str], gives: frozenset[str]) -> bool:
    """Whether both may be of a type, and at least one says so."""
    return (not takes or name in takes) and (not gives or name in gives) and bool(takes or gives)


def _named(types: frozenset[str]) -> str:
    return " or ".join(sorted(types))


def _misfit_objects(wanted: Side, offered: Side, where: str, depth: int) -> str:
    fields, offers = wanted.fields(), offered.fields()
    if offered.has_all_its_fields():
        for name in wanted.required():
            if name not in offers:
                return f"{where} needs a field {name!r}, and what is given has none"
    for name in list(fields)[:_MEMBERS]:
        if name in offers:
            inner = _misfit(wanted.inner(fields[name]), offered.inner(offers[name]), f"{where}.{name}", depth + 1)
            if inner:
                return inner
    others, given = wanted.schema.get("additionalProperties"), offered.schema.get("additionalProperties")
    if isinstance(others, Mapping) and isinstance(given, Mapping):
        return _misfit(wanted.inner(others), offered.inner(given), f"{where}.*", depth + 1)
    return ""


def _misfit_arrays(wanted: Side, offered: Side, where: str, depth: int) -> str:
    for number in range(min(max(_prefix(wanted), _prefix(offered)), _MEMBERS)):
        taken, given = wanted.item(number), offered.item(number)
        if taken is not None and given is not None:
            inner = _misfit(taken, given, f"{where}[{number}]", depth + 1)
            if inner:
                return inner
    rest, others = wanted.schema.get("items"), offered.schema.get("items")
    if isinstance(rest, Mapping) and isinstance(others, Mapping):
        return _misfit(wanted.inner(rest), offered.inner(others), f"{where}[]", depth + 1)
    return ""


def _prefix(side: Side) -> int:
    first = side.schema.get("prefixItems")
    return len(first) if isinstance(first, Sequence) else 0


class NoSuchPart(Exception):
    """A path selects nothing in any value of a schema."""


def at_path(schema: Schema, path: Sequence[str]) -> Schema:
    """Return the schema of what a path selects; the empty one where that is not known.

    Raises:
        NoSuchPart: No value of the schema has such a part.
    """
    sides = [Side(schema)]
    for depth, key in enumerate(path):
        members = [member for side in sides for member in side.members()]
        found = [part for member in members if (part := _part(member, key)) is not None]
        if not found:
            raise NoSuchPart(f"there is no field {'.'.join(path[: depth + 1])!r} in it")
        sides = found[:_MEMBERS]
    if len(sides) == 1:
        only = sides[0]
        return only.schema if only.root is only.schema else {**only.schema, **_definitions(only)}
    return {"anyOf": [side.schema for side in sides], **_definitions(sides[0])}


def _part(side: Side, key: str) -> Side | None:
    types = side.types()
    if side.schema is ANY or not (types or side.fields()):
        return side.inner(True)
    if key in side.fields():
        return side.inner(side.fields()[key])
    if "object" in types and not side.has_all_its_fields():
        others = side.schema.get("additionalProperties", True)
        return None if others is False else side.inner(others)
    if "array" in types and key.isdecimal():
        return side.item(int(key))
    return None


def _definitions(side: Side) -> dict[str, Any]:
    """Return what references inside a part of a document still need of it."""
    return {name: side.root[name] for name in ("$defs", "definitions") if name in side.root}
