"""Types of every kind that a payload can carry, for the tests of values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Annotated, Any, Generic, Literal, NewType, NotRequired, TypedDict, TypeVar
from uuid import UUID

import msgspec
import pydantic
from pydantic.dataclasses import dataclass as pydantic_dataclass

T = TypeVar("T")
Sku = NewType("Sku", str)


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Mixed(Enum):
    TEXT = "text"
    NUMBER = 3


class Unwritable(Enum):
    PAIR = (1, 2)


@dataclass
class Money:
    amount: Decimal
    currency: str = "EUR"


@dataclass(frozen=True)
class Everything:
    text: str
    number: int
    share: float
    flag: bool
    colour: Colour
    level: Level
    at: datetime
    day: date
    clock: time
    span: timedelta
    id: UUID
    price: Money
    raw: bytes
    sku: Sku
    kind: Literal["a", "b", 3] | None
    pair: tuple[int, str]
    many: tuple[float, ...]
    tags: frozenset[str]
    prices: list[Money]
    by_name: dict[str, Money]
    by_number: Mapping[int, list[str]]
    by_colour: dict[Colour, int]
    words: Sequence[str]
    maybe: Money | None
    either: int | str | list[int] | None
    note: Annotated[str, "for people"] = ""
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass
class Tree:
    name: str
    children: list[Tree] = field(default_factory=list)
    parent_name: str | None = None


@dataclass
class Box(Generic[T]):
    item: T
    items: list[T]


@dataclass
class Even:
    number: int

    def __post_init__(self) -> None:
        if self.number % 2:
            raise ValueError("the number is odd")


@dataclass
class Derived(Money):
    hidden: int = 0
    computed: int = field(default=7, init=False)


class Parcel(TypedDict):
    weight_g: int
    label: NotRequired[Colour]


class Struct(msgspec.Struct, rename="camel"):
    first_name: str
    born: date | None = None
    score: float = 0.0


class Cat(msgspec.Struct, tag=True):
    lives: int


class Dog(msgspec.Struct, tag=True):
    name: str


class Row(msgspec.Struct, array_like=True):
    left: int
    right: str


class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(populate_by_name=True)

    full_name: str = pydantic.Field(alias="fullName")
    at: datetime | None = None
    score: float = 0.0
    lines: list[int] = []


class Visa(pydantic.BaseModel):
    kind: Literal["visa"] = "visa"
    number: str


class Cash(pydantic.BaseModel):
    kind: Literal["cash"] = "cash"


class Names(pydantic.RootModel[list[str]]):
    pass


@pydantic_dataclass
class Checked:
    positive: Annotated[int, pydantic.Field(gt=0)]


@dataclass
class Holder:
    """Values of three libraries inside a plain dataclass."""

    model: Model
    struct: Struct
    either: Model | str
