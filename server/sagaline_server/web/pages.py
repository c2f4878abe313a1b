"""The pages, as functions of what they show. Nothing here waits or asks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import quote, urlencode

from google.protobuf import json_format
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from sagaline.v1 import admin_service_pb2, failure_pb2, log_pb2, payload_pb2, saga_pb2
from sagaline_server.web.drawing import NODES_MAX, graph_svg, status_word
from sagaline_server.web.markup import page, table, text

LOG_SHOWN = 200
"""Entries that a page shows: the last ones."""
NODES_SHOWN = 500
PAGE_SIZE = 100

SHOWS = {"unfinished": "Unfinished sagas", "operator": "Sagas that need an operator", "all": "All sagas"}


def list_page(sagas: Sequence[saga_pb2.Saga], show: str, graph: str, following: str) -> bytes:
    """Return a list. `following` is the id after which it goes on; empty at its end."""
    rows = [
        (
            _link(saga.saga_id),
            text(saga.graph_name),
            _state(saga),
            time_text(saga.create_time),
            text(", ".join(f"{key}={value}" for key, value in sorted(saga.labels.items()))),
            text(failure_text(saga.failure)),
        )
        for saga in sagas
    ]
    body = f"<h1>{text(SHOWS[show])}{' of graph ' + text(graph) if graph else ''}</h1>"
    if rows:
        body += table(("saga", "graph", "state", "created", "labels", "failure"), rows)
    else:
        body += "<p>None on this page.</p>"
    if following:
        given = {"show": show, "after": following} | ({"graph": graph} if graph else {})
        body += f'<p><a href="/?{text(urlencode(given), 2_000)}">more</a></p>'
    return page(SHOWS[show], body)


def saga_page(saga: saga_pb2.Saga, fragment: str) -> bytes:
    """Return the page of a saga around its fragment, which is fetched anew while the saga goes on."""
    at = f"/sagas/{quote(saga.saga_id, safe='')}"
    live = "" if saga.HasField("finish_time") else f' data-events="{at}/events" data-fragment="{at}/fragment"'
    body = f'<h1>{text(saga.saga_id)}</h1><div id="live"{live}>{fragment}</div>'
    return page(saga.saga_id, body)


def saga_fragment(
    saga: saga_pb2.Saga,
    waits: Sequence[admin_service_pb2.NodeWait],
    entries: Sequence[log_pb2.LogEntry],
    log_note: str,
) -> str:
    """Return what changes of a saga's page: its facts, why it waits, its graph, its nodes and its log."""
    parts = [_facts(saga)]
    if waits:
        told = [(text(wait.node), text(_reason(wait)), text(wait.message)) for wait in waits[:NODES_SHOWN]]
        parts.append("<h2>Why it waits</h2>" + table(("node", "reason", ""), told))
    drawing = graph_svg(saga.nodes)
    if drawing:
        parts.append(f'<h2>Graph</h2><div class="drawing">{drawing}</div>')
    elif saga.nodes:
        parts.append(f"<h2>Graph</h2><p>{len(saga.nodes)} nodes; up to {NODES_MAX} are drawn.</p>")
    if saga.nodes:
        header = ("node", "status", "action", "attempts", "")
        parts.append("<h2>Nodes</h2>" + table(header, [_node_row(node) for node in saga.nodes[:NODES_SHOWN]]))
        if len(saga.nodes) > NODES_SHOWN:
            parts.append(f"<p>{len(saga.nodes) - NODES_SHOWN} more are not shown: <code>sagaline get</code>.</p>")
    parts.append(f"<h2>Log</h2>{f'<p>{text(log_note)}</p>' if log_note else ''}")
    if entries:
        rows = [(str(entry.seq), time_text(entry.time), *entry_cells(entry)) for entry in reversed(entries)]
        parts.append(f'<div class="log">{table(("", "time", "entry", ""), rows)}</div>')
    return "".join(parts)


def secs_page(
    secs: Sequence[admin_service_pb2.SecStatus], workers: Sequence[admin_service_pb2.WorkerStatus], me: str
) -> bytes:
    """Return the live SECs, and the workers of this one."""
    sec_rows = [
        (
            text(status.sec.sec_id) + (" (this one)" if status.sec.sec_id == me else ""),
            text(status.sec.address),
            "draining" if status.sec.draining else "serving",
            str(status.owned_sagas),
            str(status.incarnation),
            text(status.version),
        )
        for status in secs
    ]
    worker_rows = [
        (
            text(worker.worker_id),
            text(worker.identity),
            "draining" if worker.draining else "connected" if worker.connected else "away",
            f"{worker.in_flight}/{sum(worker.capacity.max_in_flight_by_pool.values())}",
            time_text(worker.connect_time),
            text(", ".join(sorted(action.action for action in worker.actions)), 2_000),
        )
        for worker in workers
    ]
    body = "<h1>SECs</h1>" + table(("SEC", "address", "state", "sagas", "incarnation", "version"), sec_rows)
    body += "<h1>Workers of this SEC</h1>"
    if worker_rows:
        body += table(("worker", "identity", "state", "in flight", "since", "actions"), worker_rows[:NODES_SHOWN])
    else:
        body += "<p>No worker has a session with this SEC.</p>"
    return page("SECs and workers", body)


