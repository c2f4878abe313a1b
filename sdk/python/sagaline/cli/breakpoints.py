"""The commands `admin break set | clear | list`."""

from __future__ import annotations

from collections.abc import Sequence

import click

from sagaline.cli.arguments import who
from sagaline.cli.output import print_json, print_json_line, print_table
from sagaline.cli.settings import Settings, common_options, pass_settings
from sagaline.cli.text import clean, time_text
from sagaline.v1 import admin_service_pb2, saga_pb2

_SIDES = {
    "both": saga_pb2.INVOCATION_KIND_UNSPECIFIED,
    "action": saga_pb2.INVOCATION_KIND_ACTION,
    "undo": saga_pb2.INVOCATION_KIND_UNDO,
}


@click.command("set", short_help="Hold an action in every saga.")
@click.argument("action", metavar="ACTION")
@click.option("--side", type=click.Choice(list(_SIDES)), default="both", show_default=True, help="What of it is held.")
@click.option("--actor", default=who, help="Who, for all who ask why it waits.  [default: you, on this host]")
@click.option("--reason", required=True, help="Why.")
@common_options
@pass_settings
def set_command(settings: Settings, action: str, side: str, actor: str, reason: str) -> None:
    """Hold every start of the action ACTION, in every saga on every SEC, until the breakpoint is cleared.

    It stays over restarts. What is in flight goes on, and so does all else. `sagaline step SAGA` lets a start pass that
    is held; `sagaline why SAGA` tells of the breakpoint.
    """
    with settings.client() as client:
        point = client.set_action_breakpoint(action, kind=_SIDES[side], actor=actor, reason=reason)
    if settings.json:
        print_json(point)
        return
    _print([point])


@click.command("clear", short_help="Let an action go on.")
@click.argument("action", metavar="ACTION")
@common_options
@pass_settings
def clear_command(settings: Settings, action: str) -> None:
    """Clear the breakpoint on the action ACTION; what it held goes on. To clear what is not there does no harm."""
    with settings.client() as client:
        client.clear_action_breakpoint(action)
    if settings.json:
        print_json(admin_service_pb2.ClearActionBreakpointResponse())
        return
    click.echo(f"action {clean(action)} is not held", err=True)


@click.command("list", short_help="List the breakpoints on actions.")
@common_options
@pass_settings
def list_command(settings: Settings) -> None:
    """List the breakpoints on actions."""
    with settings.client() as client:
        points = client.action_breakpoints()
    if settings.json:
        for point in points:
            print_json_line(point)
        return
    if not points:
        click.echo("no action is held", err=True)
        return
    _print(points)


def _print(points: Sequence[admin_service_pb2.ActionBreakpoint]) -> None:
    sides = {kind: name for name, kind in _SIDES.items()}
    print_table(
        ["ACTION", "SIDE", "SET", "BY", "REASON"],
        [
            (clean(one.action), sides.get(one.kind, "?"), time_text(one.time), clean(one.actor), clean(one.reason))
            for one in points
        ],
    )


@click.group("break", short_help="Hold an action in every saga.")
@common_options
def break_command() -> None:
    """Set and clear breakpoints on actions, which hold them in every saga of the whole cluster."""


for _command in (set_command, clear_command, list_command):
    break_command.add_command(_command)
