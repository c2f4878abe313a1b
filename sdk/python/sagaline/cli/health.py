"""The command `admin health`: a probe, for people and for whatever starts containers."""

from __future__ import annotations

import json

import click
import grpc

from sagaline.cli.exits import OK, UNAVAILABLE
from sagaline.cli.output import print_table
from sagaline.cli.settings import Settings, common_options, pass_settings
from sagaline.client.channels import HEALTH, HEALTH_TIMEOUT_S, as_is, is_serving, open_channel

SERVING, NOT_SERVING = "SERVING", "NOT_SERVING"


@click.command("health", short_help="Ask SECs whether they serve.")
@common_options
@pass_settings
def health_command(settings: Settings) -> None:
    """Ask every SEC that --address names whether it serves: not while it starts, leaves, or is without its store.

    Exits with 0 if all of them do, and with 5 if not.
    """
    states = [(address, _state(settings, address)) for address in settings.checked_addresses()]
    if settings.json:
        for address, state in states:
            click.echo(json.dumps({"address": address, "state": state}))
    else:
        print_table(["ADDRESS", "STATE"], states)
    healthy = all(state == SERVING for _, state in states)
    click.get_current_context().exit(OK if healthy else UNAVAILABLE)


def _state(settings: Settings, address: str) -> str:
    with open_channel(address, settings.credentials()) as channel:
        ask: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(HEALTH, as_is, as_is)
        try:
            answer = ask(b"", timeout=settings.given_timeout_s or HEALTH_TIMEOUT_S)
        except grpc.RpcError as error:
            return str(error.code().name)
        return SERVING if is_serving(answer) else NOT_SERVING
