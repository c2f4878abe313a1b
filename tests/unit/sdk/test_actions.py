"""Actions: what a function must look like, how it is called, and what is said of it to the server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from sagaline import Action, Context, JsonValue, action, encode
from sagaline.errors import ActionError, ConversionError, PayloadTooLarge
from sagaline.v1 import saga_pb2
from sagaline.v1 import worker_service_pb2 as pb
from sagaline.v1.payload_pb2 import Payload

if TYPE_CHECKING:
    from decimal import Decimal


@dataclass
class Card:
    number: str


@dataclass
class Receipt:
    id: str


@action("payments.charge", version="2.1", pool="money", max_in_flight=7)
async def charge(context: Context, card: Card, amount: float, note: str = "none") -> Receipt:
    """Take the money."""
    return Receipt(f"{context.node} {card.number} {amount} {note}")


UNDONE: list[tuple[float, Receipt | None]] = []


@charge.undo
def refund(amount: float, *, output: Receipt | None) -> None:
    UNDONE.append((amount, output))


@action
def count(words: list[str]) -> dict[str, int]:
    return {word: len(word) for word in words}


def context(node: str = "pay") -> Context:
    ref = pb.InvocationRef(saga_id="s", node=node, kind=saga_pb2.INVOCATION_KIND_ACTION, attempt=1)
    return Context(pb.Invocation(ref=ref), print)


def payloads(**values: object) -> dict[str, Payload]:
    return {name: encode(value) for name, value in values.items()}


def undo_context(
    output: object = None, outcome: pb.ActionOutcome.ValueType = pb.ACTION_OUTCOME_SUCCEEDED
) -> pb.UndoContext:
    return pb.UndoContext(action_outcome=outcome, action_output=encode(output))


# ---- what an action knows of itself


def test_the_decorator_reads_names_types_and_options() -> None:
    assert (charge.name, charge.version, charge.pool, charge.max_in_flight) == ("payments.charge", "2.1", "money", 7)
    assert dict(charge.input_types) == {"card": Card, "amount": float, "note": str}
    assert charge.output_type is Receipt
    assert (charge.forward.is_async, charge.forward.takes_context) == (True, True)
    assert charge.__doc__ == "Take the money."
    assert repr(charge) == "<Action payments.charge version 2.1(card, amount, note)>"


def test_without_a_name_it_is_the_functions() -> None:
    assert (count.name, count.version) == ("count", "1")
    assert (count.forward.is_async, count.forward.takes_context) == (False, False)


def test_a_function_that_returns_an_awaitable_is_async() -> None:
    @action
    def later(number: int) -> Awaitable[str]:
        raise NotImplementedError

    @action
    def given_a_partial_of_a_coroutine(number: int) -> None: ...

    assert later.forward.is_async
    assert later.output_type is str
    assert not given_a_partial_of_a_coroutine.forward.is_async


def test_annotations_may_name_what_the_block_around_defines() -> None:
    @dataclass
    class Local:
        number: int

    @action
    def local(value: Local) -> Local:
        return value

    @local.undo
    def forget(value: Local, *, output: Local | None) -> None: ...

    assert local.input_types["value"] is Local
    assert local.backward is not None


def test_the_spec_tells_the_server_types_and_limits() -> None:
    spec = charge.spec()
    assert (spec.action, list(spec.versions), spec.slot_pool, spec.max_in_flight) == (
        "payments.charge", ["2.1"], "money", 7,
    )  # fmt: skip
    assert list(spec.kinds) == [], "absent: both sides"
    assert json.loads(spec.input_types["amount"].json_schema) == {"type": "number"}
    assert json.loads(spec.output_type.json_schema)["required"] == ["id"]
    assert list(count.spec().kinds) == [saga_pb2.INVOCATION_KIND_ACTION]


# ---- calls


async def test_inputs_are_decoded_the_function_is_called_and_its_output_encoded() -> None:
    values = charge.decode_inputs(payloads(card={"number": "42"}, amount=3, note="n"))
    assert values == {"card": Card("42"), "amount": 3.0, "note": "n"}
    receipt = await charge.forward.call(context(), values)
    assert charge.encode_output(receipt) == encode(Receipt("pay 42 3.0 n"))


def test_an_older_graph_may_leave_out_a_parameter_with_a_default() -> None:
    values = charge.decode_inputs(payloads(card={"number": "42"}, amount=3))
    assert "note" not in values
    assert asyncio.run(charge.forward.call(context(), values)) == Receipt("pay 42 3.0 none")


@pytest.mark.parametrize(
    ("inputs", "path"),
    [
        ({"card": {"number": "42"}}, "amount"),
        ({"card": {"number": 42}, "amount": 3}, "card.number"),
        ({"card": {"number": "42"}, "amount": "x"}, "amount"),
        ({"card": {"number": "42"}, "amount": 3, "tip": 1}, "tip"),
    ],
)
def test_inputs_that_do_not_fit_are_named(inputs: dict[str, object], path: str) -> None:
    with pytest.raises(ConversionError) as caught:
        charge.decode_inputs(payloads(**inputs))
    assert caught.value.path == path
    assert str(caught.value).startswith(f"{path}: ")


def test_an_output_of_another_type_is_not_sent() -> None:
    with pytest.raises(ConversionError, match="expected a Receipt"):
        charge.encode_output({"id": "r"})
    with pytest.raises(PayloadTooLarge):
        charge.encode_output(Receipt("x" * 300_000))


@pytest.mark.parametrize(
    ("outcome", "output"),
    [
        (pb.ACTION_OUTCOME_SUCCEEDED, Receipt("r")),
        (pb.ACTION_OUTCOME_UNKNOWN, None),
        (pb.ACTION_OUTCOME_UNSPECIFIED, None),
    ],
)
def test_an_undo_action_gets_what_it_asks_for(outcome: pb.ActionOutcome.ValueType, output: Receipt | None) -> None:
    inputs = payloads(card={"number": 42}, amount=3, note="n")  # the card is wrong, and not asked for
    values = charge.decode_undo(inputs, undo_context(Receipt("r"), outcome))
    assert values == {"amount": 3.0, "output": output}
    assert charge.backward is not None
    charge.backward.call(context(), values)
    assert UNDONE.pop() == (3.0, output)


def test_an_undo_action_s_errors_are_named() -> None:
    with pytest.raises(ConversionError) as caught:
        charge.decode_undo(payloads(amount=3), undo_context({"id": 3}))
    assert caught.value.path == "output.id"
    with pytest.raises(ConversionError) as caught:
        charge.decode_undo({}, undo_context())
    assert caught.value.path == "amount"
    with pytest.raises(ActionError, match="no undo action"):
        count.decode_undo({}, undo_context())


def test_the_undo_decorator_returns_the_function() -> None:
    assert callable(refund)
    assert charge.backward is not None
    assert charge.backward.function is refund


# ---- functions that cannot be actions. Every message says how to mend it.


def unannotated(card) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001
def no_result(card: Card): ...  # type: ignore[no-untyped-def]  # noqa: ANN201
def variadic(*cards: Card) -> None: ...
def keywords(**cards: Card) -> None: ...
def keyword_only(*, card: Card) -> None: ...
def positional_only(card: Card, /) -> None: ...
def late_context(card: Card, context: Context) -> None: ...
def named_output(output: str) -> None: ...
def keyword_output(*, output: str) -> None: ...
def opaque_input(thing: complex) -> None: ...
def opaque_result() -> complex:
    return 1j


def any_first(value: Any) -> None: ...
def object_first(value: object) -> None: ...
def nine(  # noqa: PLR0917
    a: int, b: int, c: int, d: int, e: int, f: int, g: int, h: int, i: int
) -> None: ...
def unresolved(price: Decimal) -> None: ...
def odd_name(größe: int) -> None: ...  # noqa: PLC2401
def method(self, card: Card) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001
def yields() -> Iterator[int]:
    yield 1


async def yields_async() -> Any:
    yield 1


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (unannotated, "annotate 'card' with its type, or as Context"),
        (no_result, "annotate what it returns, with `-> None`"),
        (variadic, "list the inputs as parameters"),
        (keywords, "list the inputs as parameters"),
        (keyword_only, "move it before the `*`"),
        (positional_only, "remove the `/`"),
        (late_context, "move 'context' to the front"),
        (named_output, "keyword-only"),
        (keyword_output, "rename the parameter"),
        (opaque_input, "the input 'thing': complex cannot be a payload: use"),
        (opaque_result, "the result: complex cannot be a payload: use"),
        (any_first, "annotate it with sagaline.JsonValue, or take a Context before it"),
        (object_first, "annotate it with sagaline.JsonValue, or take a Context before it"),
        (nine, "has 9 inputs; type checkers can compare 8: put those that belong together into one dataclass"),
        (unresolved, "import the name where it is needed at run time"),
        (odd_name, "characters of [A-Za-z0-9_]"),
        (method, "define it as a function"),
        (yields, "report progress with Context.heartbeat"),
        (yields_async, "report progress with Context.heartbeat"),
        (Card, "only a function can be one"),
        (3, "only a function can be one"),
        (staticmethod(keywords), "below @staticmethod"),
    ],
)
def test_what_cannot_be_an_action_is_refused_with_the_cure(function: Any, message: str) -> None:
    with pytest.raises(ActionError) as caught:
        action(function)
    assert message in str(caught.value)
    assert caught.value.code == "BAD_ACTION"


@pytest.mark.parametrize("name", ["", " ", "a b", ".hidden", "ä", "a" * 129, "a/b"])
def test_names_that_are_not_allowed(name: str) -> None:
    with pytest.raises(ActionError, match="cannot be the name of an action"):
        action(name)(count.forward.function)


@pytest.mark.parametrize("version", ["", "1 2", "v" * 65])
def test_versions_that_are_not_allowed(version: str) -> None:
    with pytest.raises(ActionError, match="a version has 1 to 64"):
        action("a", version=version)(count.forward.function)
    with pytest.raises(ActionError, match="max_in_flight"):
        action("a", max_in_flight=-1)(count.forward.function)


def test_any_json_can_be_asked_for() -> None:
    @action
    def take(value: JsonValue) -> JsonValue:
        return value

    @action
    def take_after(context: Context, value: Any) -> Any:
        return value

    assert take.decode_inputs(payloads(value=[1, {"a": None}])) == {"value": [1, {"a": None}]}
    assert take_after.decode_inputs(payloads(value=3)) == {"value": 3}


# ---- functions that cannot be undo actions


def makes(text: str) -> Callable[..., Any]:
    """Return a function of this signature."""
    names: dict[str, Any] = {"Card": Card, "Receipt": Receipt, "Context": Context, "Any": Any}
    exec(f"def undo{text}: ...", names)
    function: Callable[..., Any] = names["undo"]
    return function


@pytest.mark.parametrize(
    ("signature", "message"),
    [
        ("(cart: Card) -> None", "'cart' is no input of its action, whose inputs are card, amount, note"),
        ("(card: Receipt) -> None", "'card' is Receipt here and Card in the action"),
        ("(amount: int) -> None", "'amount' is int here and float in the action"),
        ("(output: Receipt | None) -> None", "must be keyword-only"),
        ("(*, output: Receipt) -> None", "annotate it `Receipt | None`"),
        ("(*, output: Card | None) -> None", "annotate it `Receipt | None`"),
        ("(*, output: None) -> None", "annotate it `Receipt | None`"),
        ("(*, card: Card) -> None", "move it before the `*`"),
        ("(card) -> None", "annotate 'card'"),
        ("(card: Card)", "annotate what it returns"),
        ("(card: Card) -> int", "an undo action returns None"),
        ("(card: Card, context: Context) -> None", "the Context comes first"),
    ],
)
def test_what_cannot_be_an_undo_action_is_refused_with_the_cure(signature: str, message: str) -> None:
    fresh: Action[Any, Any] = action("fresh")(charge.forward.function)
    with pytest.raises(ActionError) as caught:
        fresh.undo(makes(signature))
    assert message in str(caught.value)
    assert fresh.backward is None


@pytest.mark.parametrize(
    "signature",
    [
        "() -> None",
        "(context: Context) -> None",
        "(note: str, card: Card) -> None",
        "(note: str | None, amount: Any) -> None",
        "(context: Context, *, output: object) -> None",
        "(*, output: Any) -> None",
        "(*, output: Card | Receipt | None) -> None",
    ],
)
def test_what_can_be_an_undo_action(signature: str) -> None:
    fresh: Action[Any, Any] = action("fresh")(charge.forward.function)
    fresh.undo(makes(signature))
    assert fresh.backward is not None
    assert fresh.backward.takes_output == ("output" in signature)


def test_an_action_is_no_function() -> None:
    """To call it, to decorate it again and to undo by it are mistakes, and each says what to do instead."""

    @action
    async def pay(cents: int) -> None: ...

    with pytest.raises(TypeError, match=r"give it to GraphBuilder\.add.*pay\.forward\.function"):
        pay(5)  # type: ignore[operator]
    with pytest.raises(ActionError, match="pay is an action already"):
        action(pay)  # type: ignore[call-overload]
    with pytest.raises(ActionError, match="pay is an action already"):
        pay.undo(pay)  # type: ignore[call-overload]


def test_there_is_one_undo_action() -> None:
    with pytest.raises(ActionError, match="has an undo action already: refund"):
        charge.undo(refund)


def test_actions_are_not_registered_anywhere() -> None:
    """Two of one name are no trouble until one worker is given both."""
    first = action("same")(count.forward.function)
    second = action("same")(count.forward.function)
    assert first is not second


def test_a_callable_object_can_be_an_action() -> None:
    class Greeter:
        def __init__(self, greeting: str) -> None:
            self.greeting = greeting

        async def __call__(self, name: str) -> str:
            return f"{self.greeting} {name}"

    greet = action("greet")(Greeter("hello"))
    assert greet.forward.is_async
    assert asyncio.run(greet.forward.call(context(), {"name": "Ada"})) == "hello Ada"
    with pytest.raises(ActionError, match="cannot be the name"):
        action(Greeter("hello"))
    assert isinstance(partial(print), partial)
