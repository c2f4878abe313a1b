"""Barriers: action and undo action exactly-once in effect, inside your own database transaction.

```python
from sagaline import Context, Failed, action
from sagaline.barrier import PsycopgBarrier

barrier = PsycopgBarrier(pool.connection)


@action("flights.reserve")
@barrier.once
def reserve(db: Connection, context: Context, flight: str, seats: int) -> Ticket: ...


@reserve.undo
@barrier.once
def release(db: Connection, context: Context, *, output: Ticket | None) -> None: ...
```

A SEC sends an action again when it lost the answer, sends its undo when it never got one, and a network may deliver
either twice and late. Behind a barrier the change is made at most once, a repetition is answered with what the first
one answered, a failure stays a failure, and after an undo nothing remains, whatever arrives later. `machine` has the
states, `docs/barrier.md` the rest.

| class | connection | needs |
| --- | --- | --- |
| `SqliteBarrier`, `AsyncSqliteBarrier` | `sqlite3`, `aiosqlite` | nothing, aiosqlite |
| `PsycopgBarrier`, `AsyncPsycopgBarrier` | psycopg 3 | `sagaline[postgres]` |
| `SqlAlchemyBarrier`, `AsyncSqlAlchemyBarrier` | `Connection` or `Session` of SQLAlchemy 2 | `sagaline[sqlalchemy]` |

What they raise is in `sagaline.errors`: `Suppressed`, `StaleToken`, `InputMismatch`, `NotRecorded`, `BarrierMisuse`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sagaline.barrier.async_barrier import AsyncBarrier
    from sagaline.barrier.machine import State
    from sagaline.barrier.postgres import AsyncPsycopgBarrier, PsycopgBarrier
    from sagaline.barrier.sqlalchemy import AsyncSqlAlchemyBarrier, SqlAlchemyBarrier
    from sagaline.barrier.sqlite import AsyncSqliteBarrier, SqliteBarrier
    from sagaline.barrier.statements import Dialect, schema
    from sagaline.barrier.steps import BarrierOptions, Undone
    from sagaline.barrier.sync_barrier import Barrier

__all__ = [
    "AsyncBarrier",
    "AsyncPsycopgBarrier",
    "AsyncSqlAlchemyBarrier",
    "AsyncSqliteBarrier",
    "Barrier",
    "BarrierOptions",
    "Dialect",
    "PsycopgBarrier",
    "SqlAlchemyBarrier",
    "SqliteBarrier",
    "State",
    "Undone",
    "schema",
]

_MODULES = {
    "sagaline.barrier.async_barrier": ("AsyncBarrier",),
    "sagaline.barrier.machine": ("State",),
    "sagaline.barrier.postgres": ("AsyncPsycopgBarrier", "PsycopgBarrier"),
    "sagaline.barrier.sqlalchemy": ("AsyncSqlAlchemyBarrier", "SqlAlchemyBarrier"),
    "sagaline.barrier.sqlite": ("AsyncSqliteBarrier", "SqliteBarrier"),
    "sagaline.barrier.statements": ("Dialect", "schema"),
    "sagaline.barrier.steps": ("BarrierOptions", "Undone"),
    "sagaline.barrier.sync_barrier": ("Barrier",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


if not TYPE_CHECKING:  # or else checkers would take every name for one that exists

    def __getattr__(name: str) -> object:
        """Import a name on its first use: of the database libraries, only the one that is used is loaded."""
        module = _MODULE_OF.get(name)
        if module is None:
            raise AttributeError(f"module 'sagaline.barrier' has no attribute {name!r}")
        value = getattr(import_module(module), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
