"""The command `debug`: a saga as a program in a debugger, one line after the other."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import click

from sagaline.cli.arguments import STEPS_MAX, breakpoint_at, saga_argument, who
from sagaline.cli.entries import breakpoint_text, entry_line
from sagaline.cli.exits import print_error
from sagaline.cli.holding import breakpoints_of, has_ended, held_nodes, holds, nodes_in_flight, until_quiet
from sagaline.cli.inputs import input_lines
from sagaline.cli.output import print_facts, print_table
from sagaline.cli.settings import Settings, common_options, pass_settings
from sagaline.cli.show import node_row, state_text
from sagaline.cli.text import clean, failure_text, payload_text
from sagaline.errors import RpcError
from sagaline.v1 import saga_pb2

if TYPE_CHECKING:
    from sagaline.sync import Client

PATIENCE_S = 10.0
"""How long a step may take before the prompt comes back; the saga goes on all the same."""

LOG_LINES = 10

HELP = """\
where            where it is, and what is next (w)
nodes            all nodes (n)
show NODE        inputs, output and failure of a node (p)
step [COUNT]     let a start that is held pass, and wait for its end (s)
continue         let it run, to the next breakpoint or its end (c)
pause            hold every start
break [NODE...]  show the breakpoints, or set them: NODE, NODE:action, NODE:undo, "*"; "-" removes all (b)
log [COUNT]      the last entries of its log (l)
unwind [REASON]  ask it to undo what it has done
quit             leave it as it stands (q)"""


@click.command("debug", short_help="Step through a saga from the terminal.")
@saga_argument
@common_options
@pass_settings
def debug_command(settings: Settings, saga_id: str) -> None:
    """Step through the saga SAGA: pause it, look at it, let one start after the other pass.

    Reads one command a line; "help" lists them. A saga that is left paused stays so until `sagaline resume`.
    """
    with settings.client() as client:
        session = DebugSession(client, saga_id)
        session.begin()
        for line in _lines():
            if not session.obey(line):
                break
        session.end()


def _lines() -> Iterator[str]:
    stream = sys.stdin
    while True:
        click.echo("(saga) ", nl=False)
        line = stream.readline()
        if not line:
            click.echo()
            return
        yield line


class DebugSession:
    """One saga at the prompt."""

    def __init__(self, client: Client, saga_id: str) -> None:
        self._client = client
        self._saga_id = saga_id
        self._actor = who()

    def begin(self) -> None:
        """Pause the saga, unless it has ended, and say where it is."""
        saga = self._client.get(self._saga_id)
        if not has_ended(saga) and not saga.paused:
            self._client.pause(self._saga_id, actor=self._actor, reason="sagaline debug")
        self._where([])

    def end(self) -> None:
        """Say what the saga does now that nobody is at the prompt."""
        saga = self._client.get(self._saga_id, view=saga_pb2.SAGA_VIEW_BASIC)
        if saga.paused and not has_ended(saga):
            click.echo(f"it stays paused: `sagaline resume {clean(self._saga_id)}` lets it go on", err=True)

    def obey(self, line: str) -> bool:
        """Carry out one command; False when it was the last."""
        words = line.split()
        if not words:
            return True
        name = ALIASES.get(words[0], words[0])
        if name == "quit":
            return False
        command = self.commands.get(name)
        if command is None:
            click.echo(f'no command {clean(words[0])!r}; "help" lists them')
            return True
        try:
            command(self, words[1:])
        except (RpcError, click.ClickException) as error:
            print_error(error.message)
        return True

    def _help(self, _words: Sequence[str]) -> None:
        click.echo(HELP)

    def _where(self, _words: Sequence[str]) -> None:
        self._tell(self._client.get(self._saga_id))

    def _tell(self, saga: saga_pb2.Saga) -> None:
        facts = [
            ("state", state_text(saga)),
            ("failed node", clean(saga.failed_node)),
            ("failure", failure_text(saga.failure)),
            ("in flight", _names(nodes_in_flight(saga))),
            ("next", _names(held_nodes(saga))),
            ("held by", "; ".join(holds(saga))),
            ("waiting", _names(_waiting(saga))),
            ("output", payload_text(saga.output) if saga.HasField("output") else ""),
        ]
        print_facts(facts)

    def _nodes(self, _words: Sequence[str]) -> None:
        saga = self._client.get(self._saga_id)
        print_table(["NODE", "STATUS", "ACTION", "ATTEMPTS", ""], [node_row(node) for node in saga.nodes])

    def _show(self, words: Sequence[str]) -> None:
        if len(words) != 1:
            raise click.UsageError("show takes the name of a node")
        saga = self._client.get(self._saga_id)
        view = next((node for node in saga.nodes if node.name == words[0]), None)
        if view is None:
            raise click.UsageError(f"the saga has no node {words[0]}")
        name, status, action, attempts, _ = node_row(view)
        facts = [("node", name), ("status", status), ("action", action), ("attempts", attempts)]
        facts += [(f"input {given}", value) for given, value in input_lines(saga, view.name)]
        facts += [
            ("output", payload_text(view.output) if view.HasField("output") else ""),
            ("failure", failure_text(view.failure)),
            ("waits for", clean(view.waiting_for)),
        ]
        print_facts(facts)

    def _step(self, words: Sequence[str]) -> None:
        count = _count(words, 1, STEPS_MAX)
        self._client.step(self._saga_id, count, actor=self._actor, reason="sagaline debug")
        self._tell(until_quiet(self._client, self._saga_id, patience_s=PATIENCE_S))

    def _continue(self, _words: Sequence[str]) -> None:
        saga = self._client.get(self._saga_id)
        if not saga.paused and held_nodes(saga):
            # It stands at a breakpoint: what is held there goes on, and stops at the next.
            count = len(held_nodes(saga))
            self._client.step(self._saga_id, count, actor=self._actor, reason="sagaline debug")
        else:
            self._client.resume(self._saga_id, actor=self._actor, reason="sagaline debug")
        self._tell(until_quiet(self._client, self._saga_id, patience_s=PATIENCE_S))

    def _pause(self, _words: Sequence[str]) -> None:
        self._client.pause(self._saga_id, actor=self._actor, reason="sagaline debug")
        self._where([])

    def _break(self, words: Sequence[str]) -> None:
        if words:
            points = [] if list(words) == ["-"] else [breakpoint_at(word) for word in words]
            self._client.set_breakpoints(self._saga_id, points, actor=self._actor, reason="sagaline debug")
        told = [breakpoint_text(point) for point in breakpoints_of(self._client, self._saga_id)]
        click.echo(", ".join(told) or "no breakpoints")

    def _log(self, words: Sequence[str]) -> None:
        count = _count(words, LOG_LINES, 10_000)
        length = self._client.get(self._saga_id, view=saga_pb2.SAGA_VIEW_BASIC).log_length
        for entry in self._client.log(self._saga_id, from_seq=max(length - count + 1, 1)):
            click.echo(entry_line(entry))

    def _unwind(self, words: Sequence[str]) -> None:
        reason = " ".join(words) or "sagaline debug"
        self._client.unwind(self._saga_id, actor=self._actor, reason=reason)
        self._where([])

    commands: ClassVar[Mapping[str, Callable[[Any, Sequence[str]], None]]] = {
        "help": _help,
        "where": _where,
        "nodes": _nodes,
        "show": _show,
        "step": _step,
        "continue": _continue,
        "pause": _pause,
        "break": _break,
        "log": _log,
        "unwind": _unwind,
    }


ALIASES = {
    "?": "help",
    "h": "help",
    "w": "where",
    "n": "nodes",
    "p": "show",
    "s": "step",
    "c": "continue",
    "b": "break",
    "l": "log",
    "q": "quit",
    "exit": "quit",
}


def _names(nodes: Sequence[saga_pb2.NodeView]) -> str:
    return ", ".join(clean(node.name) for node in nodes)


def _waiting(saga: saga_pb2.Saga) -> list[saga_pb2.NodeView]:
    """Return the nodes that wait for something other than the gate."""
    held = {node.name for node in held_nodes(saga)}
    return [node for node in saga.nodes if node.name not in held and (node.waiting_for or node.HasField("retry_time"))]


def _count(words: Sequence[str], default: int, most: int) -> int:
    if not words:
        return default
    if len(words) > 1 or not words[0].isdecimal() or not 1 <= int(words[0]) <= most:
        raise click.UsageError(f"a count is a number from 1 to {most}")
    return int(words[0])
