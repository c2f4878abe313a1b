"""What a codec is, and how it says that a value does not fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Flag, auto
from typing import Any, TypeAlias

Json: TypeAlias = Any
"""A JSON tree: None, bool, int, finite float, str, list of such, dict from str to such."""

Schema: TypeAlias = dict[str, Any]


class Kind(Flag):
    """The kinds of JSON that a codec reads. The members of a union are told apart by them."""

    NULL = auto()
    BOOLEAN = auto()
    NUMBER = auto()
    STRING = auto()
    ARRAY = auto()
    OBJECT = auto()
    ANY = NULL | BOOLEAN | NUMBER | STRING | ARRAY | OBJECT


def no_schema() -> None:
    """Say that the type has no schema that is cheap to have; any value fits."""


@dataclass(frozen=True, slots=True)
class Codec:
    """Turns the values of one type into JSON trees and back."""

    dump: Callable[[Any], Json]
    """Value to JSON tree. Raises `Mismatch`."""
    load: Callable[[Json], Any]
    """JSON tree to value. Raises `Mismatch`."""
    kind: Kind
    """What `dump` gives and `load` takes."""
    classes: tuple[type, ...] = ()
    """Classes of the values; empty for every class."""
    schema: Callable[[], Schema | None] = no_schema
    """JSON schema of what `load` takes; None where there is none."""
    load_text: Callable[[str], Any] | None = None
    """JSON text to value, where that is quicker than by way of a tree. Raises `Mismatch`."""


class Mismatch(Exception):
    """A value does not fit. Containers on the way out add where: `segments`, innermost first."""

    def __init__(self, message: str, *segments: str) -> None:
        super().__init__(message)
        self.message = message
        self.segments = list(segments)

    @property
    def path(self) -> str:
        """Where inside the value, such as "$.items[2].price"."""
        return "$" + "".join(reversed(self.segments))


class Unsupported(Exception):
    """No payload can carry a type. The message says what can be used instead."""


def field_segment(name: str) -> str:
    """Return the piece of a path that names an object's field."""
    return f".{name}" if name.isidentifier() else f"[{name[:64]!r}]"


def expected(what: str, value: object) -> Mismatch:
    """Say what was expected and the type that came; never the value itself, which may be secret."""
    return Mismatch(f"expected {what}, got {described(value)}")


def described(value: object) -> str:
    """Return what a value is, in a word or two."""
    return "null" if value is None else f"a value of type {type_name(type(value))}"


def type_name(declared: object) -> str:
    """Return how a type reads in a program."""
    if isinstance(declared, type) and not hasattr(declared, "__args__"):
        return declared.__qualname__.rpartition("<locals>.")[2]
    return str(declared).replace("typing.", "")
