"""The commands `workers` and `why`."""

from __future__ import annotations

import click

from sagaline.cli.arguments import saga_argument
from sagaline.cli.output import print_json_line, print_table
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
        waits = client.explain(saga_id)
    if settings.json:
        for wait in waits:
            print_json_line(wait)
        return
    if not waits:
        click.echo("nothing waits", err=True)
        return
    print_table(["NODE", "SIDE", "REASON", "FOR", ""], [_wait_row(wait) for wait in waits])


def _wait_row(wait: admin_service_pb2.NodeWait) -> tuple[str, ...]:
    return (
        clean(wait.node),
        enum_text(saga_pb2.InvocationKind.DESCRIPTOR, wait.kind),
        enum_text(admin_service_pb2.WaitReason.DESCRIPTOR, wait.reason),
        duration_text(wait.age) if wait.HasField("age") else "",
        clean(wait.message),
    )
