"""`import sagaline.barrier` loads no database library; each is loaded by the barrier that is for it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sagaline import barrier

LIBRARIES = {"psycopg", "sqlalchemy", "aiosqlite"}


def run(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("name", barrier.__all__)
def test_every_name_can_be_imported(name: str) -> None:
    assert getattr(barrier, name) is not None
    assert name in dir(barrier)
    assert name in barrier._MODULE_OF


def test_other_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = barrier.nothing  # type: ignore[attr-defined]


def test_sqlite_needs_nothing() -> None:
    program = "import sys; from sagaline.barrier import AsyncSqliteBarrier, SqliteBarrier, schema; print(*sys.modules)"
    assert not LIBRARIES & set(run(program).split())


@pytest.mark.parametrize(
    ("name", "library", "extra"),
    [("PsycopgBarrier", "psycopg", "sagaline[postgres]"), ("SqlAlchemyBarrier", "sqlalchemy", "sagaline[sqlalchemy]")],
)
def test_what_is_missing_is_said(name: str, library: str, extra: str) -> None:
    program = f"""
import sys
sys.modules[{library!r}] = None
try:
    from sagaline.barrier import {name}
except ImportError as error:
    print(error)
"""
    assert extra in run(program)
