"""Reads the signatures of actions and undo actions, and says what is wrong with them and how to mend it."""

from __future__ import annotations

import collections.abc
import inspect
import re
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sagaline import limits
from sagaline.codecs.codec import type_name
from sagaline.context import Context
from sagaline.errors import ActionError, TypeNotSupported
from sagaline.fitting import fits
from sagaline.values import check_type

OUTPUT: Final = "output"
"""Name of the parameter in which an undo action gets what its action returned."""

INPUT_NAME: Final = re.compile(rf"[A-Za-z_][A-Za-z0-9_.-]{{0,{limits.NODE_NAME_CHARS - 1}}}")


@dataclass(frozen=True, slots=True)
class Side:
    """One of an action's two functions, and how it is called."""

    function: Callable[..., Any]
    is_async: bool
    """Whether what it returns has to be awaited."""
    takes_context: bool
    inputs: tuple[str, ...]
    """Names of its inputs, in the order of its parameters."""
    optional: frozenset[str]
    """Inputs with a default, for graphs that are older than the parameter."""
    takes_output: bool = False

    def call(self, context: Context, arguments: Mapping[str, Any]) -> Any:
        """Call the function; the answer has to be awaited where `is_async`."""
        if self.takes_context:
            return self.function(context, **arguments)
        return self.function(**arguments)


def read_action(function: Callable[..., Any], scope: Mapping[str, Any]) -> tuple[Side, dict[str, Any], Any]:
    """Return an action's side, the types of its inputs by name, and the type of its output.

    Args:
        function: The function.
        scope: Names of the block that it is defined in, for annotations that are text.

    Raises:
        ActionError: It cannot be an action.
    """
    where = f"action {_name(function)}"
    side, inputs, output = _read(function, scope, where)
    _check_types(inputs, output, where)
    if OUTPUT in inputs:
        raise ActionError(
            f"{where}: no input can be named {OUTPUT!r}, because its undo action gets the action's result under "
            "that name; rename the parameter"
        )
    if len(inputs) > limits.ACTION_INPUTS:
        raise ActionError(
            f"{where} has {len(inputs)} inputs; type checkers can compare {limits.ACTION_INPUTS}: put those that "
            "belong together into one dataclass"
        )
    first = next(iter(inputs.values()), None)
    if not side.takes_context and (first is Any or first is object):
        raise ActionError(
            f"{where}: type checkers cannot tell a first parameter of type {type_name(first)} from a Context; "
            "annotate it with sagaline.JsonValue, or take a Context before it"
        )
    return side, inputs, output


def read_undo(function: Callable[..., Any], scope: Mapping[str, Any], inputs: Mapping[str, Any], output: Any) -> Side:
    """Return the side of an undo action.

    Args:
        function: The function.
        scope: Names of the block that it is defined in, for annotations that are text.
        inputs: Types of the action's inputs.
        output: Type of the action's output.

    Raises:
        ActionError: It cannot be the undo action of such an action.
    """
    where = f"undo action {_name(function)}"
    side, taken, returned = _read(function, scope, where)
    if returned not in (None, type(None)):
        raise ActionError(
            f"{where} returns {type_name(returned)}; an undo action returns None, so annotate it `-> None`"
        )
    for name, declared in taken.items():
        if name == OUTPUT:
            _check_output(declared, output, where)
        elif name not in inputs:
            raise ActionError(
                f"{where}: {name!r} is no input of its action, whose inputs are {', '.join(inputs) or 'none'}; an undo "
                f"action takes those it needs, by name, and the action's result as `*, {OUTPUT}`"
            )
        elif not fits(declared, inputs[name]):
            raise ActionError(
                f"{where}: {name!r} is {type_name(declared)} here and {type_name(inputs[name])} in the action"
            )
    return side


def _check_types(inputs: Mapping[str, Any], output: Any, where: str) -> None:
    declared_by = {f"the input {name!r}": declared for name, declared in inputs.items()}
    for what, declared in {**declared_by, "the result": output}.items():
        try:
            check_type(declared)
        except TypeNotSupported as problem:
            raise ActionError(f"{where}: {what}: {problem}") from problem


