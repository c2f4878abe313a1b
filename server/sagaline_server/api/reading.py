"""GetSaga, GetSagaLog and WatchSaga."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence

from sagaline.v1 import log_pb2, saga_pb2, saga_service_pb2
from sagaline_server.api import checks
from sagaline_server.api.errors import Refused, refuse
from sagaline_server.api.runtime_port import SagaRuntime
from sagaline_server.core import limits
from sagaline_server.core.entries import SagaState, Stamped
from sagaline_server.core.validate import Problem, check_saga_id
from sagaline_server.wire.entries import entry_message

RESPONSE_BYTES = 4 * 1024 * 1024 - 64 * 1024
"""A little less than what gRPC clients take by default."""
LOG_PAGE_BYTES = 3 * 1024 * 1024
"""Record and entries of one page; an entry has 256 KiB and a bit at most, so that there is always room for one more."""


async def get_saga(runtime: SagaRuntime, request: saga_service_pb2.GetSagaRequest) -> saga_service_pb2.GetSagaResponse:
    """Return a saga as it stands."""
    refuse(check_saga_id(request.saga_id) + checks.view(request.view))
    saga = await runtime.get(request.saga_id, full=request.view != saga_pb2.SAGA_VIEW_BASIC)
    response = saga_service_pb2.GetSagaResponse(saga=saga)
    size = response.ByteSize()
    if size > RESPONSE_BYTES:
        sizes = {"bytes": str(size), "limit": str(RESPONSE_BYTES)}
        raise Refused("RESPONSE_TOO_LARGE", subject=request.saga_id, metadata=sizes)
    return response


async def get_saga_log(
    runtime: SagaRuntime, request: saga_service_pb2.GetSagaLogRequest
) -> saga_service_pb2.GetSagaLogResponse:
    """Return a part of a saga's log: fewer entries than asked for where they are large."""
    refuse(check_saga_id(request.saga_id) + checks.from_seq(request.from_seq) + checks.page_size(request.page_size))
    from_seq = request.from_seq or 1
    limit = min(request.page_size or limits.PAGE_SIZE_MAX, limits.PAGE_SIZE_MAX)
    entries, next_seq = await runtime.read_log(request.saga_id, from_seq, limit)
    response = saga_service_pb2.GetSagaLogResponse(next_seq=next_seq)
    if from_seq == 1:
        response.record.MergeFromString(await runtime.record(request.saga_id))
    size = response.ByteSize()
    for stamped in entries:
        message = entry_message(stamped)
        size += message.ByteSize()
        if response.entries and size > LOG_PAGE_BYTES:
            response.next_seq = stamped.seq
            break
        response.entries.append(message)
    return response


async def watch_saga(
    runtime: SagaRuntime, request: saga_service_pb2.WatchSagaRequest
) -> AsyncGenerator[saga_service_pb2.WatchSagaResponse, None]:
    """Yield a saga's log, then every new entry, until it has ended."""
    refuse(check_saga_id(request.saga_id) + checks.from_seq(request.from_seq))
    from_seq = request.from_seq or 1
    length = (await runtime.get(request.saga_id, full=False)).log_length
    if from_seq > length + 1:
        message = f"the log has {length} entries; a watch can begin with the next one, {length + 1}, at the latest"
        refuse([Problem("from_seq", "OUT_OF_RANGE", message)])
    watched = runtime.watch(request.saga_id, from_seq)
    try:
        async for entries, state in watched:
            for frame in _frames(entries, state):
                yield frame
    finally:
        await _close(watched)


async def _close(watched: AsyncIterator[object]) -> None:
    if isinstance(watched, AsyncGenerator):
        await watched.aclose()


def _frames(entries: Sequence[Stamped], state: SagaState) -> Iterator[saga_service_pb2.WatchSagaResponse]:
    """Cut entries into frames. Only the last one may say that the saga has ended."""
    before = saga_pb2.SagaState.ValueType(_still_open(state))
    held: list[log_pb2.LogEntry] = []
    size = 0
    for stamped in entries:
        message = entry_message(stamped)
        size += message.ByteSize()
        if held and size > limits.FRAME_BYTES:
            yield saga_service_pb2.WatchSagaResponse(entries=held, state=before)
            held, size = [], message.ByteSize()
        held.append(message)
    if held:
        yield saga_service_pb2.WatchSagaResponse(entries=held, state=saga_pb2.SagaState.ValueType(state))


def _still_open(state: SagaState) -> SagaState:
    """Return the state before the end of a saga that ended so."""
    match state:
        case SagaState.SUCCEEDED:
            return SagaState.RUNNING
        case SagaState.UNWOUND:
            return SagaState.UNWINDING
    return state
