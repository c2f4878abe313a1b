"""Makes every change of the inventory happen once and undo win, whatever arrives, however often, in whatever order.

A SEC sends an action again when it lost the answer, sends its undo when it never got one, and a network may deliver
either of them twice and late. The inventory therefore holds one row for each node of a saga, written in the transaction
that changes the inventory:

```
            action           undo
  nothing ────────▶ DONE ────────▶ UNDONE        the change is made on the first arrow, and reversed on the second
     │  └─────────▶ FAILED ──────▶ CANCELLED     a failure is remembered: the same action cannot succeed later
     └──────────────undo───────────▶ CANCELLED   nothing to reverse, and an action that arrives later changes nothing
```

An action that finds DONE answers with the recorded output, FAILED with the recorded failure, and UNDONE or CANCELLED
with a failure: it must not say that it did what stays undone. The primary key decides who is first; SQLite lets the
other wait for its transaction. Rows stay for good: deleting one would let a late message in.

Beside it, `changes` counts what was really done to the inventory. Nothing there is unique, so that the audit can see a
change that was made twice.
"""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from sagaline.errors import Failed

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")

SCHEMA = """
CREATE TABLE IF NOT EXISTS effects (
  saga    TEXT NOT NULL,
  node    TEXT NOT NULL,
  state   TEXT NOT NULL CHECK (state IN ('DONE', 'FAILED', 'UNDONE', 'CANCELLED')),
  output  TEXT,  -- JSON: of DONE and UNDONE what the action answered, of FAILED [type, message]
  PRIMARY KEY (saga, node)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS changes (
  id      INTEGER PRIMARY KEY,
  saga    TEXT NOT NULL,
  node    TEXT NOT NULL,
  kind    TEXT NOT NULL CHECK (kind IN ('ACTION', 'UNDO'))
) STRICT;
"""

UNDONE_TYPE = "AlreadyUndone"


@dataclass(frozen=True, slots=True)
class EffectKey:
    """Names a node of a saga, and with it the effect that the node may have once."""

    saga: str
    node: str


class Store(Protocol):
    """Where effects and the data that they change are, in one database."""

    def transaction(self) -> AbstractContextManager[sqlite3.Connection]:
        """Begin a transaction that holds the write lock; commit it at the end, or roll it back on an exception."""
        ...


def act(store: Store, key: EffectKey, change: Callable[[sqlite3.Connection], T], returns: type[T]) -> T:
    """Make a change once, and answer every repetition with what the first one answered.

    Args:
        change: Changes the inventory inside the transaction it is given, and returns the action's output.
        returns: Type of that output: a dataclass of plain values.

    Raises:
        Failed: The change did: now or the first time. Or the node was undone before this action arrived.
    """
    with store.transaction() as db:
        answer = _changed(db, key, change) if _claim(db, key, "DONE") else _recorded(db, key, returns)
    # Raised outside: the transaction that remembers the failure has to be committed.
    if isinstance(answer, Failed):
        raise answer
    return answer


def reverse(store: Store, key: EffectKey, undo: Callable[[sqlite3.Connection], None]) -> None:
    """Reverse a node's change if it was made and is not reversed yet; either way it will not be made again.

    Args:
        undo: Reverses the change inside the transaction it is given. What it raises leaves everything as it was.
    """
    with store.transaction() as db:
        if _claim(db, key, "CANCELLED"):
            return
        match _state(db, key):
            case "DONE":
                undo(db)
                _journal(db, key, "UNDO")
                _set(db, key, "UNDONE")
            case "FAILED":
                _set(db, key, "CANCELLED")


def _claim(db: sqlite3.Connection, key: EffectKey, state: str) -> bool:
    """The insert that decides who is first, and the first write of every transaction."""
    cursor = db.execute(
        "INSERT INTO effects (saga, node, state) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (key.saga, key.node, state)
    )
    return cursor.rowcount == 1


def _changed(db: sqlite3.Connection, key: EffectKey, change: Callable[[sqlite3.Connection], T]) -> T | Failed:
    db.execute("SAVEPOINT change")
    try:
        output = change(db)
    except Failed as failure:
        db.execute("ROLLBACK TO change")
        _set(db, key, "FAILED", [failure.type, failure.message])
        return failure
    _journal(db, key, "ACTION")
    _set(db, key, "DONE", dataclasses.asdict(output))
    return output


def _recorded(db: sqlite3.Connection, key: EffectKey, returns: type[T]) -> T | Failed:
    output = db.execute("SELECT output FROM effects WHERE saga = ? AND node = ?", (key.saga, key.node)).fetchone()[0]
    match _state(db, key):
        case "DONE":
            return returns(**json.loads(output))
        case "FAILED":
            return Failed(*json.loads(output))
        case _:
            return Failed(UNDONE_TYPE, "the node was undone before this action arrived")


def _state(db: sqlite3.Connection, key: EffectKey) -> str:
    row = db.execute("SELECT state FROM effects WHERE saga = ? AND node = ?", (key.saga, key.node)).fetchone()
    return str(row[0])


def _set(db: sqlite3.Connection, key: EffectKey, state: str, output: object = None) -> None:
    db.execute(
        "UPDATE effects SET state = ?, output = coalesce(?, output) WHERE saga = ? AND node = ?",
        (state, None if output is None else json.dumps(output), key.saga, key.node),
    )


def _journal(db: sqlite3.Connection, key: EffectKey, kind: str) -> None:
    db.execute("INSERT INTO changes (saga, node, kind) VALUES (?, ?, ?)", (key.saga, key.node, kind))
