"""The command `worker`."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import timedelta

import click

from sagaline.actions import Action
from sagaline.cli.durations import seconds
from sagaline.cli.exits import UnusableInput
from sagaline.cli.loading import load_attribute
from sagaline.cli.settings import Settings, common_options, pass_settings
from sagaline.worker.worker import Worker

_LEVELS = click.Choice(["debug", "info", "warning", "error"])


@click.command("worker", short_help="Run a worker that serves the actions of a Python module.")
@click.argument("source", metavar="MODULE:ATTR")
@click.option("--slots", type=click.IntRange(min=1), default=100, show_default=True, help="Attempts at the same time.")
@click.option(
    "--drain-timeout",
    type=seconds,
    metavar="DURATION",
    default="25s",
    show_default=True,
    help="How long running attempts may go on after SIGTERM.",
)
@click.option("--identity", default="", help="Name for people.  [default: host and process id]")
@click.option("--build-id", default="", help="Build of the code, for people and rollouts.")
@click.option("--log-level", type=_LEVELS, default="info", show_default=True, help="What to log, on standard error.")
@common_options
@pass_settings
def worker_command(
    settings: Settings,
    source: str,
    slots: int,
    drain_timeout: float,
    identity: str,
    build_id: str,
    log_level: str,
) -> None:
    """Run a worker for the SECs that --address leads to, until SIGTERM or Ctrl-C drains it.

    MODULE:ATTR names a list of actions, or one action. Modules beside the working directory are found.
    """
    actions = actions_of(load_attribute(source), source)
    served = ", ".join(
        action.name if action.version == "1" else f"{action.name} {action.version}" for action in actions
    )
    logging.basicConfig(level=log_level.upper(), format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    worker = Worker(
        settings.addresses,
        actions=actions,
        slots=slots,
        drain_timeout=timedelta(seconds=drain_timeout),
        identity=identity,
        build_id=build_id,
        credentials=settings.credentials(),
    )
    logging.getLogger("sagaline.worker").info("serving %s at %s", served, ", ".join(settings.addresses))
    worker.run_forever()


def actions_of(found: object, source: str) -> list[Action[object, object]]:
    """Return the actions that were named.

    Raises:
        UnusableInput: There are none, or something else is among them.
    """
    items = [found] if isinstance(found, Action) else list(found) if isinstance(found, Iterable) else []
    actions = [item for item in items if isinstance(item, Action)]
    if not actions or len(actions) < len(items):
        what = "empty" if found == [] else f"a {type(found).__name__}"
        if len(actions) < len(items):
            other = next(item for item in items if not isinstance(item, Action))
            what = f"a {type(found).__name__} with a {type(other).__name__} in it"
        raise UnusableInput(
            f"{source} is no list of actions, it is {what}: name a list of functions decorated with @sagaline.action"
        )
    return actions
