"""docs/features.md keeps its word: what it names is there, and every method is in one of its lists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from sagaline.v1 import admin_service_pb2, saga_service_pb2, worker_service_pb2
from sagaline_server.api.admin_service import AdminService
from sagaline_server.api.saga_service import SagaService
from sagaline_server.dispatch.worker_service import WorkerService

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/features.md").read_text()
NAMED = sorted(set(re.findall(r"`((?:tests|workers)/[\w./]+?\.py)(?:::(\w+))?`", PAGE)))


@pytest.mark.parametrize(("path", "test"), NAMED, ids=["::".join(filter(None, each)) for each in NAMED])
def test_what_is_named_is_there(path: str, test: str) -> None:
    file = ROOT / path
    assert file.is_file()
    if test:
        names = [node.name for node in ast.walk(ast.parse(file.read_text())) if hasattr(node, "name")]
        assert test in names


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
