"""All or nothing, counted in the four databases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import psycopg

Rows = Mapping[str, list[tuple[str, ...]]]


def read(url: str) -> tuple[Counter[str], Counter[tuple[str, str]]]:
    """Bookings by saga, and effects by saga and kind, of one database."""
    with psycopg.connect(url) as db:
        bookings = Counter(saga for (saga,) in db.execute("SELECT saga FROM bookings"))
        effects = Counter((saga, what) for saga, what in db.execute("SELECT saga, what FROM effects"))
    return bookings, effects


def violations(urls: Mapping[str, str], succeeded: Iterable[str], unwound: Iterable[str]) -> list[str]:
    """What must not be, by saga and database."""
    found: list[str] = []
    succeeded, unwound = set(succeeded), set(unwound)
    for node, url in urls.items():
        bookings, effects = read(url)
        found += [f"{saga} succeeded and has no booking in {node}" for saga in succeeded - bookings.keys()]
        found += [f"{saga} did not succeed and has a booking in {node}" for saga in bookings.keys() - succeeded]
        found += [f"{saga}: {what} {count} times in {node}" for (saga, what), count in effects.items() if count > 1]
        undone = {saga for saga, what in effects if what == "released"}
        found += [f"{saga} was released in {node} and did not unwind" for saga in undone - unwound]
    return found
