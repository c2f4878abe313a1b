"""Shows a saga and its nodes as text."""

from __future__ import annotations

import click
from google.protobuf.timestamp_pb2 import Timestamp

from sagaline.cli.output import print_facts, print_json, print_labels, print_table
from sagaline.cli.text import age_text, clean, enum_text, failure_text, payload_text, time_text
from sagaline.v1 import saga_pb2


def show_saga(saga: saga_pb2.Saga, *, as_json: bool, at: Timestamp | None = None) -> None:
    """Print a saga: its facts, and its nodes where it has any. `at` is when it stood so; None is now."""
    if as_json:
        print_json(saga)
        return
    print_facts(_facts(saga, at))
    if saga.nodes:
        click.echo()
        print_table(["NODE", "STATUS", "ACTION", "ATTEMPTS", ""], [node_row(node) for node in saga.nodes])


def state_text(saga: saga_pb2.Saga) -> str:
    """Return the state, and beside it what holds the saga up."""
    marks = [enum_text(saga_pb2.SagaState.DESCRIPTOR, saga.state)]
    if saga.paused:
        marks.append("paused")
    if saga.needs_operator:
        marks.append("needs an operator")
    return ", ".join(marks)


def _facts(saga: saga_pb2.Saga, at: Timestamp | None) -> list[tuple[str, str]]:
    finished = saga.finish_time if saga.HasField("finish_time") else None
    return [
        ("saga", clean(saga.saga_id)),
        ("graph", clean(saga.graph_name)),
        ("state", state_text(saga)),
        ("failed node", clean(saga.failed_node)),
        ("failure", failure_text(saga.failure)),
        ("params", payload_text(saga.params) if saga.HasField("params") else ""),
        ("output", payload_text(saga.output) if saga.HasField("output") else ""),
        ("created", time_text(saga.create_time) if saga.HasField("create_time") else ""),
        ("finished", time_text(finished) if finished is not None else ""),
        ("age" if finished is None else "took", age_text(saga.create_time, finished or at)),
        ("labels", print_labels(dict(saga.labels))),
        ("scopes", ", ".join(clean(scope) for scope in saga.scopes)),
        ("owner", f"{clean(saga.owner)}, epoch {saga.epoch}" if saga.owner else ""),
        ("log", f"{saga.log_length} entries"),
    ]


def node_row(node: saga_pb2.NodeView) -> tuple[str, str, str, str, str]:
    """Return name, status, action or kind, attempts, and what there is to tell."""
    status = enum_text(saga_pb2.NodeStatus.DESCRIPTOR, node.status)
    return clean(node.name), status, clean(node.action or node.kind), attempts_text(node), remark_text(node)


def attempts_text(node: saga_pb2.NodeView) -> str:
    """Return the numbers of its attempts: "2", or "2, undo 1"."""
    parts = [str(node.attempt) if node.attempt else "", f"undo {node.undo_attempt}" if node.undo_attempt else ""]
    return ", ".join(part for part in parts if part)


def remark_text(node: saga_pb2.NodeView) -> str:
    """Return why the node waits, else its last failure, else its output."""
    if node.waiting_for:
        return clean(node.waiting_for)
    if node.HasField("failure"):
        return failure_text(node.failure)
    return payload_text(node.output) if node.HasField("output") else ""
