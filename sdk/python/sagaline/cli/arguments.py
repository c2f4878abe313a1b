"""Arguments and options that several commands take."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from sagaline.v1 import log_pb2, saga_pb2

F = TypeVar("F", bound=Callable[..., Any])

STEPS_MAX = 10_000
"""Steps of one order."""

_SIDES = {"action": saga_pb2.INVOCATION_KIND_ACTION, "undo": saga_pb2.INVOCATION_KIND_UNDO}

saga_argument = click.argument("saga_id", metavar="SAGA")

archive_option = click.option(
    "--archive",
    metavar="WHERE",
    help="Ask no SEC but this archive: a directory, or postgresql://… as in the server's setting.",
)


def label(text: str) -> tuple[str, str]:
    """Return key and value of a label given as "KEY=VALUE".

    Raises:
        click.BadParameter: It does not read so.
    """
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise click.BadParameter(f"{text!r} does not read KEY=VALUE")
    return key, value


def breakpoint_at(text: str) -> log_pb2.Breakpoint:
    """Return the breakpoint given as "NODE", "NODE:action" or "NODE:undo".

    Raises:
        click.BadParameter: It does not read so.
    """
    node, colon, side = text.partition(":")
    if not node or (colon and side not in _SIDES):
        raise click.BadParameter(f"{text!r} does not read NODE, NODE:action or NODE:undo")
    return log_pb2.Breakpoint(node=node, kind=_SIDES[side] if colon else saga_pb2.INVOCATION_KIND_UNSPECIFIED)


def as_labels(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return labels given one by one as a mapping.

    Raises:
        click.BadParameter: One key has two values.
    """
    labels = dict(pairs)
    if len(labels) < len(set(pairs)):
        raise click.BadParameter("a key was given two values")
    return labels


def attribution_options(command: F) -> F:
    """Give a command the options that say who asks and why."""
    actor = click.option("--actor", default=who, help="Who asks, for the log.  [default: you, on this host]")
    reason = click.option("--reason", default="", help="Why, for the log.")
    return actor(reason(command))


def who() -> str:
    """Return the user and host that the log shall name."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
