"""The options that select sagas, the same for every command that takes many."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import click

from sagaline.cli.arguments import as_labels, label
from sagaline.cli.durations import moment, seconds
from sagaline.cli.text import enum_text
from sagaline.client.calls import SagaFilterOptions
from sagaline.v1 import saga_pb2

F = TypeVar("F", bound=Callable[..., Any])

_STATES = {
    enum_text(saga_pb2.SagaState.DESCRIPTOR, number): number
    for number in saga_pb2.SagaState.values()
    if number != saga_pb2.SAGA_STATE_UNSPECIFIED
}

_OPTIONS = (
    click.option("--state", "states", type=click.Choice(list(_STATES)), multiple=True, help="Only of this state."),
    click.option("--graph", "graph_name", metavar="NAME", help="Only those of this graph."),
    click.option("--label", "labels", type=label, metavar="KEY=VALUE", multiple=True, help="Only with this label."),
    click.option("--scope", help="Only those of this scope."),
    click.option(
        "--created-from",
        type=moment,
        metavar="TIME",
        help='Only those created since: a time such as 2026-11-24T10:30 (UTC), or "2h" for two hours ago.',
    ),
    click.option("--created-before", type=moment, metavar="TIME", help="Only those created before."),
    click.option("--failed-node", metavar="NODE", help="Only those of which this node failed first."),
    click.option("--needs-operator", is_flag=True, help="Only those that need an operator."),
    click.option(
        "--idle-for",
        type=seconds,
        metavar="DURATION",
        help="Only unfinished ones with nothing logged for at least this long.",
    ),
)


def filter_options(command: F) -> F:
    """Give a command the options that select sagas; `filter_of` takes their values."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def filter_of(
    *,
    states: Sequence[str],
    graph_name: str | None,
    labels: Sequence[tuple[str, str]],
    scope: str | None,
    created_from: datetime | None,
    created_before: datetime | None,
    failed_node: str | None,
    needs_operator: bool,
    idle_for: float | None,
) -> SagaFilterOptions:
    """Return what the options select."""
    which = SagaFilterOptions(
        states=[_STATES[state] for state in states], labels=as_labels(labels), needs_operator=needs_operator
    )
    which["graph_name"] = graph_name or ""
    which["scope"] = scope or ""
    which["failed_node"] = failed_node or ""
    if created_from is not None:
        which["created_from"] = created_from
    if created_before is not None:
        which["created_before"] = created_before
    if idle_for is not None:
        which["idle_for"] = timedelta(seconds=idle_for)
    return which


def selects(which: SagaFilterOptions, saga: saga_pb2.Saga) -> bool:
    """True when a filter selects a saga that has ended, as a SEC would."""
    created = saga.create_time.ToDatetime(tzinfo=UTC)
    states, labels, scope = which.get("states"), which.get("labels", {}), which.get("scope")
    return (
        (not states or saga.state in states)
        and which.get("graph_name") in ("", None, saga.graph_name)
        and all(saga.labels.get(key) == value for key, value in labels.items())
        and (not scope or scope in saga.scopes)
        and which.get("failed_node") in ("", None, saga.failed_node)
        and ("created_from" not in which or created >= which["created_from"])
        and ("created_before" not in which or created < which["created_before"])
    )
