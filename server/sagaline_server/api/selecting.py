"""CountSagas and BatchControlSagas: what is asked of all sagas that a filter selects."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable

from sagaline.v1 import saga_pb2, saga_service_pb2
from sagaline_server.api import checks
from sagaline_server.api.errors import refuse
from sagaline_server.api.listing import SCANNED_AT_ONCE, check_filter, read_token, selects, token_of, unfinished_of
from sagaline_server.api.runtime_port import SagaRuntime
from sagaline_server.core.decide import Order, SetPaused, Unwind
from sagaline_server.core.validate import Problem
from sagaline_server.ports.store import ListQuery
from sagaline_server.runtime.requests import RequestRefused, SagaNotFound

CONTROLLED_MAX = 200
"""Sagas of one answer: so few that each has its order within a call's deadline, whoever owns it."""
SCANNED_MAX = 2_000
AT_ONCE = 50
"""Orders that one batch has under way."""

_CONTROLS: dict[int, Callable[[saga_service_pb2.Attribution], Order]] = {
    saga_service_pb2.BATCH_CONTROL_PAUSE: lambda by: SetPaused(paused=True, actor=by.actor, reason=by.reason),
    saga_service_pb2.BATCH_CONTROL_RESUME: lambda by: SetPaused(paused=False, actor=by.actor, reason=by.reason),
    saga_service_pb2.BATCH_CONTROL_UNWIND: lambda by: Unwind(actor=by.actor, reason=by.reason),
}


async def count_sagas(
    runtime: SagaRuntime, request: saga_service_pb2.CountSagasRequest, now: float
) -> saga_service_pb2.CountSagasResponse:
    """Count the sagas that a filter selects, by state; `now` is in seconds since 1970, for `idle_for`.

    They are read one part after the other: of sagas that change meanwhile each counts as it was when it was read.
    """
    refuse(check_filter(request.filter))
    counts: Counter[saga_pb2.SagaState.ValueType] = Counter()
    async for part in _parts(runtime, request.filter, "", unfinished=unfinished_of(request.filter)):
        counts.update(saga.state for saga in part if selects(request.filter, saga, now))
    response = saga_service_pb2.CountSagasResponse()
    for state in sorted(counts):
        response.counts.add(state=state, count=counts[state])
    return response


async def control_sagas(
    runtime: SagaRuntime, request: saga_service_pb2.BatchControlSagasRequest, now: float
) -> saga_service_pb2.BatchControlSagasResponse:
    """Give an order to a page of the unfinished sagas that a filter selects. Those that have ended are passed over.

    Where this SEC or the store can't answer, the whole page is refused: it is safe to repeat.
    """
    problems = checks.required(request.filter.ByteSize() > 0, "filter", "a filter that selects something less than all")
    problems += check_filter(request.filter) + _check_control(request.control) + checks.attribution(request.by)
    refuse(problems)
    given = _CONTROLS[request.control](request.by)
    selected, last = await _select(runtime, request, now)
    response = saga_service_pb2.BatchControlSagasResponse()
    gate = asyncio.Semaphore(AT_ONCE)

    async def control(saga_id: str) -> str | None:
        async with gate:
            try:
                await runtime.request(saga_id, given)
            except RequestRefused as refusal:
                return refusal.code
            except SagaNotFound:
                return None
        return ""

    codes = await asyncio.gather(*map(control, selected), return_exceptions=True)
    for saga_id, code in zip(selected, codes, strict=True):
        if isinstance(code, BaseException):
            raise code
        if code:
            response.refused[saga_id] = code
        elif code is not None:
            response.saga_ids.append(saga_id)
    if last is not None:
        response.next_page_token = token_of(request.filter, last)
    return response


async def _select(
    runtime: SagaRuntime, request: saga_service_pb2.BatchControlSagasRequest, now: float
) -> tuple[list[str], str | None]:
    """Return the sagas of a page, and the id after which the next one begins; None at the end."""
    selected: list[str] = []
    after, scanned = read_token(request.page_token, request.filter), 0
    if unfinished_of(request.filter) is False:
        return [], None
    async for part in _parts(runtime, request.filter, after, unfinished=True):
        for saga in part:
            if len(selected) == CONTROLLED_MAX:
                return selected, after
            after = saga.saga_id
            if selects(request.filter, saga, now):
                selected.append(after)
        scanned += len(part)
        if scanned >= SCANNED_MAX:
            return selected, after
    return selected, None


async def _parts(
    runtime: SagaRuntime, given: saga_service_pb2.SagaFilter, after: str, *, unfinished: bool | None
) -> AsyncIterator[list[saga_pb2.Saga]]:
    """Yield what the store can select, in the order of ids."""
    while True:
        query = ListQuery(after, SCANNED_AT_ONCE, given.graph_name or None, unfinished)
        part = await runtime.list_page(query, full=False)
        if not part:
            return
        yield part
        after = part[-1].saga_id


def _check_control(given: int) -> list[Problem]:
    problems = checks.required(given != saga_service_pb2.BATCH_CONTROL_UNSPECIFIED, "control", "what to do")
    return problems or checks.known_value(given, frozenset(_CONTROLS), "control")
