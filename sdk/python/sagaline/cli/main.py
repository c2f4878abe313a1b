"""The command group: which commands there are, and what becomes of their errors."""

from __future__ import annotations

import difflib
import importlib
import os
from typing import Any

import click

from sagaline.cli.examples import with_examples
from sagaline.cli.interrupts import INTERRUPTED
from sagaline.cli.settings import common_options

_SECTIONS: dict[str, dict[str, tuple[str, str]]] = {
    "Run": {
        "dev": ("servers", "Run a SEC for development: one process, nothing to set up."),
        "server": ("servers", "Run a SEC."),
        "worker": ("worker", "Run a worker that serves the actions of a Python module."),
    },
    "Sagas": {
        "create": ("create", "Create a saga and start it."),
        "run": ("run", "Create a saga and wait for its end, or run it to a breakpoint."),
        "get": ("sagas", "Show a saga as it stands."),
        "list": ("sagas", "List sagas."),
        "count": ("sagas", "Count sagas by state."),
        "watch": ("watch", "Follow a saga until it ends."),
        "wait": ("sagas", "Wait until a saga has ended or needs an operator."),
        "log": ("watch", "Print a saga's log."),
        "graph": ("graph", "Draw the graph of a saga, a file or a module."),
    },
    "Steer": {
        "pause": ("steer", "Hold every start of an action or undo action of a saga."),
        "resume": ("steer", "End a pause."),
        "step": ("steer", "Let a number of starts pass the gate of a saga that is held."),
        "break": ("steer", "Set the breakpoints of a saga."),
        "debug": ("debug", "Step through a saga from the terminal."),
        "unwind": ("steer", "Ask a saga to undo what it has done."),
        "batch": ("batch", "Pause, resume or unwind all sagas that options select."),
        "signal": ("steer", "Send a signal to a saga."),
        "resolve": ("steer", "Decide about a node that needs an operator."),
        "inject": ("repair", "Make later attempts of a node go wrong, for tests."),
    },
    "Look inside": {
        "workers": ("admin", "List the workers that have a session with a SEC."),
        "why": ("admin", "Say why the nodes of a saga wait."),
        "admin": ("admin", "Look at SECs and workers, hand sagas off, drain a SEC."),
        "dump": ("dump", "Write a saga's record and log to a file."),
        "replay": ("dump", "Show, offline, the state that a dumped saga had at any entry."),
    },
}

COMMANDS = {name: command for section in _SECTIONS.values() for name, command in section.items()}


class CommandGroup(click.Group):
    """Imports the module of a command when that command is called for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command, its module imported now."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"sagaline.cli.{COMMANDS[cmd_name][0]}")
        command = getattr(module, f"{cmd_name}_command")
        assert isinstance(command, click.Command)
        return with_examples(command, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; where there is none, say which name is near."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], COMMANDS, n=2)
            ctx.fail(f"No such command {args[0]!r}." + (f" Did you mean {' or '.join(near)}?" if near else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands section by section, importing none of them."""
        for section, commands in _SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl([(name, text) for name, (_module, text) in commands.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what went wrong is told on standard error and by the exit code."""
        from sagaline.errors import SagalineError

        # An error is one line of ours; what gRPC has to tell beside it is for those who ask for it.
        os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
        try:
            return super().invoke(ctx)
        except SagalineError as error:
            from sagaline.cli.exits import report

            ctx.exit(report(error))
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)


@click.group(
    cls=CommandGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done; 1 the saga waited for is unwound or stuck; 2 usage; 3 not found; 4 refused; "
    "5 unavailable, or not in time; 130 interrupted.\n\n"
    'Completion: eval "$(_SAGALINE_COMPLETE=bash_source sagaline)"; zsh_source and fish_source for other shells.',
)
@common_options
@click.version_option(package_name="sagaline", prog_name="sagaline")
def main() -> None:
    """Run sagas: graphs of actions of which each can be undone.

    Every command that asks a SEC takes --address, --ca, --cert, --key, --timeout and -o, after its name or before it.
    """
