"""Runs commands in this process, against a fake service on a port of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from click.testing import CliRunner, Result

from sagaline.cli.main import main
from tests.unit.cli.fake_service import FakeService, serve

Sagaline = Callable[..., Result]


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "SAGALINE_ADDRESS",
        "SAGALINE_CA",
        "SAGALINE_CERT",
        "SAGALINE_KEY",
        "NO_COLOR",
        "FORCE_COLOR",
        "TTY_COMPATIBLE",
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def service() -> FakeService:
    return FakeService()


@pytest.fixture
def address(service: FakeService) -> Iterator[str]:
    server, address = serve(service)
    yield address
    server.stop(None).wait(10)


@pytest.fixture
def sagaline(address: str) -> Sagaline:
    """Run a command: `sagaline("get", "t-1")`."""

    def run(*arguments: str, **options: object) -> Result:
        return CliRunner().invoke(main, ["--address", address, *arguments], **options)  # type: ignore[arg-type]

    return run


@pytest.fixture
def sagaline_offline() -> Sagaline:
    """Run a command that needs no SEC, or must not find one."""

    def run(*arguments: str, **options: object) -> Result:
        return CliRunner().invoke(main, [*arguments], **options)  # type: ignore[arg-type]

    return run