def _check_output(declared: Any, output: Any, where: str) -> None:
    if not (fits(declared, output) and fits(declared, None)):
        raise ActionError(
            f"{where}: {OUTPUT!r} is {type_name(declared)}; annotate it `{type_name(output)} | None`: what the action "
            "returns, or None where its outcome is not known"
        )


def _read(function: Callable[..., Any], scope: Mapping[str, Any], where: str) -> tuple[Side, dict[str, Any], Any]:
    _check_callable(function, where)
    hints = _hints(function, scope, where)
    parameters = list(inspect.signature(function).parameters.values())
    takes_context = bool(parameters) and _is_context(hints.get(parameters[0].name))
    inputs = {}
    for parameter in parameters[takes_context:]:
        _check_parameter(parameter, hints, where)
        inputs[parameter.name] = hints[parameter.name]
    if "return" not in hints:
        raise ActionError(f"{where}: annotate what it returns, with `-> None` if it returns nothing")
    is_async, output = _output(function, hints["return"])
    side = Side(
        function=function,
        is_async=is_async,
        takes_context=takes_context,
        inputs=tuple(name for name in inputs if name != OUTPUT),
        optional=frozenset(each.name for each in parameters if each.default is not each.empty),
        takes_output=OUTPUT in inputs,
    )
    return side, inputs, output


def _check_callable(function: Any, where: str) -> None:
    if isinstance(function, staticmethod | classmethod):
        raise ActionError(f"{where}: put the decorator of Sagaline below @{type(function).__name__}")
    if not callable(function) or isinstance(function, type):
        raise ActionError(f"{where}: only a function can be one, not a value of type {type_name(type(function))}")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ActionError(f"{where} yields values; an action returns one: report progress with Context.heartbeat")


def _hints(function: Callable[..., Any], scope: Mapping[str, Any], where: str) -> dict[str, Any]:
    target = function if inspect.isfunction(function) or inspect.ismethod(function) else type(function).__call__
    try:
        return typing.get_type_hints(target)
    except NameError:
        pass  # a text annotation that names something of the block around it
    try:
        return typing.get_type_hints(target, localns=dict(scope))
    except NameError as error:
        raise ActionError(
            f"{where}: an annotation cannot be resolved ({error}): import the name where it is needed at run time, "
            "outside of `if TYPE_CHECKING:`"
        ) from error


def _is_context(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Context)


def _check_parameter(parameter: inspect.Parameter, hints: Mapping[str, Any], where: str) -> None:
    name = parameter.name
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        raise ActionError(f"{where}: {parameter} stands for no named input; list the inputs as parameters")
    if parameter.kind is parameter.POSITIONAL_ONLY:
        raise ActionError(f"{where}: {name!r} is positional-only, but inputs are given by name; remove the `/`")
    if name == OUTPUT and parameter.kind is not parameter.KEYWORD_ONLY:
        raise ActionError(
            f"{where}: {OUTPUT!r} must be keyword-only, so that type checkers compare it with what the action returns; "
            f"write `*, {OUTPUT}: … | None` as its last parameter"
        )
    if name != OUTPUT and parameter.kind is parameter.KEYWORD_ONLY:
        raise ActionError(
            f"{where}: {name!r} is keyword-only, but graphs give inputs by position; move it before the `*`"
        )
    if name in ("self", "cls") and name not in hints:
        raise ActionError(
            f"{where} is a method; define it as a function, inside a function that is given what it needs, if need be"
        )
    if name not in hints:
        raise ActionError(f"{where}: annotate {name!r} with its type, or as Context if it is the first parameter")
    if _is_context(hints[name]):
        raise ActionError(f"{where}: the Context comes first; move {name!r} to the front")
    if not INPUT_NAME.fullmatch(name):
        raise ActionError(f"{where}: {name!r} must have 1 to {limits.NODE_NAME_CHARS} characters of [A-Za-z0-9_]")


def _output(function: Callable[..., Any], returned: Any) -> tuple[bool, Any]:
    """Return whether the result is awaited, and its type."""
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None)):  # noqa: B004
        return True, returned
    origin, args = typing.get_origin(returned), typing.get_args(returned)
    if origin in (collections.abc.Awaitable, collections.abc.Coroutine) and args:
        return True, args[-1]
    return False, returned


def _name(function: Any) -> str:
    return str(getattr(function, "__qualname__", None) or type_name(type(function))).rpartition("<locals>.")[2]