def message_page(title: str, message: str) -> bytes:
    """Return a page that says one thing."""
    return page(title, f"<h1>{text(title)}</h1><p>{text(message)}</p>")


def entry_cells(entry: log_pb2.LogEntry) -> tuple[str, str]:
    """Return what an entry is, and what it says, whichever kind it is of."""
    kind = entry.WhichOneof("entry")
    if kind is None:
        return "unknown entry", ""
    return text(kind.replace("_", " ")), text(", ".join(_said(getattr(entry, kind))))


def _said(message: Message) -> list[str]:
    said = []
    for field, value in message.ListFields():
        if isinstance(value, failure_pb2.Failure):
            said.append(failure_text(value))
        elif isinstance(value, payload_pb2.Payload):
            said.append(f"{field.name}={payload_text(value)}")
        elif isinstance(value, Message):
            told = json_format.MessageToDict(value, preserving_proto_field_name=True)
            said.append(f"{field.name}={_short(told)}")
        elif isinstance(value, bytes):
            said.append(f"{field.name}={value[:8].hex()}…")
        elif field.enum_type is not None and isinstance(value, int):
            found = field.enum_type.values_by_number.get(value)
            said.append(f"{field.name}={value if found is None else _bare(found.name, field.enum_type.name)}")
        else:
            said.append(f"{field.name}={value}" if field.name != "node" else str(value))
    return said


def _short(told: object) -> str:
    if isinstance(told, dict):
        return " ".join(f"{key}={_short(value)}" for key, value in told.items())
    return str(told)


def _bare(name: str, enum: str) -> str:
    prefix = "".join(f"_{letter}" if letter.isupper() else letter.upper() for letter in enum).strip("_") + "_"
    return name.removeprefix(prefix).lower()


def _facts(saga: saga_pb2.Saga) -> str:
    facts = [
        ("graph", text(saga.graph_name)),
        ("state", _state(saga)),
        ("failed node", text(saga.failed_node)),
        ("failure", text(failure_text(saga.failure))),
        ("params", f"<code>{text(payload_text(saga.params))}</code>" if saga.HasField("params") else ""),
        ("output", f"<code>{text(payload_text(saga.output))}</code>" if saga.HasField("output") else ""),
        ("created", time_text(saga.create_time)),
        ("finished", time_text(saga.finish_time) if saga.HasField("finish_time") else ""),
        ("labels", text(", ".join(f"{key}={value}" for key, value in sorted(saga.labels.items())))),
        ("scopes", text(", ".join(saga.scopes))),
        ("owner", f"{text(saga.owner)}, epoch {saga.epoch}" if saga.owner else ""),
        ("log", f"{saga.log_length} entries"),
    ]
    return "<dl>" + "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in facts if value) + "</dl>"


def _node_row(node: saga_pb2.NodeView) -> tuple[str, ...]:
    status = status_word(node.status)
    attempts = [str(node.attempt)] if node.attempt else []
    attempts += [f"undo {node.undo_attempt}"] if node.undo_attempt else []
    remark = node.waiting_for or failure_text(node.failure)
    if not remark and node.HasField("output"):
        remark = payload_text(node.output)
    return (
        text(node.name),
        f'<span class="{status.replace(" ", "-")}">{text(status)}</span>',
        text(node.action or node.kind),
        ", ".join(attempts),
        text(remark),
    )


def _state(saga: saga_pb2.Saga) -> str:
    word = saga_pb2.SagaState.Name(saga.state).removeprefix("SAGA_STATE_").lower()
    marks = [f'<span class="{word}">{text(word)}</span>'] + (["paused"] if saga.paused else [])
    return ", ".join([*marks, '<span class="alarm">needs an operator</span>'] if saga.needs_operator else marks)


def _reason(wait: admin_service_pb2.NodeWait) -> str:
    return admin_service_pb2.WaitReason.Name(wait.reason).removeprefix("WAIT_REASON_").lower().replace("_", " ")


def _link(saga_id: str) -> str:
    return f'<a href="/sagas/{quote(saga_id, safe="")}">{text(saga_id)}</a>'


def failure_text(failure: failure_pb2.Failure) -> str:
    """Return "Type: message", or whichever of the two is there."""
    return ": ".join(part for part in (failure.type, failure.message) if part)


def payload_text(payload: payload_pb2.Payload) -> str:
    """Return JSON as it is, and of anything else its size and encoding."""
    kind = payload.WhichOneof("value")
    if kind == "data":
        return f"<{len(payload.data)} bytes, {payload.encoding}>"
    return payload.json if kind == "json" else "null"


def time_text(stamp: Timestamp) -> str:
    """Return the time in UTC to the second; nothing for one that no calendar has."""
    try:
        moment = stamp.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        return ""
    return moment.strftime("%Y-%m-%d %H:%M:%SZ") if moment > datetime(1970, 1, 1, tzinfo=UTC) else ""
