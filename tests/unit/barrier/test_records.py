"""What a row holds: outputs, failures, digests of inputs. Other languages' barriers read the same bytes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from sagaline import Failed, encode
from sagaline.barrier.calls import Call, Key, call_of, digest_of
from sagaline.barrier.machine import Arrival
from sagaline.barrier.records import failure_bytes, failure_of, output_bytes, output_of
from sagaline.context import Kind
from sagaline.errors import BarrierMisuse, ConversionError
from sagaline.v1.failure_pb2 import Failure
from sagaline.v1.payload_pb2 import Payload
from tests.unit.barrier.contexts import INPUTS, action_context, undo_context


@dataclass(frozen=True)
class Ticket:
    seat: int
    price: float | None = None


@pytest.mark.parametrize(
    ("value", "declared"),
    [(Ticket(4, 1.5), Ticket), (None, None), ([1, 2], list[int]), ("x", str), (Duration(seconds=3), Duration)],
    ids=str,
)
def test_an_output_comes_back_as_it_was(value: object, declared: Any) -> None:
    assert output_of(output_bytes(value, declared), declared) == value


def test_an_output_of_another_version_is_refused() -> None:
    with pytest.raises(ConversionError):
        output_of(output_bytes("4", str), Ticket)


def test_an_output_without_a_type_is_what_it_can_be() -> None:
    assert output_of(output_bytes(Ticket(4), Ticket), Any) == {"seat": 4, "price": None}
    assert output_of(output_bytes(Duration(seconds=3), Duration), Any) == Duration(seconds=3)
    encrypted = Payload(data=b"?", encoding="binary/encrypted")
    assert output_of(encrypted.SerializeToString(), Any) == encrypted


def test_an_output_is_a_payload() -> None:
    assert Payload.FromString(output_bytes(Ticket(4), Ticket)).json == '{"seat":4,"price":null}'


def test_a_failure_comes_back_as_it_was() -> None:
    failed = Failed("SoldOut", "no seat", details=[{"flight": "LH 1"}, Duration(seconds=3), None])
    back = failure_of(failure_bytes(failed))
    assert (back.type, back.message, back.details) == (failed.type, failed.message, failed.details)
    assert failure_bytes(back) == failure_bytes(failed)


def test_details_that_are_not_known_here_are_left_out() -> None:
    recorded = Failure.FromString(failure_bytes(Failed("SoldOut", details=["kept"])))
    recorded.details.add(data=b"", encoding="binary/protobuf", metadata={"message_type": "acme.v1.Unknown"})
    recorded.details.add(data=b"", encoding="binary/encrypted")
    assert failure_of(recorded.SerializeToString()).details == ("kept",)


def test_the_digest_is_what_the_document_says() -> None:
    """Written out by hand, as a barrier in another language would compute it."""
    data = Payload(data=b"\x00\x01", encoding="binary/x", metadata={"k2": "v", "k1": ""})
    written_out = (
        b"\0\0\0\0\0\0\0\1" b"d"
        b"\0\0\0\0\0\0\0\4" b"data" b"\0\0\0\0\0\0\0\x08" b"binary/x" b"\0\0\0\0\0\0\0\2" b"\x00\x01"
        b"\0\0\0\0\0\0\0\x08" b"\0\0\0\0\0\0\0\2"
        b"\0\0\0\0\0\0\0\2" b"k1" b"\0\0\0\0\0\0\0\0" b""
        b"\0\0\0\0\0\0\0\2" b"k2" b"\0\0\0\0\0\0\0\1" b"v"
        b"\0\0\0\0\0\0\0\1" b"n"
        b"\0\0\0\0\0\0\0\4" b"json" b"\0\0\0\0\0\0\0\1" b"1"
        b"\0\0\0\0\0\0\0\x08" b"\0\0\0\0\0\0\0\0"
    )  # fmt: skip
    assert digest_of({"n": encode(1), "d": data}) == hashlib.sha256(written_out).digest()


@pytest.mark.parametrize(
    "other",
    [
        {},
        {"a": encode(2)},
        {"b": encode(1)},
        {"a": encode(1), "b": encode(1)},
        {"a": encode("1")},
        {"a": Payload(data=b"1", encoding="x")},
        {"a": Payload(json="1", metadata={"key_id": "1"})},
    ],
    ids=str,
)
def test_other_inputs_have_other_digests(other: dict[str, Payload]) -> None:
    assert digest_of(other) != digest_of({"a": encode(1)})


def test_the_same_inputs_have_the_same_digest() -> None:
    assert digest_of({"a": encode(1), "b": encode(2)}) == digest_of({"b": encode(2), "a": encode(1)})
    assert digest_of({"a": Payload()}) == digest_of({"a": encode(None)})


def test_a_call_is_made_of_the_context() -> None:
    digest = digest_of({name: encode(value) for name, value in INPUTS.items()})
    key = Key("saga-1", "seat", "stock")
    assert call_of(action_context(7), Kind.ACTION, "stock") == Call(key, Arrival(Kind.ACTION, 7, digest))
    known = call_of(undo_context(8, succeeded=True), Kind.UNDO, "stock")
    assert known == Call(key, Arrival(Kind.UNDO, 8, digest, action_succeeded=True))
    assert not call_of(undo_context(8), Kind.UNDO, "stock").arrival.action_succeeded


def test_the_context_of_the_other_side_is_refused() -> None:
    with pytest.raises(BarrierMisuse, match=r"the context of an undo action; give it to `barrier.undo`"):
        call_of(undo_context(), Kind.ACTION, "")
    with pytest.raises(BarrierMisuse, match=r"the context of an action; give it to `barrier.action`"):
        call_of(action_context(), Kind.UNDO, "")
