"""What is encoded by hand reads as what its messages would have said."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagaline.v1 import log_pb2, saga_pb2
from sagaline.v1 import worker_service_pb2 as pb
from sagaline_server.core import entries as core
from sagaline_server.core.entries import Kind, SagaState, Stamped
from sagaline_server.core.graph import ActionNode, Graph, Node
from sagaline_server.core.invocation import Invocation
from sagaline_server.core.state import Saga
from sagaline_server.core.topology import flatten
from sagaline_server.core.traces import sampled_parent, span_id
from sagaline_server.core.transitions import NodeStatus
from sagaline_server.core.values import NULL, Failure, Payload
from sagaline_server.wire.encoded import result_ack
from sagaline_server.wire.entries import decode_batch, encode_batch
from sagaline_server.wire.frames import encoded_invocation, invocation_message
from sagaline_server.wire.varints import varint
from sagaline_server.wire.views import About, done_record, summary

WRITER = bytes(range(16))
texts = st.text(max_size=200)
names = st.text("abcdé_.-", min_size=1, max_size=40)
numbers = st.integers(1, 2**31 - 1)
payloads = st.one_of(
    st.just(NULL),
    st.builds(lambda text: Payload(json=text), st.text(min_size=1, max_size=5000)),
    st.builds(
        lambda data, pairs: Payload(None, data, "binary/plain", tuple(sorted(pairs.items()))),
        st.binary(max_size=300),
        st.dictionaries(texts, texts, max_size=3),
    ),
)
times = st.floats(0, 4e9, allow_nan=False)


@given(st.integers(0, 2**63 - 1))
def test_a_varint_is_what_protobuf_writes(number: int) -> None:
    assert log_pb2.LogBatch.FromString(b"\x10" + varint(number)).epoch == number
    assert log_pb2.LogBatch(epoch=number).SerializeToString() == (b"\x10" + varint(number) if number else b"")


some_entry = st.one_of(
    st.builds(core.SagaCreated, st.binary(min_size=32, max_size=32), st.booleans()),
    st.builds(core.AttemptStarted, names, numbers, names, st.booleans()),
    st.builds(core.UndoAttemptStarted, names, numbers, names, st.booleans()),
    st.builds(core.NodeSucceeded, names, st.integers(0, 2**31 - 1), payloads),
    st.builds(core.NodeFailed, names, numbers, st.builds(Failure, names, texts)),
    st.builds(core.NodeUndone, names, st.integers(0, 9), st.sampled_from(core.UndoneHow)),
    st.builds(core.SagaFinished, st.sampled_from([SagaState.SUCCEEDED, SagaState.UNWOUND])),
)


@given(st.lists(some_entry, min_size=1, max_size=6), numbers, numbers, times)
def test_a_batch_reads_as_its_entries(some: list[core.Entry], epoch: int, seq: int, time: float) -> None:
    stamped = [Stamped(seq + i, epoch, time, entry) for i, entry in enumerate(some)]
    data = encode_batch(stamped, WRITER)
    read = decode_batch(data)
    assert [each.entry for each in read] == some
    assert [(each.seq, each.epoch) for each in read] == [(each.seq, epoch) for each in stamped]
    assert all(abs(each.time - time) < 1e-5 for each in read)
    message = log_pb2.LogBatch.FromString(data)
    assert message.writer_id == WRITER
    assert log_pb2.LogBatch.FromString(message.SerializeToString()) == message


@given(
    names,
    st.builds(
        Invocation,
        node=names,
        kind=st.sampled_from(Kind),
        attempt=numbers,
        worker_id=names,
        action=names,
        version=names,
        inputs=st.dictionaries(names, payloads, max_size=4).map(lambda given: tuple(given.items())),
        last_progress=st.none() | payloads,
        action_output=st.none() | payloads,
        saga_failure=st.none() | st.builds(Failure, names, texts),
    ),
    numbers,
    numbers,
    st.dictionaries(names, texts, max_size=2),
)
def test_an_invocation_reads_as_its_message(
    saga_id: str, work: Invocation, epoch: int, token: int, labels: dict[str, str]
) -> None:
    told = About(0.0, labels)
    data = encoded_invocation(saga_id, work, epoch, token, told)
    assert pb.Invocation.FromString(data) == invocation_message(saga_id, work, epoch, token, told)


def test_a_traced_invocation_names_the_span_of_its_attempt() -> None:
    work = Invocation("n", Kind.UNDO, 3, "w", "a", "", ())
    carried = {"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01", "tracestate": "vendor=1", "other": "x"}
    told = About(0.0, trace_context=carried)
    sent = pb.Invocation.FromString(encoded_invocation("s", work, 1, 2, told))
    assert sent.trace_context == carried
    told = msgspec.structs.replace(told, span_parent=sampled_parent(carried))
    sent = pb.Invocation.FromString(encoded_invocation("s", work, 1, 2, told))
    below = span_id("s", "n", Kind.UNDO, 3).hex()
    assert sent.trace_context == carried | {"traceparent": f"00-{'ab' * 16}-{below}-01"}


@given(names, names, st.sampled_from(Kind), numbers, st.integers(1, 7))
def test_an_acknowledgement_reads_as_its_message(
    saga_id: str, node: str, kind: Kind, attempt: int, status: int
) -> None:
    ref = pb.InvocationRef(saga_id=saga_id, node=node, kind=saga_pb2.InvocationKind.ValueType(kind), attempt=attempt)
    expected = pb.ResultAck(ref=ref, status=pb.ResultStatus.ValueType(status))
    assert pb.ResultAck.FromString(result_ack(saga_id, node, kind, attempt, status)) == expected


@given(names, payloads, times, times, st.dictionaries(names, texts, max_size=2))
def test_the_summary_of_an_ended_saga_reads_as_its_view(
    saga_id: str, output: Payload, created: float, updated: float, labels: dict[str, str]
) -> None:
    saga = Saga(flatten(Graph("g", (Node("a", ActionNode("act")),)), b""), NULL, b"")
    saga.statuses[0], saga.outputs[0], saga.remaining = NodeStatus.SUCCEEDED, output, 0
    saga.finished, saga.updated, saga.seq = SagaState.SUCCEEDED, updated, 5
    told = About(created, labels)
    read = log_pb2.DoneRecord.FromString(done_record(saga_id, told, saga))
    assert read.saga == summary(saga_id, told, saga, None)


@pytest.mark.parametrize("unwinding", [False, True])
def test_the_summary_of_an_unwound_saga_has_no_output(unwinding: bool) -> None:
    saga = Saga(flatten(Graph("g", (Node("a", ActionNode("act")),)), b""), NULL, b"")
    saga.outputs[0] = Payload(json="1")
    saga.unwinding = unwinding
    saga.finished = SagaState.UNWOUND if unwinding else SagaState.SUCCEEDED
    read = log_pb2.DoneRecord.FromString(done_record("s", About(0.0), saga)).saga
    assert read.HasField("output") is not unwinding
    assert read == summary("s", About(0.0), saga, None)
