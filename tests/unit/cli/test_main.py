"""The group: its help, and how quickly it is there."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from sagaline.cli.examples import EXAMPLES
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
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def commands(command: click.Command = main, path: str = "") -> list[tuple[str, click.Command]]:
    """Return every command that does something, with its path."""
    if not isinstance(command, click.Group):
        return [(path, command)]
    found: list[tuple[str, click.Command]] = []
    for name in command.list_commands(click.Context(command)):
        inner = command.get_command(click.Context(command), name)
        assert inner is not None
        found += commands(inner, f"{path} {name}".strip())
    return found


def test_every_command_has_examples_that_it_can_read() -> None:
    found = {path: command for path, command in commands() if path not in {"admin why", "admin workers"}}  # see why
    assert set(found) == set(EXAMPLES)
    for path, command in found.items():
        assert EXAMPLES[path][0] in (command.epilog or "")
        for line in EXAMPLES[path]:
            words = shlex.split(line)
            assert words[: 1 + len(path.split())] == ["sagaline", *path.split()]
            command.make_context(path, words[1 + len(path.split()) :])  # raises if it can't


def test_every_command_that_asks_a_sec_prints_for_programs_as_well() -> None:
    """Those that run a process print nothing."""
    without = {path for path, command in commands() if not any("--output" in param.opts for param in command.params)}
    assert without == {"dev", "server"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands(shell: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from sagaline.cli.main import main; main(prog_name='sagaline')"],
        env=os.environ | {"_SAGALINE_COMPLETE": f"{shell}_source"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "_SAGALINE_COMPLETE" in done.stdout
    words = {"COMP_WORDS": "sagaline", "COMP_CWORD": "wh"}  # as fish gives them
    if shell != "fish":
        words = {"COMP_WORDS": "sagaline wh", "COMP_CWORD": "1"}
    words["_SAGALINE_COMPLETE"] = f"{shell}_complete"
    offered = CliRunner().invoke(main, env=words, prog_name="sagaline").output
    assert "why" in offered


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
