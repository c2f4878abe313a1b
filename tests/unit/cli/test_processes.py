"""dev, server and worker, as far as they go without a server."""

from __future__ import annotations

import pytest

from sagaline.cli.exits import UnusableInput
from sagaline.cli.worker import actions_of
from tests.unit.cli.conftest import Sagaline
from tests.unit.cli.program import book, count


def test_a_worker_serves_a_list_or_one_action() -> None:
    assert actions_of([book, count], "m:a") == [book, count]
    assert actions_of(book, "m:a") == [book]


@pytest.mark.parametrize("found", [[], None, 7, "text", [book, "count"]])
def test_anything_else_is_no_list_of_actions(found: object) -> None:
    with pytest.raises(UnusableInput, match="m:a is no list of actions"):
        actions_of(found, "m:a")


def test_what_stands_there_instead_is_named() -> None:
    with pytest.raises(UnusableInput, match="it is a list with a str in it"):
        actions_of([book, "count"], "m:a")


@pytest.mark.parametrize("attribute", ["NOTHING", "MIXED", "nobody"])
def test_a_worker_of_nothing_does_not_start(sagaline_offline: Sagaline, attribute: str) -> None:
    result = sagaline_offline("worker", f"tests.unit.cli.program:{attribute}")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: ")


def test_a_worker_needs_an_address_that_can_be_one(sagaline_offline: Sagaline) -> None:
    result = sagaline_offline("worker", "tests.unit.cli.program:ACTIONS", "--address", "nowhere")
    assert result.exit_code == 2
    assert result.stderr == "error: 'nowhere' is not the address of a SEC: give host:port\n"


@pytest.mark.parametrize(
    "arguments",
    [["server", "--set", "listen"], ["server", "--set", "no_such_key=1"], ["server", "--config", "nowhere.toml"]],
)
def test_a_server_with_wrong_settings_does_not_start(sagaline_offline: Sagaline, arguments: list[str]) -> None:
    assert sagaline_offline(*arguments).exit_code == 2
