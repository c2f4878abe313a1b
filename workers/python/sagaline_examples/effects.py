"""Makes every change of the inventory happen once and undo win, whatever arrives, however often, in whatever order.

That is the barrier's doing: it keeps a row for each node in the same file, written in the transaction that changes the
inventory. Rows stay for good here, so that the audit can look at them.

Beside it, `changes` counts what was really done to the inventory. Nothing there is unique, so that the audit can see a
change that was made twice.
"""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from sagaline import Context
from sagaline.barrier import SqliteBarrier
from sagaline_examples.inventory import inventory

P = ParamSpec("P")
R = TypeVar("R")

barrier = SqliteBarrier(lambda: inventory().transaction())


def once(change: Callable[Concatenate[sqlite3.Connection, Context, P], R]) -> Callable[Concatenate[Context, P], R]:
    """Let a function change the inventory once for each node, in a transaction that it is given, and count that."""

    @functools.wraps(change)
    def counted(db: sqlite3.Connection, context: Context, /, *args: P.args, **kwargs: P.kwargs) -> R:
        output = change(db, context, *args, **kwargs)
        kind = context.kind.name
        db.execute("INSERT INTO changes (saga, node, kind) VALUES (?, ?, ?)", (context.saga_id, context.node, kind))
        return output

    return barrier.once(counted)
