"""HTML that can't be broken out of: every text of a saga, a worker or an operator goes through `text`."""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Iterable

CHARS_MAX = 400
"""Longest text of the user's in one place; the rest is cut, and the cut is marked."""

_UNPRINTABLE = frozenset({"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"})


def text(value: str, limit: int = CHARS_MAX) -> str:
    """Return `value` for a page: cut, its control and direction characters made visible, and escaped."""
    cut = value if len(value) <= limit else value[:limit] + "…"
    if not (cut.isascii() and cut.isprintable()):
        cut = "".join(_visible(character) for character in cut)
    return html.escape(cut, quote=True)


def _visible(character: str) -> str:
    if unicodedata.category(character) not in _UNPRINTABLE:
        return character
    return character.encode("unicode_escape", "backslashreplace").decode("ascii")


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table of cells that are markup already."""
    head = "".join(f"<th>{cell}</th>" for cell in header)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def page(title: str, body: str) -> bytes:
    """Return a whole page around markup."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(title)} - Sagaline</title>"
        '<link rel="stylesheet" href="/static/style.css"><script src="/static/live.js" defer></script></head><body>'
        '<header><a href="/">Sagaline</a> <nav><a href="/?show=unfinished">unfinished</a> '
        '<a href="/?show=operator">needs an operator</a> <a href="/?show=all">all</a> '
        '<a href="/secs">SECs and workers</a></nav>'
        '<form action="/find"><input name="saga" placeholder="id of a saga" aria-label="id of a saga"></form></header>'
        f"<main>{body}</main></body></html>"
    ).encode()
