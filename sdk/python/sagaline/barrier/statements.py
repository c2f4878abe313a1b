"""The table of a barrier and the few statements on it, for SQLite and PostgreSQL. Nothing here decides anything.

Statements have named parameters, `:name`. Times are those of the program that writes them, in UTC.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from sagaline.barrier.calls import Call, Key
from sagaline.barrier.machine import Row, State
from sagaline.errors import BarrierMisuse

TABLE: Final = "sagaline_barrier"
"""Name of the table, unless another is given."""

CONTENDED: Final = frozenset({"40001", "40P01"})
"""SQLSTATEs of a transaction that lost against others at the same time: serialization failure, deadlock."""

_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,47}(?:\.[A-Za-z_][A-Za-z0-9_]{0,47})?")


class Dialect(StrEnum):
    """A database that a barrier works in."""

    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"


@dataclass(frozen=True, slots=True)
class Types:
    """Column types of a dialect."""

    integer: str
    binary: str
    time: str
    suffix: str


_TYPES: Final = {
    Dialect.SQLITE: Types("INTEGER", "BLOB", "TEXT", " WITHOUT ROWID"),
    Dialect.POSTGRESQL: Types("bigint", "bytea", "timestamptz", ""),
}

_TABLE_DDL: Final = """\
CREATE TABLE IF NOT EXISTS {table} (
  saga_id        text NOT NULL,
  node           text NOT NULL,
  scope          text NOT NULL DEFAULT '',  -- which of several databases that one action changes
  state          text NOT NULL CHECK (state IN ({states})),
  fencing_token  {integer} NOT NULL,  -- highest that was let in
  input_digest   {binary} NOT NULL,  -- SHA-256 of the action's inputs
  output         {binary},  -- sagaline.v1.Payload, of DONE and UNDONE
  failure        {binary},  -- sagaline.v1.Failure, of FAILED
  created_at     {time} NOT NULL,
  updated_at     {time} NOT NULL,
  expires_at     {time},  -- when the row may be removed, NULL while its saga may need it
  PRIMARY KEY (saga_id, node, scope)
){suffix}"""

_INDEX_DDL: Final = "CREATE INDEX IF NOT EXISTS {index} ON {table} (expires_at) WHERE expires_at IS NOT NULL"


def schema(dialect: Dialect | str, table: str = TABLE) -> str:
    """Return the statements that make a barrier's table, for your migrations.

    Args:
        dialect: "sqlite" or "postgresql".
        table: Name of the table, with that of its schema if need be: "billing.sagaline_barrier".

    Raises:
        BarrierMisuse: There is no such dialect, or no table can have that name.
    """
    return "".join(f"{statement};\n" for statement in schema_statements(dialect, table))


def schema_statements(dialect: Dialect | str, table: str = TABLE) -> tuple[str, ...]:
    """Return the same, one by one."""
    dialect = dialect_of(dialect)
    types = _TYPES[dialect]
    home, dot, name = checked(table).rpartition(".")
    on_sqlite = dialect is Dialect.SQLITE
    return (
        _TABLE_DDL.format(
            table=table,
            states=", ".join(f"'{state}'" for state in State),
            integer=types.integer,
            binary=types.binary,
            time=types.time,
            suffix=types.suffix,
        ),
        # An index is where its table is: SQLite wants that said of the index, PostgreSQL of the table.
        _INDEX_DDL.format(
            index=f"{home}{dot}{name}_expires_at" if on_sqlite else f"{name}_expires_at",
            table=name if on_sqlite else table,
        ),
    )


def dialect_of(name: str) -> Dialect:
    """Return the dialect of a name.

    Raises:
        BarrierMisuse: Barriers do not know that database.
    """
    try:
        return Dialect(name)
    except ValueError:
        known = ", ".join(Dialect)
        raise BarrierMisuse(f"barriers work in {known}; {name} is not among them") from None


def checked(table: str) -> str:
    """Return the name of a table that is going to be part of statements.

    Raises:
        BarrierMisuse: It is none.
    """
    if not _IDENTIFIER.fullmatch(table):
        raise BarrierMisuse(
            f"{table!r} cannot be the name of a barrier's table: give [schema.]name, letters and digits"
        )
    return table


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement, and whether it returns a row."""

    sql: str
    parameters: Mapping[str, Any]
    reads: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """What became of a statement."""

    count: int
    """Rows written."""
    row: tuple[Any, ...] | None = None
    """The row read, if there is one."""


_KEY = "saga_id = :saga_id AND node = :node AND scope = :scope"


