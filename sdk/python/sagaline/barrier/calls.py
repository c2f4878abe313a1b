"""What a barrier takes from a `Context`: which node it is, and which attempt of it arrives."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from sagaline.barrier.machine import Arrival
from sagaline.context import Context, Kind
from sagaline.errors import BarrierMisuse
from sagaline.v1.payload_pb2 import Payload


class Key(NamedTuple):
    """Names a row: made of the saga's and the node's names alone, so that every attempt has the same one."""

    saga_id: str
    node: str
    scope: str

    def __str__(self) -> str:
        return f"node {self.node} of saga {self.saga_id}"


@dataclass(frozen=True, slots=True)
class Call:
    """One attempt at one barrier."""

    key: Key
    arrival: Arrival


def call_of(context: Context, kind: Kind, scope: str) -> Call:
    """Return the call that an action (or undo action) makes.

    Raises:
        BarrierMisuse: The context is the other side's.
    """
    if context.kind is not kind:
        raise BarrierMisuse(f"this is the context of an {_NAMES[context.kind]}; give it to `barrier.{context.kind}`")
    undo = context.undo
    arrival = Arrival(
        kind=kind,
        fencing_token=context.fencing_token,
        input_digest=digest_of(context._invocation.inputs),  # noqa: SLF001 - decoded values have no stable bytes
        action_succeeded=undo is not None and undo.action_succeeded,
    )
    return Call(Key(context.saga_id, context.node, scope), arrival)


_NAMES = {Kind.ACTION: "action", Kind.UNDO: "undo action"}


def digest_of(inputs: Mapping[str, Payload]) -> bytes:
    """Return the SHA-256 digest of a node's inputs, the same in every language.

    It covers, for each input in the order of its name's bytes: the name; "json" and the text, or "data", the encoding
    and the data; the number of metadata as 8 bytes; each key and its text, by key. Each of these is preceded by its
    length. Lengths and numbers are 8 bytes, big-endian.
    """
    digest = hashlib.sha256()
    for name in sorted(inputs, key=str.encode):
        for part in (name.encode(), *_parts(inputs[name])):
            digest.update(len(part).to_bytes(8, "big"))
            digest.update(part)
    return digest.digest()


def _parts(payload: Payload) -> Iterator[bytes]:
    if payload.WhichOneof("value") == "data":
        yield from (b"data", payload.encoding.encode(), payload.data)
    else:
        yield from (b"json", payload.json.encode() if payload.HasField("json") else b"null")
    yield len(payload.metadata).to_bytes(8, "big")
    pairs: Iterable[tuple[bytes, bytes]] = ((key.encode(), text.encode()) for key, text in payload.metadata.items())
    for pair in sorted(pairs):
        yield from pair
