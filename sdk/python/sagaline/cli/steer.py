"""The commands `pause`, `resume`, `step`, `break`, `unwind`, `signal` and `resolve`."""

from __future__ import annotations

import json
from collections.abc import Sequence

import click

from sagaline.cli.arguments import STEPS_MAX, attribution_options, breakpoint_at, saga_argument, who
from sagaline.cli.output import print_json
from sagaline.cli.settings import Settings, common_options, pass_settings
from sagaline.cli.show import state_text
from sagaline.cli.text import clean
from sagaline.v1 import log_pb2, payload_pb2, saga_pb2


@click.command("pause", short_help="Hold every start of an action or undo action of a saga.")
@saga_argument
@attribution_options
@common_options
@pass_settings
def pause_command(settings: Settings, saga_id: str, actor: str, reason: str) -> None:
    """Hold every start of an action or undo action of the saga SAGA; what is in flight goes on."""
    with settings.client() as client:
        _tell(settings, client.pause(saga_id, actor=actor, reason=reason))


@click.command("resume", short_help="End a pause.")
@saga_argument
@attribution_options
@common_options
@pass_settings
def resume_command(settings: Settings, saga_id: str, actor: str, reason: str) -> None:
    """End the pause of the saga SAGA."""
    with settings.client() as client:
        _tell(settings, client.resume(saga_id, actor=actor, reason=reason))


@click.command("step", short_help="Let a number of starts pass the gate of a saga that is held.")
@saga_argument
@click.argument("steps", metavar="[STEPS]", type=click.IntRange(1, STEPS_MAX), default=1)
@attribution_options
@common_options
@pass_settings
def step_command(settings: Settings, saga_id: str, steps: int, actor: str, reason: str) -> None:
    """Let STEPS starts of an action or undo action of the saga SAGA pass: 1, unless said otherwise.

    The saga is paused, or has breakpoints, or one of its actions has. Steps add to those that are left.
    """
    with settings.client() as client:
        _tell(settings, client.step(saga_id, steps, actor=actor, reason=reason))


@click.command("break", short_help="Set the breakpoints of a saga.")
@saga_argument
@click.argument("nodes", metavar="[NODE[:action|:undo]]...", type=breakpoint_at, nargs=-1)
@attribution_options
@common_options
@pass_settings
def break_command(
    settings: Settings, saga_id: str, nodes: Sequence[log_pb2.Breakpoint], actor: str, reason: str
) -> None:
    """Hold every start of the nodes NODE of the saga SAGA, and of no others; none at all removes all breakpoints.

    NODE is the name of a node, of a subsaga for every node in it, or "*" for every node. ":action" or ":undo" after it
    is that side alone. A step lets a start pass that is held.
    """
    with settings.client() as client:
        _tell(settings, client.set_breakpoints(saga_id, nodes, actor=actor, reason=reason))


@click.command("unwind", short_help="Ask a saga to undo what it has done.")
@saga_argument
@attribution_options
@common_options
@pass_settings
def unwind_command(settings: Settings, saga_id: str, actor: str, reason: str) -> None:
    """Ask the saga SAGA to undo what it has done. Nodes in flight are waited for."""
    with settings.client() as client:
        _tell(settings, client.unwind(saga_id, actor=actor, reason=reason))


@click.command("signal", short_help="Send a signal to a saga.")
@saga_argument
@click.argument("name", metavar="SIGNAL")
@click.option("--json", "text", metavar="JSON", default="null", show_default=True, help="Its payload.")
@click.option("--request-id", default="", help="The same one counts once.  [default: a new one]")
@common_options
@pass_settings
def signal_command(settings: Settings, saga_id: str, name: str, text: str, request_id: str) -> None:
    """Send the signal SIGNAL to the saga SAGA. It is kept if the node for it does not wait yet."""
    with settings.client() as client:
        _tell(settings, client.signal(saga_id, name, _json_value(text, "--json"), request_id=request_id))


def _json_value(text: str, option: str) -> object:
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise click.BadParameter(f"not JSON: {error}", param_hint=option) from error
    return value


@click.command("resolve", short_help="Decide about a node that needs an operator.")
@saga_argument
@click.argument("node", metavar="NODE")
@click.option("--retry", "decision", flag_value="retry", help="Try the failed undo, or the held action, again.")
@click.option("--mark-undone", "decision", flag_value="mark-undone", help="The node has been undone by hand.")
@click.option("--mark-failed", "decision", flag_value="mark-failed", help="The action certainly had no effect.")
@click.option("--output-json", metavar="JSON", help="The action succeeded, with this output.")
@click.option(
    "--seen",
    metavar="ENTRIES",
    type=click.IntRange(1),
    help="Decide only if the saga's log still has so many entries, as `why` and `get` told.",
)
@click.option("--actor", default=who, help="Who decides, for the log.  [default: you, on this host]")
@click.option("--reason", required=True, help="Why, for the log.")
@common_options
@pass_settings
def resolve_command(
    settings: Settings,
    saga_id: str,
    node: str,
    decision: str | None,
    output_json: str | None,
    seen: int | None,
    actor: str,
    reason: str,
) -> None:
    """Decide about the node NODE of the saga SAGA: one that is held, in doubt, or whose undo failed.

    Name a node of a subsaga with it: "server/pick".
    """
    resolution, output = _decision(decision, output_json)
    with settings.client() as client:
        saga = client.resolve(
            saga_id, node, resolution, actor=actor, reason=reason, output=output, expected_log_length=seen
        )
    _tell(settings, saga)


def _decision(
    decision: str | None, output_json: str | None
) -> tuple[log_pb2.Resolution.ValueType, payload_pb2.Payload | None]:
    if (decision is None) == (output_json is None):
        raise click.UsageError("give one of --retry, --mark-undone, --mark-failed and --output-json")
    if output_json is not None:
        _json_value(output_json, "--output-json")
        return log_pb2.RESOLUTION_SUPPLY_OUTPUT, payload_pb2.Payload(json=output_json)
    resolutions = {
        "retry": log_pb2.RESOLUTION_RETRY,
        "mark-undone": log_pb2.RESOLUTION_MARK_UNDONE,
        "mark-failed": log_pb2.RESOLUTION_MARK_FAILED,
    }
    return resolutions[decision or ""], None


def _tell(settings: Settings, saga: saga_pb2.Saga) -> None:
    if settings.json:
        print_json(saga)
    else:
        click.echo(f"{clean(saga.saga_id)}  {state_text(saga)}")
