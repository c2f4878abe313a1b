"""The commands `inject`, `admin quarantine` and `admin release`."""

from __future__ import annotations

import click

from sagaline.cli.arguments import attribution_options, saga_argument, who
from sagaline.cli.output import print_json
from sagaline.cli.settings import Settings, common_options, pass_settings
from sagaline.cli.show import state_text
from sagaline.cli.text import clean
from sagaline.v1 import log_pb2, saga_pb2

FAULTS = {
    "action-error": log_pb2.FAULT_KIND_ACTION_ERROR,
    "undo-error": log_pb2.FAULT_KIND_UNDO_ERROR,
    "repeat": log_pb2.FAULT_KIND_REPEAT,
    "crash": log_pb2.FAULT_KIND_CRASH_BEFORE_RESULT,
}
TIMES_MAX = 100


@click.command("inject", short_help="Make later attempts of a node go wrong, for tests.")
@saga_argument
@click.argument("node", metavar="NODE")
@click.argument("fault", type=click.Choice(list(FAULTS)))
@click.option("--times", type=click.IntRange(1, TIMES_MAX), default=1, show_default=True, help="How often.")
@attribution_options
@common_options
@pass_settings
def inject_command(
    settings: Settings, saga_id: str, node: str, fault: str, times: int, actor: str, reason: str
) -> None:
    """Make later attempts of the node NODE of the saga SAGA go wrong.

    action-error: the action fails with no effect, unsent. undo-error: the undo fails for good, unsent. repeat: what has
    succeeded is sent again. crash: the SEC dies when a result has come and before it is logged. Only where the
    server's setting fault_injection is true.
    """
    with settings.client() as client:
        _tell(settings, client.inject_fault(saga_id, node, FAULTS[fault], times=times, actor=actor, reason=reason))


@click.command("quarantine", short_help="Set a saga aside: nothing of it starts.")
@saga_argument
@click.option("--actor", default=who, help="Who decides, for the log.  [default: you, on this host]")
@click.option("--reason", required=True, help="Why, for the log.")
@common_options
@pass_settings
def quarantine_command(settings: Settings, saga_id: str, actor: str, reason: str) -> None:
    """Set the saga SAGA aside: nothing of it starts until it is released. Results are still logged."""
    with settings.client() as client:
        _tell(settings, client.quarantine(saga_id, actor=actor, reason=reason))


@click.command("release", short_help="Take a saga back into service that was set aside.")
@saga_argument
@click.option("--actor", default=who, help="Who decides, for the log.  [default: you, on this host]")
@click.option("--reason", required=True, help="Why, for the log.")
@common_options
@pass_settings
def release_command(settings: Settings, saga_id: str, actor: str, reason: str) -> None:
    """Take the saga SAGA back into service. Its log must be legal."""
    with settings.client() as client:
        _tell(settings, client.release(saga_id, actor=actor, reason=reason))


def _tell(settings: Settings, saga: saga_pb2.Saga) -> None:
    if settings.json:
        print_json(saga)
    else:
        click.echo(f"{clean(saga.saga_id)}  {state_text(saga)}")
