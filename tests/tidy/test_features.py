"""docs/features.md keeps its word: what it names is there, and every method is in one of its lists."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

from sagaline.v1 import admin_service_pb2, saga_service_pb2, worker_service_pb2
from sagaline_server.api.admin_service import AdminService
from sagaline_server.api.saga_service import SagaService
from sagaline_server.dispatch.worker_service import WorkerService

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/features.md").read_text()
ROWS = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in PAGE.splitlines() if line.startswith("| ")]
FEATURES = [row for row in ROWS if row[0] not in {"feature", "---"} and not row[0].startswith("---")]
NAMED = sorted(set(re.findall(r"`((?:tests|workers)/[\w./]+?\.py)(?:::(\w+))?`", PAGE)))


@pytest.mark.parametrize(("path", "test"), NAMED, ids=["::".join(filter(None, each)) for each in NAMED])
def test_what_is_named_is_there(path: str, test: str) -> None:
    file = ROOT / path
    assert file.is_file()
    if test:
        names = [node.name for node in ast.walk(ast.parse(file.read_text())) if hasattr(node, "name")]
        assert test in names


@pytest.mark.parametrize("row", FEATURES, ids=[row[0][:60] for row in FEATURES])
def test_every_feature_has_a_test_and_an_example(row: list[str]) -> None:
    """A test in whatever language, whose name stands in its file; and something to run or to read that is there."""
    feature, tests, example = row
    named = re.findall(r"`([\w/.-]+)(?:::(\w+))?`", tests)
    assert named, f"{feature}: no test"
    for path, test in named:
        assert (ROOT / path).is_file(), path
        assert not test or test in (ROOT / path).read_text(), f"{path} has no {test}"
    things = re.findall(r"`([^`]+)`", example)
    pages = re.findall(r"\]\(([^)#]+)", example)
    assert things or pages, f"{feature}: no example"
    for page in pages:
        assert (ROOT / "docs" / page).exists(), page
    for thing in things:
        assert is_there(thing), f"{feature}: there is no {thing}"


def is_there(thing: str) -> bool:
    """True when an example names something that there is: a file, a command, a target, or a name of the SDK."""
    first = thing.split(maxsplit=1)[0]
    if "/" in first:
        return (ROOT / first).exists()
    if first == "make":
        return re.search(rf"^{thing.split()[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE) is not None
    if first in {"sagaline", "sagaline-conformance"}:
        return True  # test_every_command_is_shown looks at these
    name = first.partition("(")[0].rpartition(".")[2].removeprefix("sagaline_")
    return re.search(rf"\b{name}\b", sources()) is not None


@functools.cache
def sources() -> str:
    """Return all code of the SDK and of the server."""
    return "".join(path.read_text() for folder in ("sdk/python", "server") for path in (ROOT / folder).rglob("*.py"))


def listed(introduction: str) -> set[str]:
    """Return the names between an introduction and the next empty line."""
    found = PAGE[PAGE.index(introduction) :].partition("\n\n")[0]
    return set(re.findall(r"`([A-Z]\w+)`", found))


def test_every_method_is_served_and_listed() -> None:
    modules = (saga_service_pb2, admin_service_pb2, worker_service_pb2)
    services = [service for module in modules for service in module.DESCRIPTOR.services_by_name.values()]
    methods = {method.name for service in services for method in service.methods}
    assert methods <= {name for each in (SagaService, AdminService, WorkerService) for name in vars(each)}
    assert listed("Served:") == methods


def test_every_command_is_shown() -> None:
    from sagaline.cli.main import COMMANDS  # noqa: PLC0415 - click is needed for nothing else here

    shown = set(re.findall(r"`sagaline ([a-z]+)", PAGE))
    assert shown == set(COMMANDS)
