"""Every rule of execution has a test that carries its number, and ARCHITECTURE.md says where its code is."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

from tests.rules import rules_of

ROOT = Path(__file__).resolve().parents[2]
RULES = range(1, 18)


@functools.cache
def claimed() -> dict[int, list[str]]:
    """Return the tests that claim each rule."""
    tests: dict[int, list[str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test"):
                for rule in rules_of(ast.get_docstring(node) or ""):
                    tests.setdefault(rule, []).append(f"{path.relative_to(ROOT)}::{node.name}")
    return tests


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_has_a_test_that_carries_its_number(rule: int) -> None:
    """A rule of DESIGN is a promise, so some test says that it proves it."""
    assert claimed().get(rule), f"no test's docstring says that it proves rule {rule}"


def test_the_architecture_says_where_each_rule_is() -> None:
    """The table of ARCHITECTURE.md names code that exists for every rule."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    for rule in RULES:
        row = re.search(rf"^\| G{rule} \| (`[^|]+) \| (`[^|]+) \|$", text, re.MULTILINE)
        assert row, f"ARCHITECTURE.md has no row for G{rule} with code and tests"
        for place in re.findall(r"`([^`]+)`", row.group(1) + row.group(2)):
            assert (ROOT / place.partition("::")[0]).exists(), f"G{rule}: {place} does not exist"
