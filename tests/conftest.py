"""What all tests share: the option `--rule`, and Hypothesis profiles.

`--rule 7` selects the tests that prove rule 7 (G7 in ARCHITECTURE.md). HYPOTHESIS_PROFILE=deep looks longer, and
elsewhere each time; `ci`, the default, is the same every time; `mutants` does not shrink, for breaking the core on
purpose to see which test notices.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, Phase, settings

from tests.rules import rules_of

settings.register_profile(
    "ci",
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "deep",
    max_examples=2_000,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("mutants", settings.get_profile("ci"), phases=[Phase.explicit, Phase.generate])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


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
