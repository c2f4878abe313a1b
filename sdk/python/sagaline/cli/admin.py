"""The group `admin`. Its commands `workers` and `why` stand beside it as well: they are what is asked most."""

from __future__ import annotations

import click

from sagaline.cli.arguments import saga_argument
from sagaline.cli.breakpoints import break_command
from sagaline.cli.durations import seconds
from sagaline.cli.health import health_command
from sagaline.cli.limits import limit_command
from sagaline.cli.output import print_json, print_json_line, print_table
from sagaline.cli.repair import quarantine_command, release_command
from sagaline.cli.settings import Settings, common_options, pass_settings
from sagaline.cli.text import age_text, clean, duration_text, enum_text
from sagaline.v1 import admin_service_pb2, saga_pb2


@click.command("workers", short_help="List the workers that have a session with a SEC.")
@common_options
@pass_settings
def workers_command(settings: Settings) -> None:
    """List the workers that have a session with the SEC that answers, and what they serve."""
    with settings.client() as client:
        workers = client.workers()
    if settings.json:
        for worker in workers:
            print_json_line(worker)
        return
    if not workers:
        click.echo("no worker has a session with this SEC: `sagaline worker MODULE:ATTR` starts one", err=True)
        return
    header = ["WORKER", "IDENTITY", "STATE", "IN FLIGHT", "SINCE", "SDK", "ACTIONS"]
    print_table(header, [_worker_row(worker) for worker in workers])


def _worker_row(worker: admin_service_pb2.WorkerStatus) -> tuple[str, ...]:
    granted = sum(worker.capacity.max_in_flight_by_pool.values())
    state = "draining" if worker.draining else "connected" if worker.connected else "away"
    return (
        clean(worker.worker_id),
        clean(worker.identity),
        state,
        f"{worker.in_flight}/{granted}",
        age_text(worker.connect_time, None) if worker.HasField("connect_time") else "",
        clean(worker.sdk),
        ", ".join(sorted(clean(action.action) for action in worker.actions)),
    )


@click.command("why", short_help="Say why the nodes of a saga wait.")
@saga_argument
@common_options
@pass_settings
def why_command(settings: Settings, saga_id: str) -> None:
    """Say why the nodes of the saga SAGA wait."""
    with settings.client() as client:
        told = client.explain(saga_id)
    waits = told.waits
    for warning in told.warnings:
        click.echo(f"warning: {clean(warning)}", err=True)
    if settings.json:
        for wait in waits:
            print_json_line(wait)
        return
    if not waits:
        if not told.warnings:
            click.echo("nothing waits", err=True)
        return
    print_table(["NODE", "SIDE", "REASON", "FOR", ""], [_wait_row(wait) for wait in waits])
    for wait in waits:
        if wait.reason == admin_service_pb2.WAIT_REASON_OPERATOR:
            undo = wait.kind == saga_pb2.INVOCATION_KIND_UNDO
            ways = "--retry | --mark-undone" if undo else "--retry | --mark-failed | --output-json JSON"
            seen = f" --seen {told.log_length}" if told.log_length else ""  # older SECs do not tell it
            decide = f"sagaline resolve {clean(saga_id)} {clean(wait.node)} {ways}{seen} --reason TEXT"
            click.echo(f"decide about {clean(wait.node)}: {decide}", err=True)


def _wait_row(wait: admin_service_pb2.NodeWait) -> tuple[str, ...]:
    return (
        clean(wait.node),
        enum_text(saga_pb2.InvocationKind.DESCRIPTOR, wait.kind),
        enum_text(admin_service_pb2.WaitReason.DESCRIPTOR, wait.reason),
        duration_text(wait.age) if wait.HasField("age") else "",
        clean(wait.message),
    )


@click.command("secs", short_help="List the live SECs.")
@common_options
@pass_settings
def secs_command(settings: Settings) -> None:
    """List the live SECs, and how many unfinished sagas each owns: of others than the one that answers, as of half a
    minute ago. Workers are those of the SEC that answers.
    """
    with settings.client() as client:
        secs = client.secs()
    if settings.json:
        for sec in secs:
            print_json_line(sec)
        return
    header = ["SEC", "ADDRESS", "STATE", "SAGAS", "WORKERS", "INCARNATION", "VERSION"]
    print_table(header, [_sec_row(sec) for sec in secs])


def _sec_row(status: admin_service_pb2.SecStatus) -> tuple[str, ...]:
    return (
        clean(status.sec.sec_id),
        clean(status.sec.address),
        "draining" if status.sec.draining else "serving",
        str(status.owned_sagas),
        str(status.workers),
        str(status.incarnation),
        clean(status.version),
    )


@click.command("handoff", short_help="Hand a saga off to another SEC.")
@saga_argument
@click.option("--to", "to_sec_id", metavar="SEC", default="", help="SEC to take it.  [default: as placement prefers]")
@common_options
@pass_settings
def handoff_command(settings: Settings, saga_id: str, to_sec_id: str) -> None:
    """Make another SEC the owner of the saga SAGA. What is in flight goes on."""
    with settings.client() as client:
        done = client.hand_off(saga_id, to_sec_id=to_sec_id)
    if settings.json:
        print_json(done)
        return
    click.echo(f"{clean(saga_id)}  {clean(done.owner.sec_id)} at {clean(done.owner.address)}, epoch {done.epoch}")


@click.command("drain", short_help="Make a SEC hand off everything and stop.")
@click.argument("sec_id", metavar="[SEC]", required=False, default="")
@click.option(
    "--within", "within_s", type=seconds, metavar="DURATION", default="60s", show_default=True, help="Time it may take."
)
@common_options
@pass_settings
def drain_command(settings: Settings, sec_id: str, within_s: float) -> None:
    """Make the SEC SEC, or the one at --address, hand off everything and stop."""
    if not sec_id and len(settings.addresses) > 1:
        raise click.UsageError("of several addresses any may answer: name the SEC that is to leave")
    with settings.client() as client:
        client.drain(sec_id, within_s=within_s)
    if settings.json:
        print_json(admin_service_pb2.DrainSecResponse())
        return
    click.echo(f"{clean(sec_id) or 'the SEC'} leaves", err=True)


@click.group("admin", short_help="Look at SECs and workers, hand sagas off, drain a SEC.")
@common_options
def admin_command() -> None:
    """Look after SECs: what they own, which workers they have, where a saga runs."""


for _command in (
    secs_command,
    health_command,
    workers_command,
    why_command,
    handoff_command,
    drain_command,
    limit_command,
    break_command,
    quarantine_command,
    release_command,
):
    admin_command.add_command(_command)
