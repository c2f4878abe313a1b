"""How two snapshots differ is told where they do, and a snapshot stays as it was taken."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from sagaline.testing.worlds import LINES_MAX, differences, taken


@dataclass(frozen=True)
class Row:
    name: str
    cents: int


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        (1, 1, []),
        (1, 2, ["1 -> 2"]),
        ({"a": 1, "b": 2}, {"a": 3, "c": 4}, ["['a']: 1 -> 3", "['b']: - 2", "['c']: + 4"]),
        ({"rows": [1, 2, 2]}, {"rows": [1, 2, 2, 2, 3]}, ["['rows']: + 2", "['rows']: + 3"]),
        ([Row("a", 1)], [Row("a", 2)], ["[0].cents: 1 -> 2"]),
        ({1, 2}, {2, 3}, ["- 1", "+ 3"]),
        ((1, "a"), (1, "b"), ["[1]: 'a' -> 'b'"]),
        ([1], None, ["[1] -> None"]),
    ],
)
def test_where_they_differ(before: object, after: object, lines: list[str]) -> None:
    assert differences(before, after) == "\n".join(f"  {line}" for line in lines)


def test_many_differences_are_cut() -> None:
    lines = differences({}, dict.fromkeys(range(100), 1)).splitlines()
    assert len(lines) == LINES_MAX + 1
    assert lines[-1] == f"  ... and {100 - LINES_MAX} more"


async def test_a_snapshot_stays_as_it_was_taken() -> None:
    world = {"rows": [1]}
    before = await taken(lambda: world)
    world["rows"].append(2)
    assert differences(before, world) == "  ['rows']: + 2"


async def test_a_snapshot_may_be_a_coroutine() -> None:
    async def rows() -> list[int]:
        return [1]

    assert await taken(rows) == [1]
