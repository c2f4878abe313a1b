"""Proves that every saga left all or nothing, by comparing the inventory's rows with how the sagas ended.

    python -m sagaline_examples.audit --db inventory.db --address localhost:7070

Trusts nobody: it knows what a whole saga leaves (`shapes`), asks a SEC how each saga ended, and looks at what is there.
Exit 1: there are violations.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from sagaline import Client
from sagaline.v1 import saga_pb2
from sagaline_examples.inventory import Inventory
from sagaline_examples.rows import PoolCount, Rows, read_rows
from sagaline_examples.shapes import SHAPES, Held, Shape
from sagaline_examples.worker import ADDRESS

SUCCEEDED = "succeeded"
UNWOUND = "unwound"

VIOLATIONS_SHOWN_MAX = 20

# State of an effect -> how often the inventory was changed and changed back.
CHANGES_OF_STATE = {"DONE": (1, 0), "FAILED": (0, 0), "UNDONE": (1, 1), "CANCELLED": (0, 0)}


@dataclass(frozen=True, slots=True)
class SagaEnd:
    """How a saga ended, or where it stands."""

    saga_id: str
    graph: str
    state: str

    @classmethod
    def of(cls, saga: saga_pb2.Saga) -> SagaEnd:
        state = saga_pb2.SagaState.Name(saga.state).removeprefix("SAGA_STATE_").lower()
        return cls(saga.saga_id, saga.graph_name, state)


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that must not be."""

    rule: str
    subject: str
    """Saga or pool."""
    what: str


@dataclass(frozen=True, slots=True)
class Report:
    """What the audit saw, and what of it must not be."""

    ends: tuple[SagaEnd, ...]
    rows: Rows
    violations: tuple[Violation, ...]


def audit(inventory: Inventory, ends: Iterable[SagaEnd]) -> Report:
    """Find everything in one state of the inventory that contradicts how the sagas ended.

    Args:
        ends: Every saga that ever worked on this inventory.
    """
    rows = read_rows(inventory)
    known = tuple(ends)
    violations = (
        *_unknown_sagas(rows, known),
        *(violation for end in known for violation in _all_or_nothing(rows, end)),
        *_changes_counted(rows),
        *_pools_add_up(rows),
    )
    return Report(known, rows, violations)


# ---- the rules ---------------------------------------------------------------------------------------------


def _unknown_sagas(rows: Rows, ends: tuple[SagaEnd, ...]) -> Iterator[Violation]:
    known = {end.saga_id for end in ends}
    for saga in sorted(rows.sagas() - known):
        yield Violation("unknown-saga", saga, "left rows, and no SEC knows it")


def _all_or_nothing(rows: Rows, end: SagaEnd) -> Iterator[Violation]:
    shape = SHAPES.get(end.graph)
    if shape is None:
        yield Violation("unknown-graph", end.saga_id, f"the audit does not know what {end.graph} leaves")
    elif end.state == SUCCEEDED:
        yield from _left_all(rows, end, shape)
    elif end.state == UNWOUND:
        yield from _left_nothing(rows, end)
    else:
        yield Violation("not-ended", end.saga_id, f"is {end.state}")


def _left_all(rows: Rows, end: SagaEnd, shape: Shape) -> Iterator[Violation]:
    done = {node for (saga, node), effect in rows.effects.items() if saga == end.saga_id and effect.state == "DONE"}
    for node in sorted(shape.nodes - done):
        yield Violation("half-done", end.saga_id, f"succeeded, and its node {node} is not done")
    for node in sorted(done - shape.nodes):
        yield Violation("surplus", end.saga_id, f"did {node}, which is no node that changes anything")
    if (end.graph, end.saga_id) not in rows.whole:
        yield Violation("half-done", end.saga_id, f"succeeded, and its record among the {shape.record} is not complete")
    demanded = Counter((held.kind.holdings, held.node, _amount(rows, end, held)) for held in shape.holdings)
    present = Counter((row.table, row.node, row.amount) for row in rows.holdings if row.saga == end.saga_id)
    for table, node, amount in demanded - present:
        yield Violation("half-done", end.saga_id, f"succeeded, and its {amount} of {table} for {node} are missing")
    for table, node, amount in present - demanded:
        yield Violation("surplus", end.saga_id, f"holds {amount} of {table} for {node}, which it did not ask for")


def _amount(rows: Rows, end: SagaEnd, held: Held) -> int:
    """What the node told its saga that it took. Nothing is told by a node that is not done."""
    if not held.amount_field:
        return 1
    effect = rows.effects.get((end.saga_id, held.node))
    return int(effect.output.get(held.amount_field, 0)) if effect is not None else 0


