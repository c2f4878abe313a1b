"""The example of docs/barrier.md, run as a reader would run it."""

from __future__ import annotations

import importlib.util
import re
import sqlite3
from pathlib import Path
from types import ModuleType

import pytest

from sagaline import errors
from sagaline.barrier import machine, steps
from sagaline.errors import Suppressed
from tests.integration.secs import run, started
from tests.unit.barrier.contexts import action_context, undo_context

DOCUMENT = (Path(__file__).resolve().parents[3] / "docs/barrier.md").read_text()
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def section(title: str) -> str:
    _, found, rest = DOCUMENT.partition(f"\n## {title}\n")
    assert found, f"docs/barrier.md has no section {title!r}"
    return rest.partition("\n## ")[0]


def block(title: str, language: str, number: int = 0) -> str:
    blocks = [content for found, content in BLOCK.findall(section(title)) if found == language]
    return str(blocks[number])


async def test_the_example_with_a_real_sec(tmp_path: Path) -> None:
    (tmp_path / "seats.py").write_text(block("An example", "python"))
    dev, worker, create = (line.partition("  #")[0].strip() for line in block("An example", "sh").splitlines())
    assert dev == "sagaline dev"
    async with started("bash", "-c", "exec sagaline dev --listen 127.0.0.1:0", directory=tmp_path) as sec:
        environment = {"SAGALINE_ADDRESS": await sec.address()}
        async with started("bash", "-c", f"exec {worker}", environment=environment, directory=tmp_path):
            code, saga, said = await run("bash", "-c", create, environment=environment, directory=tmp_path)
            assert (code, said) == (0, "")
            code, told, _ = await run("sagaline", "wait", saga.strip(), environment=environment, directory=tmp_path)
            assert "Declined" in told, told
    db = sqlite3.connect(tmp_path / "seats.db")
    assert db.execute("SELECT node, state FROM sagaline_barrier").fetchall() == [("pay", "FAILED"), ("seat", "UNDONE")]
    assert db.execute("SELECT count(*) FROM seats WHERE saga IS NULL").fetchone() == (2,)
    db.close()


@pytest.fixture
def seats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The example as a module, and what is done by hand with it."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "seats.py"
    path.write_text(block("An example", "python") + block("Without the decorator", "python"))
    spec = importlib.util.spec_from_file_location("seats", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_by_hand(seats: ModuleType) -> None:
    context = action_context()
    assert seats.take_seat_by_hand(context, "Ada") == seats.take_seat_by_hand(context, "Ada") == 2
    for _ in range(2):
        seats.free_seat_by_hand(undo_context())
    with pytest.raises(Suppressed):
        seats.take_seat_by_hand(context, "Ada")
    with seats.begin() as db:
        assert db.execute("SELECT count(*) FROM seats WHERE saga IS NULL").fetchone() == (2,)


def test_the_tables_name_what_there_is() -> None:
    answers = section("What arrives, and what it is answered")
    for state in machine.State:
        assert f"`{state}`" in answers
    for name in re.findall(r"^\| `([A-Z]\w+)`", answers, re.MULTILINE):
        assert hasattr(machine.State, name) or hasattr(errors, name), name
    assert f"{steps.HORIZON.days} days" in section("The table, and how long its rows stand")
