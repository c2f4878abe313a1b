"""Actions: functions that workers run for nodes, each with the undo action that reverses it.

```python
@action("payments.charge", version="1")
async def charge(context: Context, card: Card, amount: Decimal) -> Receipt: ...


@charge.undo
async def refund(context: Context, card: Card, *, output: Receipt | None) -> None: ...
```

A first parameter annotated `Context` is not an input; all others are. An undo action takes those inputs that it
needs, by name, and in the keyword-only parameter `output` what the action returned, or None where its outcome is
not known. There is no registry: a worker serves the actions that it is given.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, TypeVarTuple, overload

from sagaline import limits
from sagaline.context import Context
from sagaline.errors import ActionError, ConversionError
from sagaline.signatures import Side, read_action, read_undo
from sagaline.undo_shapes import Undo0, Undo1, Undo2, Undo3, Undo4, Undo5, Undo6, Undo7, Undo8, Undo9
from sagaline.v1 import saga_pb2, worker_service_pb2
from sagaline.v1.payload_pb2 import Payload, TypeSpec
from sagaline.values import decode, encode, type_spec

Ins = TypeVar("Ins")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
Ts = TypeVarTuple("Ts")
A1 = TypeVar("A1")
A2 = TypeVar("A2")
A3 = TypeVar("A3")
A4 = TypeVar("A4")
A5 = TypeVar("A5")
A6 = TypeVar("A6")
A7 = TypeVar("A7")
A8 = TypeVar("A8")
A9 = TypeVar("A9")
Z = TypeVar("Z", bound="Awaitable[None] | None")

_NAME: Final = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{limits.ACTION_NAME_CHARS - 1}}}")
_VERSION: Final = re.compile(rf"[A-Za-z0-9._-]{{1,{limits.VERSION_CHARS}}}")


class Action(Generic[Ins, R_co]):
    """A named function that a worker runs for nodes, and how it is undone. Made by the decorator `action`.

    `Action[tuple[Card, Decimal], Receipt]` takes a Card and a Decimal and returns a Receipt. The function itself is
    `forward.function`, for tests that call it directly.

    Attributes:
        name: Registered name, the same in graphs and workers.
        version: Version, matched exactly.
        pool: Slot pool of the worker that its invocations use.
        max_in_flight: Most invocations at once on one worker; 0 is no limit.
        elsewhere: Whether only other programs serve it.
        input_types: Types of the inputs by name, in the order in which graphs give them.
        output_type: Type of the output.
        forward: The action's function.
        backward: The undo action's function; None if it has none, or is served elsewhere.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        scope: Mapping[str, Any],
        name: str | None,
        *,
        version: str = "1",
        pool: str = "",
        max_in_flight: int = 0,
        elsewhere: bool = False,
    ) -> None:
        _refuse_action(function)
        self.forward, inputs, self.output_type = read_action(function, scope)
        self.input_types: Mapping[str, Any] = inputs
        self.name = name if name is not None else str(getattr(function, "__name__", ""))
        self.version = version
        self.pool = pool
        self.max_in_flight = max_in_flight
        self.elsewhere = elsewhere
        self.backward: Side | None = None
        self._check_options()
        self.__doc__ = function.__doc__
        self.__name__ = getattr(function, "__name__", self.name)
        self.__module__ = function.__module__

    def __repr__(self) -> str:
        return f"<Action {self.name} version {self.version}({', '.join(self.input_types)})>"

    if not TYPE_CHECKING:  # for a type checker an action is not callable, and it says so by itself

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            """Say what an action is for: calling it is a mistake."""
            raise TypeError(
                f"action {self.name} runs on a worker, for a node of a saga: give it to GraphBuilder.add. "
                f"To call its function, in a test say: {self.__name__}.forward.function(...)"
            )

    def _check_options(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ActionError(
                f"{self.name!r} cannot be the name of an action: give 1 to {limits.ACTION_NAME_CHARS} characters of "
                "[A-Za-z0-9._-], starting with a letter or digit"
            )
        if not _VERSION.fullmatch(self.version):
            raise ActionError(
                f"action {self.name}: a version has 1 to {limits.VERSION_CHARS} characters of [A-Za-z0-9._-]; "
                f"{self.version!r} does not"
            )
        if self.max_in_flight < 0:
            raise ActionError(f"action {self.name}: max_in_flight is {self.max_in_flight}; 0 is no limit")

    @overload
    def undo(self, function: Callable[[*Ts], Z], /) -> Callable[[*Ts], Z]: ...
    @overload
    def undo(self, function: Undo0[R_co, Z], /) -> Undo0[R_co, Z]: ...
    @overload
    def undo(self, function: Undo1[A1, R_co, Z], /) -> Undo1[A1, R_co, Z]: ...
    @overload
    def undo(self, function: Undo2[A1, A2, R_co, Z], /) -> Undo2[A1, A2, R_co, Z]: ...
    @overload
    def undo(self, function: Undo3[A1, A2, A3, R_co, Z], /) -> Undo3[A1, A2, A3, R_co, Z]: ...
    @overload
    def undo(self, function: Undo4[A1, A2, A3, A4, R_co, Z], /) -> Undo4[A1, A2, A3, A4, R_co, Z]: ...
    @overload
    def undo(self, function: Undo5[A1, A2, A3, A4, A5, R_co, Z], /) -> Undo5[A1, A2, A3, A4, A5, R_co, Z]: ...
    @overload
    def undo(self, function: Undo6[A1, A2, A3, A4, A5, A6, R_co, Z], /) -> Undo6[A1, A2, A3, A4, A5, A6, R_co, Z]: ...
    @overload
    def undo(
        self, function: Undo7[A1, A2, A3, A4, A5, A6, A7, R_co, Z], /
    ) -> Undo7[A1, A2, A3, A4, A5, A6, A7, R_co, Z]: ...
    @overload
    def undo(
        self, function: Undo8[A1, A2, A3, A4, A5, A6, A7, A8, R_co, Z], /
    ) -> Undo8[A1, A2, A3, A4, A5, A6, A7, A8, R_co, Z]: ...
    @overload
    def undo(
        self, function: Undo9[A1, A2, A3, A4, A5, A6, A7, A8, A9, R_co, Z], /
    ) -> Undo9[A1, A2, A3, A4, A5, A6, A7, A8, A9, R_co, Z]: ...
    def undo(self, function: Any, /) -> Any:
        """Decorate this action's undo action.

        It takes the inputs that it needs by their names, and optionally `*, output: R | None`. It must cope with
        the action having run, not run, or still arriving, wherever `output` is None.

        Raises:
            ActionError: It cannot be this action's undo action, or the action has one already.
        """
        _refuse_action(function)
        if self.backward is not None:
            raise ActionError(f"action {self.name} has an undo action already: {self.backward.function.__qualname__}")
        scope = sys._getframe(1).f_locals  # noqa: SLF001 - annotations may name what the caller has defined
        self.backward = read_undo(function, scope, self.input_types, self.output_type)
        return function

    def decode_inputs(self, inputs: Mapping[str, Payload]) -> dict[str, Any]:
        """Return the values of an invocation's inputs by name.

        Raises:
            ConversionError: One is missing, not known, or not of its type; `path` begins with its name.
        """
        for name in inputs:
            if name not in self.input_types:
                raise ConversionError(
                    f"action {self.name} has no such input; is the graph newer than this worker?", name
                )
        return self._decode(self.forward, inputs)

    def decode_undo(self, inputs: Mapping[str, Payload], undo: worker_service_pb2.UndoContext) -> dict[str, Any]:
        """Return what the undo action is called with: the inputs that it takes, and the action's output.

        Raises:
            ConversionError: A value is missing or not of its type; `path` begins with its name.
        """
        if self.backward is None:
            raise ActionError(f"action {self.name} has no undo action here; it cannot be undone by this worker")
        values = self._decode(self.backward, inputs)
        if self.backward.takes_output:
            known = undo.action_outcome == worker_service_pb2.ACTION_OUTCOME_SUCCEEDED
            values["output"] = _decode_named("output", undo.action_output, self.output_type) if known else None
        return values

    def _decode(self, side: Side, inputs: Mapping[str, Payload]) -> dict[str, Any]:
        values = {}
        for name in side.inputs:
            payload = inputs.get(name)
            if payload is not None:
                values[name] = _decode_named(name, payload, self.input_types[name])
            elif name not in side.optional:
                raise ConversionError(f"action {self.name} needs this input and the graph does not give it", name)
        return values

    def encode_output(self, value: object) -> Payload:
        """Return the payload of what the function returned.

        Raises:
            ConversionError: It is not of the declared type.
            PayloadTooLarge: It has more than 256 KiB.
        """
        return encode(value, self.output_type)

    def input_specs(self) -> dict[str, TypeSpec]:
        """Return what is declared of the inputs by name; those of which nothing short can be said are left out."""
        found = ((name, type_spec(declared)) for name, declared in self.input_types.items())
        return {name: spec for name, spec in found if spec is not None}

    def spec(self) -> worker_service_pb2.ActionSpec:
        """Return what a worker says of the action in its hello."""
        return worker_service_pb2.ActionSpec(
            action=self.name,
            versions=[self.version],
            kinds=[] if self.backward is not None else [saga_pb2.INVOCATION_KIND_ACTION],
            slot_pool=self.pool,
            max_in_flight=self.max_in_flight,
            input_types=self.input_specs(),
            output_type=type_spec(self.output_type),
        )


class ActionDecorator:
    """What `action("name")` returns: makes an Action of the function below it."""

    def __init__(self, name: str | None, options: Mapping[str, Any]) -> None:
        self._name = name
        self._options = options

    @overload
    def __call__(self, function: Callable[[Context, *Ts], Awaitable[R]], /) -> Action[tuple[*Ts], R]: ...
    @overload
    def __call__(self, function: Callable[[*Ts], Awaitable[R]], /) -> Action[tuple[*Ts], R]: ...
    @overload
    def __call__(self, function: Callable[[Context, *Ts], R], /) -> Action[tuple[*Ts], R]: ...
    @overload
    def __call__(self, function: Callable[[*Ts], R], /) -> Action[tuple[*Ts], R]: ...
    def __call__(self, function: Any, /) -> Any:
        """Make an action of a function."""
        return Action(function, sys._getframe(1).f_locals, self._name, **self._options)  # noqa: SLF001 - as in `undo`


@overload
def action(
    name: str | None = None,
    /,
    *,
    version: str = "1",
    pool: str = "",
    max_in_flight: int = 0,
    elsewhere: bool = False,
) -> ActionDecorator: ...
@overload
def action(function: Callable[[Context, *Ts], Awaitable[R]], /) -> Action[tuple[*Ts], R]: ...
@overload
def action(function: Callable[[*Ts], Awaitable[R]], /) -> Action[tuple[*Ts], R]: ...
@overload
def action(function: Callable[[Context, *Ts], R], /) -> Action[tuple[*Ts], R]: ...
@overload
def action(function: Callable[[*Ts], R], /) -> Action[tuple[*Ts], R]: ...
def action(function: Any = None, /, **options: Any) -> Any:
    """Make an action of a function: `@action`, or `@action("payments.charge", version="2")`.

    Without a name the action has the function's. Every parameter and the result need annotations; a parameter may
    have a default, for graphs that are older than it is.

    Args:
        function: The function, or the action's name.
        **options: `version` ("1" if absent); `pool`, the worker's slot pool that its invocations use;
            `max_in_flight`, the most invocations at once on one worker (0 is no limit); `elsewhere=True` for an
            action that other programs serve, perhaps in another language: the function then only declares its
            types for graphs, and is never called.

    Raises:
        ActionError: The function cannot be an action. The message says why, and how to mend it.
    """
    if function is None or isinstance(function, str):
        return ActionDecorator(function, options)
    return Action(function, sys._getframe(1).f_locals, None, **options)  # noqa: SLF001 - as in `undo`


def _refuse_action(function: object) -> None:
    if isinstance(function, Action):
        raise ActionError(f"{function.name} is an action already: decorate a function, and only once")


def _decode_named(name: str, payload: Payload, declared: Any) -> Any:
    try:
        return decode(payload, declared)
    except ConversionError as error:
        error.path = name + error.path.removeprefix("$")
        error.args = (error.message, error.path)
        raise
