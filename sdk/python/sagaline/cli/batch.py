"""The group `batch`: pause, resume or unwind every saga that the options select."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import click

from sagaline.cli.arguments import attribution_options
from sagaline.cli.exits import REFUSED
from sagaline.cli.filters import filter_of, filter_options
from sagaline.cli.output import print_json_line
from sagaline.cli.settings import Settings, common_options, pass_settings
from sagaline.cli.text import clean
from sagaline.client.calls import SagaFilterOptions, saga_filter
from sagaline.v1 import saga_pb2, saga_service_pb2

UNFINISHED = frozenset(saga_pb2.SagaState.values()) - {
    saga_pb2.SAGA_STATE_UNSPECIFIED,
    saga_pb2.SAGA_STATE_SUCCEEDED,
    saga_pb2.SAGA_STATE_UNWOUND,
}


@click.group("batch", short_help="Pause, resume or unwind all sagas that options select.")
def batch_command() -> None:
    """Pause, resume or unwind every unfinished saga that the options select. Safe to repeat."""


def _command(name: str, control: saga_service_pb2.BatchControl.ValueType, what: str) -> Callable[..., None]:
    @batch_command.command(name, help=f"{what} Options given twice: any of the states, all of the labels.")
    @filter_options
    @click.option("--dry-run", is_flag=True, help="Only say how many there are.")
    @attribution_options
    @common_options
    @pass_settings
    def command(settings: Settings, /, *, dry_run: bool, actor: str, reason: str, **given: Any) -> None:
        which = filter_of(**given)
        if not saga_filter(which).ByteSize():
            raise click.UsageError("say which sagas: a batch over all of them is most likely a mistake")
        if dry_run:
            _count(settings, which)
        else:
            _control(settings, control, actor, reason, which)

    return command


def _count(settings: Settings, which: SagaFilterOptions) -> None:
    with settings.client() as client:
        counts = client.count(**which)
    found = sum(count for state, count in counts.items() if state in UNFINISHED)
    click.echo(json.dumps({"sagas": found}) if settings.json else f"{found} sagas")


def _control(
    settings: Settings,
    control: saga_service_pb2.BatchControl.ValueType,
    actor: str,
    reason: str,
    which: SagaFilterOptions,
) -> None:
    obeyed = refused = 0
    with settings.client(waits=True) as client:
        for page in client.batch_control(control, actor=actor, reason=reason, **which):
            obeyed, refused = obeyed + len(page.saga_ids), refused + len(page.refused)
            if settings.json:
                print_json_line(page)
            for saga_id, why in page.refused.items():
                click.echo(f"{clean(saga_id)}  refused: {clean(why)}", err=True)
            if page.next_page_token:
                click.echo(f"{obeyed} so far", err=True)
    if not settings.json:
        click.echo(f"{obeyed} sagas, {refused} refused")
    if refused:
        click.get_current_context().exit(REFUSED)


pause_all = _command("pause", saga_service_pb2.BATCH_CONTROL_PAUSE, "Hold every start of the sagas selected.")
resume_all = _command("resume", saga_service_pb2.BATCH_CONTROL_RESUME, "End the pause of the sagas selected.")
unwind_all = _command("unwind", saga_service_pb2.BATCH_CONTROL_UNWIND, "Ask the sagas selected to undo themselves.")
