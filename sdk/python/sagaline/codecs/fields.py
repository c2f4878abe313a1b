"""Which part of a type's JSON an attribute or index of its values is: what selecting a field needs to know."""

from __future__ import annotations

import dataclasses
import sys
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from sagaline.codecs import foreign
from sagaline.codecs.codec import type_name
from sagaline.codecs.compiler import field_types, is_typed_dict


class NoSuchField(Exception):
    """The type has no such part, or it cannot be seen in JSON."""


def attribute(declared: Any, name: str) -> tuple[str, Any]:
    """Return the JSON key and the type of `value.name`.

    Raises:
        NoSuchField: Values of the type have no such field.
    """
    declared = _plain(declared)
    cls = typing.get_origin(declared) or declared
    if not isinstance(cls, type) or cls in (Any, object):
        return name, Any
    if foreign.is_message(cls):
        raise NoSuchField(f"{type_name(cls)} is a protobuf message, whose fields the server does not see")
    if foreign.is_pydantic(cls) and hasattr(cls, "model_fields"):
        return _model_field(cls, name)
    if foreign.is_struct(cls):
        return _struct_field(declared, cls, name)
    if dataclasses.is_dataclass(cls):
        if name in {field.name for field in dataclasses.fields(cls) if field.init}:
            return name, field_types(declared, cls)[name]
        raise _no_field(cls, name)
    raise _no_field(cls, name)


def element(declared: Any, key: str | int) -> tuple[str, Any]:
    """Return the JSON key and the type of `value[key]`.

    Raises:
        NoSuchField: Values of the type have no such element.
    """
    declared = _plain(declared)
    cls, args = typing.get_origin(declared) or declared, typing.get_args(declared)
    if isinstance(key, bool) or not isinstance(key, str | int):
        raise NoSuchField(f"a key is text or an index, not a value of type {type_name(type(key))}")
    if isinstance(key, int) and key < 0:
        raise NoSuchField("the server counts elements from the front: an index is 0 or more")
    if not isinstance(cls, type) or cls in (Any, object):
        return str(key), Any
    if is_typed_dict(cls):
        hints = field_types(declared, cls)
        if key not in hints:
            raise _no_field(cls, str(key))
        return str(key), hints[str(key)]
    if issubclass(cls, Mapping):
        return str(key), args[1] if len(args) > 1 else Any
    if issubclass(cls, Sequence) and not issubclass(cls, str | bytes) and isinstance(key, int):
        return str(key), _item(cls, args, key)
    raise NoSuchField(f"a {type_name(declared)} has no elements to select by {key!r}")


def _plain(declared: Any) -> Any:
    """Look through Annotated, NewType and `| None`: type checkers have already asked whether None was thought of."""
    if typing.get_origin(declared) is typing.Annotated:
        return _plain(typing.get_args(declared)[0])
    if isinstance(declared, typing.NewType):
        return _plain(declared.__supertype__)
    if typing.get_origin(declared) in (typing.Union, types.UnionType):
        arms = [arm for arm in typing.get_args(declared) if arm is not type(None)]
        return _plain(arms[0]) if len(arms) == 1 else Any
    return declared


def _item(cls: type, args: tuple[Any, ...], index: int) -> Any:
    if cls is tuple and args and Ellipsis not in args:
        if index >= len(args):
            raise NoSuchField(f"the tuple has {len(args)} items")
        return args[index]
    return args[0] if args else Any


def _model_field(cls: Any, name: str) -> tuple[str, Any]:
    found = cls.model_fields.get(name)
    if found is not None:
        return found.serialization_alias or found.alias or name, found.annotation
    computed = cls.model_computed_fields.get(name)
    if computed is not None:
        return computed.alias or name, computed.return_type
    raise _no_field(cls, name)


def _struct_field(declared: Any, cls: type, name: str) -> tuple[str, Any]:
    msgspec: Any = sys.modules["msgspec"]
    fields = list(msgspec.structs.fields(declared))
    first = 1 if foreign.struct_config(cls).tag is not None else 0
    for index, field in enumerate(fields):
        if field.name == name:
            as_array = foreign.struct_config(cls).array_like
            return str(index + first) if as_array else field.encode_name, field.type
    raise _no_field(cls, name)


def _no_field(cls: type, name: str) -> NoSuchField:
    return NoSuchField(
        f"{type_name(cls)} has no field {name!r}; only fields can be selected, not methods or properties"
    )
