"""The commands `get`, `list` and `wait`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from itertools import islice

import click

from sagaline.cli.arguments import as_labels, label, saga_argument
from sagaline.cli.durations import seconds
from sagaline.cli.exits import ENDED_BADLY, OK
from sagaline.cli.output import print_json_line, print_labels, print_table
from sagaline.cli.settings import Settings, common_options, pass_settings
from sagaline.cli.show import show_saga
from sagaline.cli.text import age_text, clean, enum_text, failure_text
from sagaline.client.calls import SagaFilterOptions
from sagaline.v1 import saga_pb2

_STATES = {
    enum_text(saga_pb2.SagaState.DESCRIPTOR, number): number
    for number in saga_pb2.SagaState.values()
    if number != saga_pb2.SAGA_STATE_UNSPECIFIED
}


@click.command("get", short_help="Show a saga as it stands.")
@saga_argument
@common_options
@pass_settings
def get_command(settings: Settings, saga_id: str) -> None:
    """Show the saga SAGA as it stands, with its nodes."""
    with settings.client() as client:
        show_saga(client.get(saga_id), as_json=settings.json)


@click.command("list", short_help="List sagas.")
@click.option("--state", "states", type=click.Choice(list(_STATES)), multiple=True, help="Only those in this state.")
@click.option("--graph", "graph_name", metavar="NAME", help="Only those of this graph.")
@click.option("--label", "labels", type=label, metavar="KEY=VALUE", multiple=True, help="Only those with this label.")
@click.option("--scope", help="Only those of this scope.")
@click.option("--failed-node", metavar="NODE", help="Only those of which this node failed first.")
@click.option("--needs-operator", is_flag=True, help="Only those that need an operator.")
@click.option(
    "--idle-for",
    type=seconds,
    metavar="DURATION",
    help="Only unfinished ones with nothing logged for at least this long.",
)
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="Most sagas to print.")
@common_options
@pass_settings
def list_command(  # noqa: PLR0917
    settings: Settings,
    states: Sequence[str],
    graph_name: str | None,
    labels: Sequence[tuple[str, str]],
    scope: str | None,
    failed_node: str | None,
    needs_operator: bool,
    idle_for: float | None,
    limit: int,
) -> None:
    """List sagas in the order of their ids. Options given twice: any of the states, all of the labels."""
    which = SagaFilterOptions(
        states=[_STATES[state] for state in states], labels=as_labels(labels), needs_operator=needs_operator
    )
    which["graph_name"] = graph_name or ""
    which["scope"] = scope or ""
    which["failed_node"] = failed_node or ""
    if idle_for is not None:
        which["idle_for"] = timedelta(seconds=idle_for)
    with settings.client() as client:
        found = client.list(**which)
        sagas = list(islice(found, limit))
        more = next(found, None) is not None
    if settings.json:
        for saga in sagas:
            print_json_line(saga)
    else:
        print_table(["SAGA", "GRAPH", "STATE", "AGE", "LABELS", "FAILURE"], [_row(saga) for saga in sagas])
    if more:
        click.echo(f"there are more than {limit}: see --limit", err=True)


def _row(saga: saga_pb2.Saga) -> tuple[str, ...]:
    return (
        clean(saga.saga_id),
        clean(saga.graph_name),
        enum_text(saga_pb2.SagaState.DESCRIPTOR, saga.state),
        age_text(saga.create_time, None),
        print_labels(dict(saga.labels)),
        failure_text(saga.failure),
    )


@click.command("wait", short_help="Wait until a saga has ended or needs an operator.")
@saga_argument
@click.option(
    "--for",
    "wait_s",
    type=seconds,
    metavar="DURATION",
    help="How long to wait at most.  [default: as long as it takes]",
)
@click.option("--until-ended", is_flag=True, help="Go on waiting while it needs an operator.")
@common_options
@pass_settings
def wait_command(settings: Settings, saga_id: str, wait_s: float | None, until_ended: bool) -> None:
    """Wait until the saga SAGA has ended or needs an operator, and show it.

    Exits with 0 if it succeeded, with 1 if it did not, and with 5 if the time was over before.
    """
    with settings.client(waits=True) as client:
        saga = client.wait(saga_id, wait_s=wait_s, or_needs_operator=not until_ended)
    show_saga(saga, as_json=settings.json)
    click.get_current_context().exit(code_of(saga))


def code_of(saga: saga_pb2.Saga) -> int:
    """Return the exit code of a command that waited for this saga."""
    return OK if saga.state == saga_pb2.SAGA_STATE_SUCCEEDED else ENDED_BADLY
