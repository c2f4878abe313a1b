"""Snapshots of the user's world, and how two of them differ, in words."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass

Snapshot = Callable[[], object] | Callable[[], Awaitable[object]]
"""Returns what actions change: values that can be compared, such as the rows of a database in a fixed order."""

LINES_MAX = 12
TEXT_CHARS = 160


async def taken(snapshot: Snapshot) -> object:
    """Take a snapshot that later changes of the world leave as it is."""
    world = snapshot()
    if inspect.isawaitable(world):
        world = await world
    return copy.deepcopy(world)


def differences(before: object, after: object) -> str:
    """Return where two snapshots differ, a line each; empty: nowhere."""
    if before == after:
        return ""
    lines: list[str] = []
    _compare("", before, after, lines)
    if len(lines) > LINES_MAX:
        lines[LINES_MAX:] = [f"... and {len(lines) - LINES_MAX} more"]
    return "\n".join(f"  {line}" for line in lines)


def _compare(path: str, before: object, after: object, lines: list[str]) -> None:
    if before == after:
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        _compare_mappings(path, before, after, lines)
    elif isinstance(before, AbstractSet) and isinstance(after, AbstractSet):
        lines += [f"{_at(path)}- {_text(each)}" for each in sorted(before - after, key=repr)]
        lines += [f"{_at(path)}+ {_text(each)}" for each in sorted(after - before, key=repr)]
    elif _is_list(before) and _is_list(after):
        _compare_lists(path, before, after, lines)
    elif is_dataclass(before) and type(before) is type(after):
        for field in fields(before):
            _compare(f"{path}.{field.name}", getattr(before, field.name), getattr(after, field.name), lines)
    else:
        lines.append(f"{_at(path)}{_text(before)} -> {_text(after)}")


def _compare_mappings(
    path: str, before: Mapping[object, object], after: Mapping[object, object], lines: list[str]
) -> None:
    for key in before:
        if key not in after:
            lines.append(f"{path}[{key!r}]: - {_text(before[key])}")
        else:
            _compare(f"{path}[{key!r}]", before[key], after[key], lines)
    lines += [f"{path}[{key!r}]: + {_text(after[key])}" for key in after if key not in before]


def _compare_lists(path: str, before: object, after: object, lines: list[str]) -> None:
    assert isinstance(before, Sequence)
    assert isinstance(after, Sequence)
    if len(before) == len(after):
        for index, (one, other) in enumerate(zip(before, after, strict=True)):
            _compare(f"{path}[{index}]", one, other, lines)
        return
    gone, come = list(before), list(after)
    for each in before:
        if each in come:
            come.remove(each)
            gone.remove(each)
    lines += [f"{_at(path)}- {_text(each)}" for each in gone]
    lines += [f"{_at(path)}+ {_text(each)}" for each in come]


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _at(path: str) -> str:
    return f"{path}: " if path else ""


def _text(value: object) -> str:
    text = repr(value)
    return text if len(text) <= TEXT_CHARS else text[: TEXT_CHARS - 3] + "..."
