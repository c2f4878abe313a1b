"""What checkers make of a decorated function, and which undo actions they refuse."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import assert_type

from cases.shared import Card, Line, Parcel, Receipt, charge, pack, refund, tick

from sagaline import Action, Context, action

assert_type(charge, Action[tuple[Card, float], Receipt])
assert_type(pack, Action[tuple[list[Line]], Parcel])
assert_type(tick, Action[tuple[()], int])


@action
async def without_context(card: Card) -> None: ...


@action()
def called_without_a_name(context: Context) -> bool:
    return context.attempt > 1


@action("of.the.name", version="7", pool="gpu", max_in_flight=3)
def with_options(context: Context, a: int, b: str | None = None) -> list[int]:
    return [a, len(b or ""), context.attempt]


@action("in.go", elsewhere=True)
def served_by_others(a: int) -> Awaitable[int]:
    raise NotImplementedError


assert_type(without_context, Action[tuple[Card], None])
assert_type(called_without_a_name, Action[tuple[()], bool])
assert_type(with_options, Action[tuple[int, str | None], list[int]])
assert_type(served_by_others, Action[tuple[int], int])


def sync_code(context: Context, card: Card) -> None:
    refund(context, card, output=None)  # E: unused.*coroutine|unused-coroutine|reportUnusedCoroutine


@action
def book(card: Card, nights: int) -> Receipt:
    return Receipt(card.number, nights)


@book.undo
def needs_nothing() -> None: ...


@book.undo
def needs_an_input(nights: int) -> None: ...


@book.undo
async def needs_the_output(*, output: Receipt | None) -> None: ...


@book.undo
def takes_any_output(context: Context, card: Card, nights: int, *, output: object) -> None: ...


@book.undo  # E: incompatible type.*output: Card \| None|"Receipt \| None" is incompatible with type "Card \| None"
def other_type(card: Card, *, output: Card | None) -> None: ...


@book.undo  # E: incompatible type.*output: Receipt\b|"Receipt \| None" is incompatible with type "Receipt"
def forgets_none(card: Card, *, output: Receipt) -> None: ...


@book.undo  # E: incompatible type.*output: int \| None|"Receipt \| None" is incompatible with type "int \| None"
async def other_type_async(context: Context, card: Card, nights: int, *, output: int | None) -> None: ...


@book.undo  # E: incompatible type.*result: |Missing keyword parameter "output"
def other_name(card: Card, *, result: Receipt | None) -> None: ...


@book.undo  # E: incompatible type.*extra: int|Extra parameter "extra"
def too_much(card: Card, *, output: Receipt | None, extra: int) -> None: ...


@book.undo  # E: type variable "Z" of "undo"|return type "int" is incompatible
def returns_something(card: Card) -> int:
    return 1


@action(version=2)  # E: No overload.*type "int"|Literal\[2\]
def version_of_wrong_type() -> None: ...


@action("x", pol="gpu")  # E: Unexpected keyword argument|No overload
def option_misspelt() -> None: ...


with_options.undo(3)  # E: No overload.*type "int"|Literal\[3\]
