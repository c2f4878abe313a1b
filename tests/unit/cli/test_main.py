"""The group: its help, and how quickly it is there."""

from __future__ import annotations

import subprocess
import sys
import time

import click
import pytest
from click.testing import CliRunner

from sagaline.cli.main import COMMANDS, main
from tests.unit.cli.conftest import Sagaline

HEAVY = ("google.protobuf", "grpc", "rich", "sagaline.client", "sagaline.v1", "asyncio")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_what_the_help_says(name: str) -> None:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    assert (command.name, command.short_help) == (name, COMMANDS[name][1])
    shown = CliRunner().invoke(main, [name, "--help"])
    assert shown.exit_code == 0


def test_the_help_lists_every_command() -> None:
    text = CliRunner().invoke(main, ["--help"]).output
    assert all(f"\n  {name} " in text for name in COMMANDS)


def test_the_help_imports_nothing_heavy() -> None:
    program = (
        "import sys\nfrom sagaline.cli.main import main\n"
        "main(['--help'], standalone_mode=False)\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert time.perf_counter() - started < 5  # a machine under load; on an idle one it is 0.1


def test_version() -> None:
    assert CliRunner().invoke(main, ["--version"]).output.startswith("sagaline, version ")


def test_a_reader_that_goes_away_is_no_error(sagaline_offline: Sagaline) -> None:
    program = (
        "import sys; from sagaline.cli.main import main; sys.exit(main(['graph', 'tests.unit.cli.program:GRAPH']))"
    )
    done = subprocess.run(
        f'{sys.executable} -c "{program}" | true; exit ${{PIPESTATUS[0]}}',
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
