"""A saga as the lines that `sagaline replay` reads, compressed. Equal sagas give equal bytes."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable

from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message

from sagaline.v1 import log_pb2
from sagaline_server.wire.entries import UnreadableLog, decode_log, entry_message


def dump_saga(record: bytes, batches: Iterable[bytes]) -> bytes:
    """Return the dump of a saga.

    Args:
        record: Encoded SagaRecord.
        batches: Encoded LogBatches, in order.

    Raises:
        UnreadableLog: They can't be read.
    """
    try:
        lines = [_line("record", log_pb2.SagaRecord.FromString(record))]
    except DecodeError as error:
        raise UnreadableLog("the record can't be decoded") from error
    lines += [_line("entry", entry_message(stamped)) for stamped in decode_log(batches)]
    # No time and no name in the header, so that one saga has one dump.
    return gzip.compress("".join(lines).encode(), mtime=0)


def _line(name: str, message: Message) -> str:
    tree = json_format.MessageToDict(message, preserving_proto_field_name=True)
    return json.dumps({name: tree}, separators=(",", ":")) + "\n"
