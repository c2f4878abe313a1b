"""The example of docs/testing.md, run as a reader would run it; and without its barrier it fails as the page says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from sagaline.testing import failures

DOCUMENT = (Path(__file__).resolve().parents[3] / "docs/testing.md").read_text()
BLOCKS = re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)


def run_example(directory: Path) -> str:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:sagaline", "-p", "sagaline.testing.plugin", "--tb=short"]
    done = subprocess.run(
        [*command, "test_shop.py"], cwd=directory, capture_output=True, text=True, timeout=100, check=False
    )
    return done.stdout + done.stderr


@pytest.fixture
def example(tmp_path: Path) -> Path:
    assert [name for name, _ in BLOCKS] == ["shop.py", "test_shop.py"]
    for name, content in BLOCKS:
        (tmp_path / name).write_text(content)
    return tmp_path


def test_the_example(example: Path) -> None:
    said = run_example(example)
    assert "5 passed" in said, said


def test_the_example_without_its_barrier(example: Path) -> None:
    with_barrier = (example / "shop.py").read_text()
    start = with_barrier.index("@action\n@barrier.once\ndef charge")
    end = with_barrier.index("    return cents")
    by_hand = (
        "@action\ndef charge(context: Context, cents: int) -> int:\n    with begin() as db:\n"
        '        db.execute("INSERT INTO charges VALUES (?, ?)", (context.saga_id, cents))\n'
    )
    (example / "shop.py").write_text(with_barrier[:start] + by_hand + with_barrier[end:])
    said = run_example(example)
    told = "node pay (action charge) came again, with the same idempotency key, and changed the world a second time:"
    assert told in DOCUMENT
    assert told in said, said


def test_the_page_names_every_failure() -> None:
    named = set(re.findall(r"^\| `([A-Z]\w+)` \|", DOCUMENT, re.MULTILINE))
    there = {each.__name__ for each in failures.CheckFailed.__subclasses__()}
    assert named == there
