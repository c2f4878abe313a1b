"""The functions that `barrier.once` decorates: what they take, and how they look once they are decorated."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sagaline.context import Context
from sagaline.errors import BarrierMisuse
from sagaline.signatures import OUTPUT

LEADING = 2
"""Parameters before the inputs: the connection and the context."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A function that takes a connection, a `Context`, and inputs."""

    function: Callable[..., Any]
    returns: Any
    """What an action returns."""
    output: Any
    """Type of an undo action's `output`."""
    takes_output: bool
    signature: inspect.Signature
    """As it is decorated: without the connection."""
    annotations: Mapping[str, Any]

    def call_undo(self, tx: Any, context: Context, output: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call an undo action's function with the recorded output, whatever the SEC knows of it."""
        if self.takes_output:
            kwargs = {**kwargs, OUTPUT: output}
        return self.function(tx, context, *args, **kwargs)


def read(function: Callable[..., Any], scope: Mapping[str, Any], *, is_async: bool) -> Shape:
    """Return the shape of a function.

    Args:
        function: The function.
        scope: Names of the block that it is defined in, for annotations that are text.
        is_async: Whether it has to be a coroutine function.

    Raises:
        BarrierMisuse: It has another shape.
    """
    name = getattr(function, "__qualname__", repr(function))
    if inspect.iscoroutinefunction(function) is not is_async:
        raise BarrierMisuse(
            f"{name}: this is an async barrier for `async def`; use a barrier without `await`"
            if is_async
            else f"{name}: this is a barrier for `def`; use an async one"
        )
    hints = _hints(function, scope, name)
    signature = inspect.signature(function)
    parameters = list(signature.parameters.values())
    context = hints.get(parameters[1].name) if len(parameters) >= LEADING else None
    if not (isinstance(context, type) and issubclass(context, Context)):
        raise BarrierMisuse(
            f"{name}: what `once` decorates takes the connection first and its context second: "
            "`(tx: Connection, context: Context, …)`"
        )
    return Shape(
        function=function,
        returns=hints.get("return", Any),
        output=hints.get(OUTPUT, Any),
        takes_output=OUTPUT in signature.parameters,
        signature=signature.replace(parameters=parameters[1:]),
        annotations={key: value for key, value in hints.items() if key != parameters[0].name},
    )


def _hints(function: Callable[..., Any], scope: Mapping[str, Any], name: str) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, localns=dict(scope))
    except NameError as error:
        raise BarrierMisuse(
            f"{name}: an annotation cannot be resolved ({error}): import the name where it is needed at run time, "
            "outside of `if TYPE_CHECKING:`"
        ) from error


def dress(guarded: Callable[..., Any], shape: Shape) -> None:
    """Let a decorated function be read as one without the connection, which is what `action` has to see."""
    guarded.__signature__ = shape.signature  # type: ignore[attr-defined]
    guarded.__annotations__ = dict(shape.annotations)
