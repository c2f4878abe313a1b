"""What all tests share: `--rule 7` selects the tests that prove rule 7 (G7 in ARCHITECTURE.md)."""

from __future__ import annotations

import pytest

from tests.rules import rules_of


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--rule`."""
    parser.addoption("--rule", type=int, help="run only the tests whose docstring says that they prove this rule")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the tests of the rule asked for."""
    rule = config.getoption("--rule")
    if rule is not None:
        items[:] = [item for item in items if _claims(item, rule)]


def _claims(item: pytest.Item, rule: int) -> bool:
    return rule in rules_of(getattr(getattr(item, "obj", None), "__doc__", None) or "")
