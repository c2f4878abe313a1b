"""Prints messages as JSON and as tables."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import click
from google.protobuf import json_format

from sagaline.cli.text import clean

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from rich.console import Console

WIDTH_OFF_TERMINAL = 4_096
"""Off a terminal no line is broken or cut: whoever reads it there reads lines."""

STATUS_STYLES = {
    "running": "blue",
    "unwinding": "yellow",
    "stuck": "bold red",
    "succeeded": "green",
    "unwound": "magenta",
    "quarantined": "bold red",
    "retrying": "yellow",
    "held": "bold red",
    "failed": "red",
    "in doubt": "yellow",
    "undoing": "magenta",
    "undo retrying": "yellow",
    "undone": "magenta",
    "undo failed": "bold red",
    "abandoned": "dim",
    "pending": "dim",
}


def print_json(message: Message) -> None:
    """Print one message over several lines."""
    click.echo(_json(message, indent=2))


def print_json_line(message: Message) -> None:
    """Print one message on one line, at once."""
    click.echo(_json(message, indent=None))


def _json(message: Message, *, indent: int | None) -> str:
    return json_format.MessageToJson(message, preserving_proto_field_name=True, indent=indent)


def console() -> Console:
    """Return a console on standard output. It colours nothing off a terminal, nor where NO_COLOR is set."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else WIDTH_OFF_TERMINAL
    return Console(markup=False, highlight=False, emoji=False, width=width)


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows of text that is clean already; a cell that names a state has the state's colour."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in header:
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell, style=_style(cell)) for cell in row))
    screen = console()
    with screen.capture() as capture:
        screen.print(table)
    click.echo("\n".join(line.rstrip() for line in capture.get().splitlines()))


def _style(cell: str) -> str:
    state, comma, marks = cell.partition(", ")
    if comma and "needs an operator" in marks:
        state = "stuck"
    return STATUS_STYLES.get(state, "") if not comma or state in STATUS_STYLES else ""


def print_facts(facts: Iterable[tuple[str, str]]) -> None:
    """Print "name: value" lines, without those that have no value."""
    told = [(name, value) for name, value in facts if value]
    width = max((len(name) for name, _value in told), default=0) + 1
    for name, value in told:
        click.echo(f"{name + ':':<{width}}  {value}")


def print_labels(labels: dict[str, str]) -> str:
    """Return labels as "key=value" in the order of their keys."""
    return ", ".join(f"{clean(key)}={clean(labels[key])}" for key in sorted(labels))
