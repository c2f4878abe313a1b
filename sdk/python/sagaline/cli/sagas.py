"""The commands `get`, `list`, `count` and `wait`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import click

from sagaline.cli.archives import archived_sagas
from sagaline.cli.arguments import archive_option, saga_argument
from sagaline.cli.durations import seconds
from sagaline.cli.exits import ENDED_BADLY, OK
from sagaline.cli.filters import filter_of, filter_options, selects
from sagaline.cli.output import print_json, print_json_line, print_labels, print_table
from sagaline.cli.settings import Settings, common_options, pass_settings
from sagaline.cli.show import show_saga, state_text
from sagaline.cli.text import age_text, clean, enum_text, failure_text
from sagaline.v1 import saga_pb2, saga_service_pb2


@click.command("get", short_help="Show a saga as it stands.")
@saga_argument
@common_options
@pass_settings
def get_command(settings: Settings, saga_id: str) -> None:
    """Show the saga SAGA as it stands, with its nodes."""
    with settings.client() as client:
        show_saga(client.get(saga_id), as_json=settings.json)


@click.command("list", short_help="List sagas.")
@filter_options
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="Most sagas to print.")
@archive_option
@common_options
@pass_settings
def list_command(settings: Settings, /, limit: int, archive: str | None, **given: Any) -> None:
    """List sagas in the order of their ids. Options given twice: any of the states, all of the labels.

    Those of an archive are listed from the one that ended last; `sagaline replay SAGA --archive` shows one.
    """
    which = filter_of(**given)
    if archive:
        if which.get("needs_operator") or "idle_for" in which:
            raise click.UsageError(
                "what is in an archive has ended: --needs-operator and --idle-for select nothing there"
            )
        sagas, more = _page((saga for saga in archived_sagas(archive) if selects(which, saga)), limit)
    else:
        with settings.client() as client:
            sagas, more = _page(client.list(**which), limit)
    if settings.json:
        for saga in sagas:
            print_json_line(saga)
    elif sagas:
        print_table(["SAGA", "GRAPH", "STATE", "AGE", "LABELS", "FAILURE"], [_row(saga) for saga in sagas])
    else:
        click.echo("no saga is selected" if any(which.values()) else "there is no saga", err=True)
    if more:
        click.echo(f"there are more than {limit}: see --limit", err=True)


def _page(found: Iterator[saga_pb2.Saga], limit: int) -> tuple[list[saga_pb2.Saga], bool]:
    """Return so many sagas, and whether there are more."""
    return list(islice(found, limit)), next(found, None) is not None


@click.command("count", short_help="Count sagas by state.")
@filter_options
@common_options
@pass_settings
def count_command(settings: Settings, /, **given: Any) -> None:
    """Count sagas by state. Options given twice: any of the states, all of the labels."""
    with settings.client() as client:
        counts = client.count(**filter_of(**given))
    if settings.json:
        counted = [saga_service_pb2.StateCount(state=state, count=count) for state, count in counts.items()]
        print_json(saga_service_pb2.CountSagasResponse(counts=counted))
        return
    rows = [(enum_text(saga_pb2.SagaState.DESCRIPTOR, state), str(count)) for state, count in counts.items()]
    print_table(["STATE", "SAGAS"], [*rows, ("all", str(sum(counts.values())))])


def _row(saga: saga_pb2.Saga) -> tuple[str, ...]:
    return (
        clean(saga.saga_id),
        clean(saga.graph_name),
        state_text(saga),
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
