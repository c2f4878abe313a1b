"""Arguments and options that several commands take."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

saga_argument = click.argument("saga_id", metavar="SAGA")


def label(text: str) -> tuple[str, str]:
    """Return key and value of a label given as "KEY=VALUE".

    Raises:
        click.BadParameter: It does not read so.
    """
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise click.BadParameter(f"{text!r} does not read KEY=VALUE")
    return key, value


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
