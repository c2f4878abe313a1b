"""The command `run`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

import click

from sagaline.cli.arguments import as_labels, breakpoint_at, label, who
from sagaline.cli.create import spec_of
from sagaline.cli.dump import dump_lines
from sagaline.cli.exits import ENDED_BADLY, OK
from sagaline.cli.holding import held_nodes, until_held
from sagaline.cli.sagas import code_of
from sagaline.cli.settings import Settings, common_options, pass_settings
from sagaline.cli.show import show_saga
from sagaline.cli.text import clean
from sagaline.client.sagas import NewSaga
from sagaline.v1 import log_pb2, saga_pb2

if TYPE_CHECKING:
    from sagaline.sync import Client


@click.command("run", short_help="Create a saga and wait for its end, or run it to a breakpoint.")
@click.argument("source", metavar="SOURCE")
@click.option("--params", metavar="JSON", help='Parameters, as JSON; "@FILE" reads them from a file.')
@click.option("--id", "saga_id", help="Id of the saga.  [default: a new one]")
@click.option(
    "--label", "labels", type=label, metavar="KEY=VALUE", multiple=True, help="A searchable label; may be repeated."
)
@click.option(
    "--until",
    "breakpoints",
    type=breakpoint_at,
    metavar="NODE[:action|:undo]",
    multiple=True,
    help="Stop when the gate holds this node; may be repeated.",
)
@click.option(
    "--dump",
    "dump_file",
    type=click.File("w", encoding="utf-8", lazy=True),
    metavar="FILE",
    help="Write its record and log there, for `sagaline replay`.",
)
@common_options
@pass_settings
def run_command(
    settings: Settings,
    source: str,
    params: str | None,
    saga_id: str | None,
    labels: Sequence[tuple[str, str]],
    breakpoints: Sequence[log_pb2.Breakpoint],
    dump_file: TextIO | None,
) -> None:
    """Create a saga, wait until it has ended or needs an operator, and show it.

    SOURCE is as of `sagaline create`. With --until, wait only until a start of that node is held there: the saga stays,
    nodes beside it go on, and `sagaline step`, `break` and `debug` take it further.

    Exits with 0 if it succeeded or stands at the breakpoint, and with 1 if not.
    """
    spec = spec_of(source, params)
    spec.saga_id = saga_id or spec.saga_id
    spec.labels.update(as_labels(labels))
    with settings.client(waits=True) as client:
        saga = _run_to(client, spec, breakpoints) if breakpoints else _run(client, spec)
        if dump_file is not None:
            record, entries = client.record(saga.saga_id), list(client.log(saga.saga_id))
            dump_file.writelines(f"{line}\n" for line in dump_lines(record, entries))
    show_saga(saga, as_json=settings.json)
    held = held_nodes(saga)
    if breakpoints:
        message = f"held: {', '.join(clean(node.name) for node in held)}" if held else "it never came to a breakpoint"
        click.echo(message, err=True)
        click.get_current_context().exit(OK if held else ENDED_BADLY)
    click.get_current_context().exit(code_of(saga))


def _run(client: Client, spec: saga_pb2.SagaSpec) -> saga_pb2.Saga:
    return client.get(client.create_and_wait(NewSaga.of_spec(spec), or_needs_operator=True).saga_id)


def _run_to(client: Client, spec: saga_pb2.SagaSpec, breakpoints: Sequence[log_pb2.Breakpoint]) -> saga_pb2.Saga:
    """Create the saga paused, so that nothing runs before its breakpoints are set."""
    spec.start_paused = True
    new = NewSaga.of_spec(spec)
    client.create_new(new)
    actor = who()
    client.set_breakpoints(new.saga_id, breakpoints, actor=actor, reason="sagaline run --until")
    client.resume(new.saga_id, actor=actor, reason="sagaline run --until")
    return until_held(client, new.saga_id)
