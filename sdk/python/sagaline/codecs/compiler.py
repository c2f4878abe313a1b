"""Picks the codec of a type, made of those of its parts. Codecs are made once and kept."""

from __future__ import annotations

import collections.abc
import dataclasses
import enum
import types
import typing
from typing import Any, Final

from google.protobuf.message import Message

from sagaline.codecs import choices, containers, foreign, records
from sagaline.codecs.codec import Codec, Json, Kind, Mismatch, Unsupported, type_name
from sagaline.codecs.scalars import NULL, SCALARS, finite

KEPT_MAX: Final = 4_096
"""Codecs kept. A program with more types than this, which must make them at run time, starts over."""

ADVICE: Final = (
    "use JSON's own types, dataclasses, TypedDicts, enums, pydantic models, msgspec structs or protobuf messages"
)

_kept: dict[Any, Codec] = {}


class JsonValue:
    """Stands for any JSON value at run time; type checkers see the recursive type of the same name."""


def codec_of(declared: Any) -> Codec:
    """Return the codec of a type.

    Raises:
        Unsupported: No payload can carry it.
    """
    try:
        found = _kept.get(declared)
    except TypeError:  # not hashable: an Annotated with a list in it
        return _Compiler().make(declared)
    if found is None:
        found = _Compiler().make(declared)
        if len(_kept) >= KEPT_MAX:
            _kept.clear()
        _kept[declared] = found
    return found


def _dump_any(value: Any) -> Json:
    """Dump by the value's own type, for want of a declared one."""
    cls = type(value)
    if cls in _SAME:
        return value
    if cls is float:
        return finite(value)
    if cls is list or cls is tuple:
        return containers.each(_dump_any, value)
    if cls is dict:
        return _ANY_DICT.dump(value)
    return _codec_of_value(cls).dump(value)


_SAME: Final = frozenset({str, int, bool, type(None)})
"""What is in JSON as it is."""


def _codec_of_value(cls: type) -> Codec:
    if cls is not object:  # as a declared type it means any value
        try:
            return codec_of(cls)
        except Unsupported:
            pass
    for base, codec in _FALLBACKS:
        if issubclass(cls, base):
            return codec
    raise Mismatch(f"a value of type {type_name(cls)} cannot be a payload: {ADVICE}")


ANY: Final = Codec(_dump_any, lambda tree: tree, Kind.ANY)
_ANY_DICT: Final = containers.dict_codec(SCALARS[str], ANY, dict)
_ANY_LIST: Final = containers.list_codec(ANY)
_ANY_SET: Final = containers.set_codec(ANY, set)

_FALLBACKS: Final[tuple[tuple[type, Codec], ...]] = (
    (str, SCALARS[str]),
    (int, SCALARS[int]),
    (float, SCALARS[float]),
    (bytearray, SCALARS[bytes]),
    (memoryview, SCALARS[bytes]),
    (set, _ANY_SET),
    (frozenset, _ANY_SET),
    (collections.abc.Mapping, _ANY_DICT),
    (collections.abc.Sequence, _ANY_LIST),
)
"""For values of classes that derive from these, where nothing is declared."""