def _left_nothing(rows: Rows, end: SagaEnd) -> Iterator[Violation]:
    for (saga, node), effect in rows.effects.items():
        if saga == end.saga_id and effect.state == "DONE":
            yield Violation("leak", end.saga_id, f"is unwound, and its node {node} is still done")
    for row in rows.holdings:
        if row.saga == end.saga_id:
            yield Violation("leak", end.saga_id, f"is unwound, and holds {row.amount} of {row.table} for {row.node}")
    for table, saga in rows.records:
        if saga == end.saga_id:
            yield Violation("leak", end.saga_id, f"is unwound, and has a record among the {table}")


def _changes_counted(rows: Rows) -> Iterator[Violation]:
    keys = sorted({*rows.effects, *((saga, node) for saga, node, _kind in rows.changes)})
    for saga, node in keys:
        effect = rows.effects.get((saga, node))
        made, reversed_ = rows.changes[saga, node, "ACTION"], rows.changes[saga, node, "UNDO"]
        expected = CHANGES_OF_STATE[effect.state] if effect is not None else (0, 0)
        if made > 1 or reversed_ > 1:
            yield Violation("double", saga, f"{node} changed the inventory {made} times, and back {reversed_} times")
        elif (made, reversed_) != expected:
            state = effect.state if effect is not None else "not recorded"
            yield Violation("miscounted", saga, f"{node} is {state}, with {made} changes and {reversed_} back")


def _pools_add_up(rows: Rows) -> Iterator[Violation]:
    for pool in rows.pools:
        if pool.free + pool.held != pool.capacity:
            what = f"capacity {pool.capacity}, but {pool.free} free and {pool.held} held"
            yield Violation("pool", f"{pool.kind}/{pool.name}", what)


# ---- for people --------------------------------------------------------------------------------------------


def print_report(report: Report, console: Console) -> None:
    """Print what the sagas left, what the pools hold, and every violation."""
    console.print(_saga_table(report), _pool_table(report.rows.pools))
    if not report.violations:
        console.print(f"No violations: each of {len(report.ends)} sagas left all or nothing.", style="green")
        return
    table = Table("rule", "saga or pool", "what", title=f"{len(report.violations)} violations", title_style="bold red")
    for violation in report.violations[:VIOLATIONS_SHOWN_MAX]:
        table.add_row(violation.rule, violation.subject, violation.what)
    console.print(table)


def _saga_table(report: Report) -> Table:
    """Rows that sagas of each kind left, and effects by the state that the inventory recorded."""
    table = Table("graph", "state", title="What the sagas left", title_justify="left")
    for heading in ("sagas", "done", "undone", "failed", "holdings", "records"):
        table.add_column(heading, justify="right")
    groups = {end.saga_id: (end.graph, end.state) for end in report.ends}
    sagas = Counter(groups.values())
    nobody = ("?", "unknown")
    effects = Counter((groups.get(saga, nobody), effect.state) for (saga, _), effect in report.rows.effects.items())
    holdings = Counter(groups.get(row.saga, nobody) for row in report.rows.holdings)
    records = Counter(groups.get(saga, nobody) for _table, saga in report.rows.records)
    for group in sorted({*sagas, *holdings, *records, *(group for group, _state in effects)}):
        failed = effects[group, "FAILED"] + effects[group, "CANCELLED"]
        counts = (sagas[group], effects[group, "DONE"], effects[group, "UNDONE"], failed)
        table.add_row(*group, *map(str, (*counts, holdings[group], records[group])))
    return table


def _pool_table(pools: Iterable[PoolCount]) -> Table:
    table = Table("pool", "of", title="What the pools hold", title_justify="left")
    for heading in ("capacity", "free", "held"):
        table.add_column(heading, justify="right")
    table.add_column("adds up")
    for pool in pools:
        right = "yes" if pool.free + pool.held == pool.capacity else "NO"
        table.add_row(f"{pool.kind}/{pool.name}", pool.unit, *map(str, (pool.capacity, pool.free, pool.held)), right)
    return table


async def ends_from(address: str) -> list[SagaEnd]:
    """Ask a SEC how every saga ended, or where it stands."""
    async with Client(address) as client:
        return [SagaEnd.of(saga) async for saga in client.list() if saga.graph_name in SHAPES]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m sagaline_examples.audit", description="Audit the inventory.")
    parser.add_argument("--db", type=Path, required=True, help="the inventory that the workers use")
    parser.add_argument("--address", default=ADDRESS, help=f"of a SEC; {ADDRESS} if not given")
    options = parser.parse_args(arguments)
    ends = asyncio.run(ends_from(options.address))
    inventory = Inventory(options.db)
    try:
        report = audit(inventory, ends)
    finally:
        inventory.close()
    print_report(report, Console())
    return 1 if report.violations else 0


if __name__ == "__main__":
    sys.exit(main())
