"""The table: its schema as text, its name, and the few statements on it."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta, timezone

import pytest

from sagaline.barrier import Dialect, schema
from sagaline.barrier.calls import Key
from sagaline.barrier.statements import Statements, percent_style
from sagaline.errors import BarrierMisuse

COLUMNS = [
    "saga_id", "node", "scope", "state", "fencing_token", "input_digest", "output", "failure",
    "created_at", "updated_at", "expires_at",
]  # fmt: skip


def test_the_schema_makes_the_table() -> None:
    db = sqlite3.connect(":memory:")
    db.executescript(schema("sqlite", "main.barrier_2"))
    db.executescript(schema(Dialect.SQLITE, "barrier_2"))  # it is there already
    assert [column[1] for column in db.execute("PRAGMA table_info(barrier_2)")] == COLUMNS
    assert "barrier_2_expires_at" in [index[1] for index in db.execute("PRAGMA index_list(barrier_2)")]
    db.close()


def test_the_schema_of_postgresql_has_its_types() -> None:
    text = schema("postgresql")
    assert "fencing_token  bigint NOT NULL" in text
    assert "output         bytea" in text
    assert "created_at     timestamptz NOT NULL" in text
    assert "PRIMARY KEY (saga_id, node, scope)\n);" in text


def test_other_databases_are_refused() -> None:
    with pytest.raises(BarrierMisuse, match="sqlite, postgresql; mysql is not among them"):
        schema("mysql")


@pytest.mark.parametrize("name", ["", "a b", "a;drop table b", 'a"b', "a.b.c", "1a", "ä", "a" * 49])
def test_names_that_no_table_can_have_are_refused(name: str) -> None:
    with pytest.raises(BarrierMisuse, match="cannot be the name"):
        schema("sqlite", name)
    with pytest.raises(BarrierMisuse, match="cannot be the name"):
        Statements(Dialect.POSTGRESQL, name)


def test_parameters_as_psycopg_has_them() -> None:
    read = Statements(Dialect.POSTGRESQL, "t").read(Key("s", "n", ""))
    assert percent_style(read.sql).endswith(
        "WHERE saga_id = %(saga_id)s AND node = %(node)s AND scope = %(scope)s FOR UPDATE"
    )
    assert read.parameters == {"saga_id": "s", "node": "n", "scope": ""}


def test_times_in_sqlite_sort_as_they_pass() -> None:
    statements = Statements(Dialect.SQLITE, "t")
    start = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    elsewhere = timezone(timedelta(hours=5))
    times = [start + timedelta(microseconds=step) for step in (0, 1, 999_999, 1_000_000)]
    texts = [statements.expire(at.astimezone(elsewhere), 1).parameters["before"] for at in times]
    assert texts == sorted(texts)
    assert texts[0] == "2026-01-02T03:04:05.000000+00:00"
