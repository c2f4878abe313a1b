"""The plugin gives the fixture, and costs a session of pytest that does not use it nothing."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from sagaline import testing

ROOT = Path(__file__).resolve().parents[3]

TEST = """
from sagaline import GraphBuilder, action

@action
async def greet(name: str) -> str:
    return f"hello {name}"

@greet.undo
async def forget() -> None: ...

g = GraphBuilder("greeting", params=str)
graph = g.build(result=g.add("greet", greet, g.params))

def test_greeting(sagaline_sec):
    assert sagaline_sec([greet]).run(graph, "Ann") == "hello Ann"
"""


def run(*arguments: str, at: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=at, capture_output=True, text=True, timeout=100, check=False
    )


def test_the_plugin_is_an_entry_point() -> None:
    project = tomllib.loads((ROOT / "sdk/python/pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"sagaline": "sagaline.testing.plugin"}


def test_the_plugin_alone_gives_the_fixture(tmp_path: Path) -> None:
    (tmp_path / "test_greeting.py").write_text(TEST)
    done = run("-m", "pytest", "-q", "-p", "no:sagaline", "-p", "sagaline.testing.plugin", str(tmp_path), at=tmp_path)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_the_plugin_loads_neither_server_nor_sdk() -> None:
    program = "import sys, sagaline.testing.plugin; print(*sys.modules)"
    loaded = set(run("-c", program).stdout.split())
    assert "sagaline.testing.plugin" in loaded
    assert not {name for name in loaded if name.startswith(("sagaline_server", "grpc", "google", "sagaline.v1"))}


def test_what_is_missing_is_said() -> None:
    program = """
import sys
sys.modules["sagaline_server"] = None
try:
    from sagaline.testing import InProcessSec
except ImportError as error:
    print(error)
"""
    assert "install sagaline[testing]" in run("-c", program).stdout


@pytest.mark.parametrize("name", testing.__all__)
def test_every_name_can_be_imported(name: str) -> None:
    assert getattr(testing, name) is not None
    assert name in dir(testing)
    assert name in testing._MODULE_OF


def test_other_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = testing.nothing  # type: ignore[attr-defined]