class Statements:
    """The statements of one table."""

    def __init__(self, dialect: Dialect, table: str) -> None:
        self._dialect = dialect
        checked(table)
        self._claim = (
            f"INSERT INTO {table} (saga_id, node, scope, state, fencing_token, input_digest,"  # noqa: S608 - checked
            " created_at, updated_at, expires_at) VALUES (:saga_id, :node, :scope, :state, :fencing_token,"
            " :input_digest, :at, :at, :expires_at) ON CONFLICT (saga_id, node, scope) DO NOTHING"
        )
        self._lock = f"UPDATE {table} SET scope = scope WHERE {_KEY}"  # noqa: S608 - checked
        locked = " FOR UPDATE" if dialect is Dialect.POSTGRESQL else ""
        self._read = f"SELECT state, fencing_token, input_digest, output, failure FROM {table} WHERE {_KEY}{locked}"  # noqa: S608
        self._record = (
            f"UPDATE {table} SET state = :state, fencing_token = :fencing_token, output = coalesce(:output, output),"  # noqa: S608
            f" failure = coalesce(:failure, failure), updated_at = :at, expires_at = :expires_at WHERE {_KEY}"
        )
        self._raise_token = f"UPDATE {table} SET fencing_token = :fencing_token, updated_at = :at WHERE {_KEY}"  # noqa: S608
        self._saga_ended = (
            f"UPDATE {table} SET expires_at = :expires_at WHERE saga_id = :saga_id AND expires_at IS NULL"  # noqa: S608
        )
        self._expire = f"DELETE FROM {table} WHERE {_expired(dialect, table)}"  # noqa: S608 - checked

    @property
    def reading_locks(self) -> bool:
        """Whether `read` keeps others from writing. Where it does not, some write has to come before it."""
        return self._dialect is Dialect.POSTGRESQL

    def claim(self, call: Call, state: State, at: datetime, expires_at: datetime | None) -> Statement:
        """Write the node's row if it has none: of several that try, one succeeds, and the others wait for its end."""
        given = {
            **call.key._asdict(),
            "state": state.value,
            "fencing_token": call.arrival.fencing_token,
            "input_digest": call.arrival.input_digest,
            "at": self._time(at),
            "expires_at": self._time(expires_at),
        }
        return Statement(self._claim, given)

    def lock(self, key: Key) -> Statement:
        """Keep others from writing the row, and begin the transaction where only writing does."""
        return Statement(self._lock, key._asdict())

    def read(self, key: Key) -> Statement:
        """Read the row, and keep others from writing it."""
        return Statement(self._read, key._asdict(), reads=True)

    def record(
        self,
        call: Call,
        state: State,
        at: datetime,
        expires_at: datetime | None,
        *,
        output: bytes | None = None,
        failure: bytes | None = None,
    ) -> Statement:
        """Record a new state, and what comes with it."""
        given = {
            **call.key._asdict(),
            "state": state.value,
            "fencing_token": call.arrival.fencing_token,
            "output": output,
            "failure": failure,
            "at": self._time(at),
            "expires_at": self._time(expires_at),
        }
        return Statement(self._record, given)

    def raise_token(self, call: Call, at: datetime) -> Statement:
        """Record that an attempt of a higher token has been here."""
        given = {**call.key._asdict(), "fencing_token": call.arrival.fencing_token, "at": self._time(at)}
        return Statement(self._raise_token, given)

    def saga_ended(self, saga_id: str, expires_at: datetime) -> Statement:
        """Let those rows of a saga expire that would stand for good."""
        return Statement(self._saga_ended, {"saga_id": saga_id, "expires_at": self._time(expires_at)})

    def expire(self, before: datetime, limit: int) -> Statement:
        """Remove up to `limit` rows that were to stand until `before`."""
        return Statement(self._expire, {"before": self._time(before), "limit": limit})

    def _time(self, at: datetime | None) -> datetime | str | None:
        """SQLite has no type for times: text that sorts as the times do."""
        if at is None or self._dialect is Dialect.POSTGRESQL:
            return at
        return at.astimezone(UTC).isoformat(timespec="microseconds")


def percent_style(sql: str) -> str:
    """Return a statement with parameters as psycopg has them: `%(name)s`."""
    return _PARAMETER.sub(r"%(\1)s", sql)


_PARAMETER: Final = re.compile(r":([a-z_]+)")


def _expired(dialect: Dialect, table: str) -> str:
    due = f"FROM {table} WHERE expires_at < :before ORDER BY expires_at LIMIT :limit"
    if dialect is Dialect.POSTGRESQL:
        # An array, because a subquery with a LIMIT may be run more than once.
        return f"ctid = ANY (ARRAY(SELECT ctid {due} FOR UPDATE SKIP LOCKED))"
    return f"(saga_id, node, scope) IN (SELECT saga_id, node, scope {due})"


def row_of(values: tuple[Any, ...]) -> Row:
    """Return what `Statements.read` has read."""
    state, fencing_token, input_digest, output, failure = values
    return Row(
        state=State(state if isinstance(state, str) else bytes(state).decode()),
        fencing_token=int(fencing_token),
        input_digest=bytes(input_digest),
        output=None if output is None else bytes(output),
        failure=None if failure is None else bytes(failure),
    )