class _Compiler:
    """Makes one codec. Remembers the types it is inside of, for types that contain themselves."""

    def __init__(self) -> None:
        self._inside: list[Any] = []

    def make(self, declared: Any) -> Codec:
        """Return the codec of a type, kept or made now."""
        if any(declared is outer for outer in self._inside):
            return _deferred(declared)
        self._inside.append(declared)
        try:
            return self._make(declared)
        finally:
            self._inside.pop()

    def _make(self, declared: Any) -> Codec:
        if declared is Any or declared is object or declared is JsonValue:
            return ANY
        if declared is None:
            return NULL
        if isinstance(declared, type) and declared in SCALARS:
            return SCALARS[declared]
        special = self._special(declared)
        if special is not None:
            return special
        cls = typing.get_origin(declared) or declared
        if not isinstance(cls, type):
            raise Unsupported(f"{type_name(declared)} cannot be a payload: {ADVICE}")
        return self._record(declared, cls) or self._container(declared, cls)

    def _special(self, declared: Any) -> Codec | None:
        """Handle what is not a class."""
        origin, args = typing.get_origin(declared), typing.get_args(declared)
        if origin is typing.Annotated:
            if _pydantic_union(args[0]):
                return foreign.pydantic_codec(declared, _classes(args[0]))
            return self.make(args[0])
        if origin is typing.Literal:
            return choices.literal_codec(args)
        if origin is typing.Union or origin is types.UnionType:
            return self._union(declared, args)
        if isinstance(declared, typing.NewType):
            return self.make(declared.__supertype__)
        if isinstance(declared, typing.TypeVar):
            return ANY
        if type(declared).__name__ == "TypeAliasType":
            return self.make(declared.__value__)
        if isinstance(declared, str | typing.ForwardRef):
            raise Unsupported(f"the type {type_name(declared)} is not resolved: give the type itself, not its name")
        return None

    def _union(self, declared: Any, args: tuple[Any, ...]) -> Codec:
        arms = [arg for arg in args if arg is not type(None)]
        nullable = len(arms) < len(args)
        if len(arms) == 1:
            made = self.make(arms[0])
        elif all(foreign.is_struct(arm) for arm in arms):
            made = foreign.struct_codec(typing.Union[tuple(arms)], tuple(arms))  # noqa: UP007 - made at run time
        elif _pydantic_union(declared):
            made = foreign.pydantic_codec(typing.Union[tuple(arms)], _classes(declared))  # noqa: UP007
        else:
            made = choices.union_codec([self.make(arm) for arm in arms], declared)
        return choices.optional_codec(made) if nullable and made is not ANY else made

    def _record(self, declared: Any, cls: type) -> Codec | None:
        if issubclass(cls, enum.Enum):
            return choices.enum_codec(cls)
        if issubclass(cls, Message):
            return foreign.message_codec(cls)
        if foreign.is_pydantic(cls):
            return foreign.pydantic_codec(declared, (cls,))
        if foreign.is_struct(cls):
            return foreign.struct_codec(declared, (cls,))
        if is_typed_dict(cls):
            return records.typed_dict_codec(cls, self._fields(declared, cls))
        if dataclasses.is_dataclass(cls):
            _refuse_init_vars(cls)
            return records.dataclass_codec(cls, self._fields(declared, cls))
        return None

    def _fields(self, declared: Any, cls: type) -> dict[str, Codec]:
        made = {}
        for name, hint in field_types(declared, cls).items():
            try:
                made[name] = self.make(hint)
            except Unsupported as problem:
                raise Unsupported(f"the field {name!r} of {type_name(cls)}: {problem}") from problem
        return made

    def _container(self, declared: Any, cls: type) -> Codec:
        args = typing.get_args(declared)
        if cls is tuple:
            if not args and declared is tuple:
                return containers.endless_tuple_codec(ANY)
            if len(args) == 2 and args[1] is Ellipsis:  # noqa: PLR2004 - tuple[item, ...]
                return containers.endless_tuple_codec(self.make(args[0]))
            return containers.tuple_codec([self.make(arg) for arg in args])
        if cls in _LISTS:
            return containers.list_codec(self.make(args[0]) if args else ANY)
        if cls in _SETS:
            item = self.make(args[0]) if args else ANY
            return containers.set_codec(item, frozenset if cls is frozenset else set)
        if cls in _DICTS:
            key, value = args or (str, Any)
            return containers.dict_codec(self.make(key), self.make(value), declared)
        raise Unsupported(f"{type_name(declared)} cannot be a payload: {ADVICE}")


_LISTS: Final = (list, collections.abc.Sequence, collections.abc.MutableSequence, collections.abc.Collection)
_SETS: Final = (set, frozenset, collections.abc.Set, collections.abc.MutableSet)
_DICTS: Final = (dict, collections.abc.Mapping, collections.abc.MutableMapping)


def _deferred(declared: Any) -> Codec:
    """Stand for a type that is still being made, because it contains itself."""
    cls = typing.get_origin(declared) or declared
    return Codec(
        lambda value: codec_of(declared).dump(value),
        lambda tree: codec_of(declared).load(tree),
        Kind.OBJECT if isinstance(cls, type) else Kind.ANY,
        (cls,) if isinstance(cls, type) else (),
    )


def is_typed_dict(cls: type) -> bool:
    """Say whether this is a TypedDict, of `typing` or of typing_extensions."""
    return issubclass(cls, dict) and hasattr(cls, "__required_keys__")


def field_types(declared: Any, cls: type) -> dict[str, Any]:
    """Return the types of a record's fields, with the type arguments of `declared` filled in.

    Raises:
        Unsupported: A field's annotation cannot be resolved.
    """
    try:
        hints = typing.get_type_hints(cls)
    except NameError as error:
        raise Unsupported(
            f"an annotation of {type_name(cls)} cannot be resolved ({error}): define or import the name in its module, "
            "where it is needed at run time"
        ) from error
    if dataclasses.is_dataclass(cls):
        hints = {field.name: hints[field.name] for field in dataclasses.fields(cls)}
    parameters = getattr(cls, "__parameters__", ())
    filled = dict(zip(parameters, typing.get_args(declared), strict=False))
    return {name: _filled(hint, filled) for name, hint in hints.items()}


def _filled(hint: Any, arguments: dict[Any, Any]) -> Any:
    if isinstance(hint, typing.TypeVar):
        return arguments.get(hint, Any)
    parameters = getattr(hint, "__parameters__", ())
    if not parameters or isinstance(hint, type):
        return hint
    return hint[tuple(arguments.get(parameter, Any) for parameter in parameters)]


def _refuse_init_vars(cls: type) -> None:
    for name, field in cls.__dict__.get("__dataclass_fields__", {}).items():
        if field._field_type is dataclasses._FIELD_INITVAR:  # type: ignore[attr-defined]  # noqa: SLF001
            raise Unsupported(
                f"{type_name(cls)} has the InitVar {name!r}, which cannot be read back: make it an ordinary field"
            )


def _classes(declared: Any) -> tuple[type, ...]:
    """Return the classes that a union is made of."""
    members = [typing.get_origin(arm) or arm for arm in typing.get_args(declared)]
    return tuple(member for member in members if isinstance(member, type))


def _pydantic_union(declared: Any) -> bool:
    origin = typing.get_origin(declared)
    if origin is not typing.Union and origin is not types.UnionType:
        return False
    arms = [arm for arm in typing.get_args(declared) if arm is not type(None)]
    return len(arms) > 1 and any(foreign.is_pydantic(arm) for arm in arms)
