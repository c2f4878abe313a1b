"""Whether a value of one type can be given where another is expected, as far as types tell at run time.

Type checkers say it exactly and earlier; this is for programs that use none. Where it cannot tell, it says yes.
"""

from __future__ import annotations

import collections.abc
import types
import typing
from typing import Any

from sagaline.codecs.compiler import JsonValue

_SEQUENCES = (list, tuple, collections.abc.Sequence)


def fits(declared: Any, given: Any) -> bool:
    """Say whether a value of type `given` may be passed where `declared` is expected."""
    wanted, offered = members(declared), members(given)
    if any(_is_open(member) for member in (*wanted, *offered)):
        return True
    return all(any(_fits_one(want, offer) for want in wanted) for offer in offered)


def members(declared: Any) -> list[Any]:
    """Return the members of a union, or the type itself; None stands for its type."""
    bare = _bare(declared)
    origin = typing.get_origin(bare)
    if origin is typing.Union or origin is types.UnionType:
        return [member for arm in typing.get_args(bare) for member in members(arm)]
    if origin is typing.Literal:
        return list({type(value) for value in typing.get_args(bare)})
    return [type(None) if bare is None else bare]


def _bare(declared: Any) -> Any:
    if typing.get_origin(declared) is typing.Annotated:
        return _bare(typing.get_args(declared)[0])
    if isinstance(declared, typing.NewType):
        return _bare(declared.__supertype__)
    return _bare(declared.__value__) if type(declared).__name__ == "TypeAliasType" else declared


def _is_open(declared: Any) -> bool:
    """Say whether the type says nothing that can be compared."""
    cls = typing.get_origin(declared) or declared
    return declared in (Any, object, JsonValue) or not isinstance(cls, type)


def _fits_one(want: Any, offer: Any) -> bool:
    want_class, offer_class = typing.get_origin(want) or want, typing.get_origin(offer) or offer
    try:
        related = issubclass(offer_class, want_class)
    except TypeError:  # a protocol that cannot be asked at run time
        return True
    numbers = want_class is float and offer_class is int
    sequences = want_class in _SEQUENCES and offer_class in _SEQUENCES
    objects = issubclass(want_class, collections.abc.Mapping) and issubclass(offer_class, collections.abc.Mapping)
    if not (related or numbers or sequences or objects):
        return False
    want_args, offer_args = typing.get_args(want), typing.get_args(offer)
    if len(want_args) != len(offer_args):
        return True
    return all(fits(*pair) for pair in zip(want_args, offer_args, strict=True) if Ellipsis not in pair)
