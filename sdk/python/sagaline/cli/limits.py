"""The commands `admin limit set | list | remove`."""

from __future__ import annotations

from collections.abc import Sequence

import click

from sagaline.cli.output import print_json, print_json_line, print_table
from sagaline.cli.settings import Settings, common_options, pass_settings
from sagaline.cli.text import clean
from sagaline.v1 import admin_service_pb2

_scope = click.option("--scope", metavar="SCOPE", help='Scope of sagas, such as "rack/17".')
_action = click.option("--action", metavar="ACTION", help="Name of an action, of whatever version.")


@click.command("set", short_help="Set the limit of a scope or action.")
@_scope
@_action
@click.option("--max-running", type=click.IntRange(0), metavar="N", help="Sagas of the scope that may run at once.")
@click.option(
    "--max-failing", type=click.IntRange(0), metavar="N", help="Sagas of the scope that fail, and hold new ones."
)
@click.option("--max-in-flight", type=click.IntRange(0), metavar="N", help="Attempts of the action at once.")
@click.option(
    "--per-second",
    type=click.FloatRange(0, min_open=True),
    metavar="RATE",
    help="Attempts of the action that may start in a second.",
)
@common_options
@pass_settings
def set_command(
    settings: Settings,
    scope: str | None,
    action: str | None,
    max_running: int | None,
    max_failing: int | None,
    max_in_flight: int | None,
    per_second: float | None,
) -> None:
    """Set the limit of a scope or an action, for the whole cluster. What is not named is not limited any more."""
    of_scope, of_action = (max_running, max_failing), (max_in_flight, per_second)
    _check_subject(scope, action)
    if (scope is not None and of_action != (None, None)) or (action is not None and of_scope != (None, None)):
        raise click.UsageError("--max-running and --max-failing are of a --scope, the others of an --action")
    if of_scope == of_action == (None, None):
        raise click.UsageError("say what the limit is, or lift it with `sagaline admin limit remove`")
    with settings.client() as client:
        if scope is not None:
            limit = client.set_scope_limit(scope, max_running=max_running, max_failing=max_failing)
        else:
            limit = client.set_action_limit(action or "", max_in_flight=max_in_flight, starts_per_second=per_second)
    _print(settings, [limit])


@click.command("remove", short_help="Lift the limit of a scope or action.")
@_scope
@_action
@common_options
@pass_settings
def remove_command(settings: Settings, scope: str | None, action: str | None) -> None:
    """Lift the limit of a scope or an action. To lift what is not limited does no harm."""
    _check_subject(scope, action)
    with settings.client() as client:
        limit = client.set_scope_limit(scope) if scope is not None else client.set_action_limit(action or "")
    if settings.json:
        print_json(limit)
        return
    click.echo(f"{clean(' '.join(_subject(limit)))} is not limited", err=True)


@click.command("list", short_help="List the limits.")
@common_options
@pass_settings
def list_command(settings: Settings) -> None:
    """List the limits on scopes and actions."""
    with settings.client() as client:
        limits = client.limits()
    if settings.json:
        for limit in limits:
            print_json_line(limit)
        return
    if not limits:
        click.echo("nothing is limited", err=True)
        return
    _print(settings, limits)


def _check_subject(scope: str | None, action: str | None) -> None:
    if (scope is None) == (action is None):
        raise click.UsageError("name a --scope or an --action")


def _print(settings: Settings, limits: Sequence[admin_service_pb2.Limit]) -> None:
    if settings.json:
        print_json(limits[0])
        return
    header = ["OF", "NAME", "MAX RUNNING", "MAX FAILING", "MAX IN FLIGHT", "PER SECOND"]
    print_table(header, [_row(limit) for limit in limits])


def _subject(limit: admin_service_pb2.Limit) -> tuple[str, str]:
    return ("scope", limit.scope) if limit.HasField("scope") else ("action", limit.action)


def _row(limit: admin_service_pb2.Limit) -> tuple[str, ...]:
    return (
        *(clean(part) for part in _subject(limit)),
        str(limit.max_running) if limit.HasField("max_running") else "",
        str(limit.max_failing) if limit.HasField("max_failing") else "",
        str(limit.max_in_flight) if limit.HasField("max_in_flight") else "",
        f"{limit.starts_per_second:g}" if limit.HasField("starts_per_second") else "",
    )


@click.group("limit", short_help="Limit how much of a scope or action runs at once.")
@common_options
def limit_command() -> None:
    """Bound the sagas of a scope, or the attempts of an action, over the whole cluster."""


for _command in (set_command, list_command, remove_command):
    limit_command.add_command(_command)
