"""Replaying a dumped saga without a server: what `sagaline replay` shows."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from google.protobuf import json_format

from sagaline.v1 import log_pb2, saga_pb2
from sagaline_server.core.apply import IllegalEntry, apply
from sagaline_server.core.digest import graph_digest, saga_digest
from sagaline_server.core.state import Saga
from sagaline_server.core.topology import flatten
from sagaline_server.wire.entries import UnreadableLog, entry_from
from sagaline_server.wire.payloads import payload_from
from sagaline_server.wire.specs import graph_from, spec_from
from sagaline_server.wire.views import about, add_details, summary


class BadDump(Exception):
    """A dump that can't be replayed; the message names the line."""


def saga_of_record(record: log_pb2.SagaRecord) -> Saga:
    """Return the state before the first entry of the saga that a record describes."""
    graph = graph_from(record.spec.graph)
    digest = graph_digest(graph)
    spec = spec_from(record.spec, record.spec.saga_id, graph)
    return Saga(flatten(graph, digest), payload_from(record.spec.params), saga_digest(spec, digest))


def replay_dump(lines: Iterable[str], to_seq: int | None = None) -> saga_pb2.Saga:
    """Fold a dump and return the saga in the FULL view as of an entry.

    Args:
        lines: JSON lines: `{"record": SagaRecord}`, then one `{"entry": LogEntry}` for each entry.
        to_seq: Last entry to apply. None: all of them.

    Raises:
        BadDump: A line is not what it should be, or the log breaks the rules.
    """
    record: log_pb2.SagaRecord | None = None
    saga: Saga | None = None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            if record is None or saga is None:
                record = json_format.ParseDict(_only(line, "record"), log_pb2.SagaRecord())
                saga = saga_of_record(record)
                continue
            stamped = entry_from(json_format.ParseDict(_only(line, "entry"), log_pb2.LogEntry()))
            if to_seq is not None and stamped.seq > to_seq:
                break
            apply(saga, stamped)
        except (ValueError, TypeError, json_format.ParseError, UnreadableLog, IllegalEntry) as error:
            raise BadDump(f"line {number}: {error}") from error
    if record is None or saga is None:
        raise BadDump("there is no record: the file is empty")
    view = summary(record.spec.saga_id, about(record), saga, None)
    add_details(view, record, saga)
    return view


def _only(line: str, key: str) -> dict[str, object]:
    value = msgspec.json.decode(line)
    if not isinstance(value, dict) or not isinstance(value.get(key), dict):
        raise TypeError(f"the line should be {{{key!r}: …}}")
    found: dict[str, object] = value[key]
    return found
