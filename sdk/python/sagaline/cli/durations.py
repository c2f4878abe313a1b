"""Reads lengths of time as people write them, "250ms", "30s", "1h30m", and times."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import click

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def seconds(text: str | float) -> float:
    """Return the seconds of a length of time above zero; a bare number is seconds.

    Raises:
        click.BadParameter: `text` says no such length.
    """
    found = parse_seconds(str(text))
    if found is None or found <= 0:
        raise click.BadParameter(f'{text!r} is not a length of time such as "250ms", "30s" or "1h30m"')
    return found


def moment(text: str | datetime) -> datetime:
    """Return the time that a text says, in UTC unless it says otherwise, or a length of time ago.

    Raises:
        click.BadParameter: `text` says no time.
    """
    if isinstance(text, datetime):
        return text
    ago = None if text.isdecimal() else parse_seconds(text)
    try:
        if ago is not None:
            return datetime.now(UTC) - timedelta(seconds=ago)
        said = datetime.fromisoformat(text)
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(f'{text!r} is no time such as "2026-11-24T10:30" or "2h", two hours ago') from error
    return said if said.tzinfo is not None else said.replace(tzinfo=UTC)


def parse_seconds(text: str) -> float | None:
    """Return the seconds that `text` says, or None if it says no length of time."""
    if re.fullmatch(r"\d+(?:\.\d+)?", text):
        return float(text)
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return sum(float(number) * _UNITS_S[unit] for number, unit in parts)
