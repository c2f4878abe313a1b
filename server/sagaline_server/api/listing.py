"""ListSagas: pages in the order of ids, with filters beyond what the store can do, and tokens that are opaque."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode

from sagaline.v1 import saga_pb2, saga_service_pb2
from sagaline_server.api import checks
from sagaline_server.api.errors import refuse
from sagaline_server.api.reading import RESPONSE_BYTES
from sagaline_server.api.runtime_port import SagaRuntime
from sagaline_server.core import limits
from sagaline_server.core.entries import SagaState
from sagaline_server.core.validate import Problem, check_saga_id
from sagaline_server.ports.store import ListQuery
from sagaline_server.runtime.requests import SagaNotFound
from sagaline_server.wire.times import to_seconds

SCANNED_MAX = 2_000
"""Sagas that one page looks at; a filter that fits few of them gives short pages with a token."""
SCANNED_AT_ONCE = 200
FILTER_LABELS = 8
PAGE_BYTES = 3 * 1024 * 1024
IDLE_SECONDS_MAX = 100 * 366 * 86_400.0

TOKEN_VERSION = b"\x01"
_DIGEST_BYTES = 8
_TOKEN_CHARS_MAX = 4 * (1 + _DIGEST_BYTES + limits.SAGA_ID_CHARS)

_FINAL = frozenset(int(state) for state in SagaState if state.is_final)
_STATES = frozenset(int(state) for state in SagaState)


async def list_sagas(
    runtime: SagaRuntime, request: saga_service_pb2.ListSagasRequest, now: float
) -> saga_service_pb2.ListSagasResponse:
    """Return a page of sagas.

    Args:
        runtime: Where the sagas are.
        request: What to list.
        now: Seconds since 1970, for `idle_for`.
    """
    refuse(checks.page_size(request.page_size) + checks.view(request.view) + check_filter(request.filter))
    after = read_token(request.page_token, request.filter)
    size = min(request.page_size or limits.PAGE_SIZE_DEFAULT, limits.PAGE_SIZE_MAX)
    page = _Page(runtime, request, size, now)
    last = await page.fill(after)
    token = "" if last is None else token_of(request.filter, last)
    return saga_service_pb2.ListSagasResponse(sagas=page.sagas, next_page_token=token)


class _Page:
    """A page that is being filled."""

    def __init__(self, runtime: SagaRuntime, request: saga_service_pb2.ListSagasRequest, size: int, now: float) -> None:
        self.sagas: list[saga_pb2.Saga] = []
        self._runtime = runtime
        self._filter = request.filter
        self._is_filtered = request.filter.ByteSize() > 0
        self._is_full_view = request.view == saga_pb2.SAGA_VIEW_FULL
        self._size = size
        self._now = now
        self._bytes = 0

    async def fill(self, after: str) -> str | None:
        """Scan on from an id; returns the id after which the next page goes on, None at the end of the list."""
        scanned = 0
        while scanned < SCANNED_MAX:
            query = ListQuery(
                after_id=after,
                limit=self._scan_size(),
                graph_name=self._filter.graph_name or None,
                unfinished=unfinished_of(self._filter),
            )
            batch = await self._runtime.list_page(query, full=False)
            if not batch:
                return None
            for saga in batch:
                if len(self.sagas) == self._size or not await self._take(saga):
                    return after
                after = saga.saga_id
            scanned += len(batch)
        return after

    def _scan_size(self) -> int:
        """Return how many sagas to look at next: with no filter those that fit, and one that shows that more follow."""
        return SCANNED_AT_ONCE if self._is_filtered else min(SCANNED_AT_ONCE, self._size + 1 - len(self.sagas))

    async def _take(self, saga: saga_pb2.Saga) -> bool:
        """Add a saga if the filter selects it; False when the page has no room for it."""
        if not selects(self._filter, saga, self._now):
            return True
        if self._is_full_view:
            try:
                saga = await self._runtime.get(saga.saga_id, full=True)
            except SagaNotFound:
                return True
            if saga.ByteSize() > RESPONSE_BYTES:
                # GetSaga says why; the list goes on with what it can tell.
                saga = await self._runtime.get(saga.saga_id, full=False)
        size = saga.ByteSize()
        if self.sagas and self._bytes + size > PAGE_BYTES:
            return False
        self._bytes += size
        self.sagas.append(saga)
        return True


# ---- filters -------------------------------------------------------------------


def check_filter(given: saga_service_pb2.SagaFilter) -> list[Problem]:
    """Return what is wrong with a filter."""
    problems = [
        problem
        for i, state in enumerate(given.states)
        for problem in checks.known_value(state, _STATES, f"filter.states[{i}]")
    ]
    problems += checks.at_most_items(len(given.states), 2 * len(_STATES), "filter.states")
    problems += checks.at_most_chars(given.graph_name, limits.GRAPH_NAME_CHARS, "filter.graph_name")
    problems += checks.at_most_chars(given.scope, limits.SCOPE_CHARS, "filter.scope")
    problems += checks.at_most_chars(given.failed_node, checks.NODE_PATH_CHARS, "filter.failed_node")
    problems += checks.at_most_items(len(given.labels), FILTER_LABELS, "filter.labels")
    for key, value in given.labels.items():
        field = f"filter.labels[{key[:32]}]"
        problems += checks.at_most_bytes(key, limits.LABEL_BYTES, field)
        problems += checks.at_most_bytes(value, limits.LABEL_BYTES, field)
    if given.HasField("create_time_from"):
        problems += checks.moment(given.create_time_from, "filter.create_time_from")
    if given.HasField("create_time_before"):
        problems += checks.moment(given.create_time_before, "filter.create_time_before")
    if given.HasField("idle_for"):
        problems += checks.span(given.idle_for, "filter.idle_for", IDLE_SECONDS_MAX)
    return problems[: 2 * limits.PROBLEMS_REPORTED]


def unfinished_of(given: saga_service_pb2.SagaFilter) -> bool | None:
    """Return what the store can filter by: only unfinished sagas, only finished ones, or both."""
    if given.needs_operator or given.HasField("idle_for"):
        return True
    if not given.states:
        return None
    final = [state in _FINAL for state in given.states]
    return None if any(final) and not all(final) else not final[0]


def selects(given: saga_service_pb2.SagaFilter, saga: saga_pb2.Saga, now: float) -> bool:
    """Say whether all that is set holds of a saga; `now` is in seconds since 1970."""
    return (
        (not given.states or saga.state in given.states)
        and (not given.graph_name or saga.graph_name == given.graph_name)
        and (not given.needs_operator or saga.needs_operator)
        and (not given.scope or given.scope in saga.scopes)
        and (not given.failed_node or saga.failed_node == given.failed_node)
        and all(saga.labels.get(key) == value for key, value in given.labels.items())
        and _is_of_that_time(given, saga, now)
    )


def _is_of_that_time(given: saga_service_pb2.SagaFilter, saga: saga_pb2.Saga, now: float) -> bool:
    created = to_seconds(saga.create_time)
    if given.HasField("create_time_from") and created < to_seconds(given.create_time_from):
        return False
    if given.HasField("create_time_before") and created >= to_seconds(given.create_time_before):
        return False
    if not given.HasField("idle_for"):
        return True
    return saga.state not in _FINAL and now - to_seconds(saga.update_time) >= to_seconds(given.idle_for)


# ---- tokens --------------------------------------------------------------------


def _digest(given: saga_service_pb2.SagaFilter) -> bytes:
    return hashlib.sha256(given.SerializeToString(deterministic=True)).digest()[:_DIGEST_BYTES]


def token_of(given: saga_service_pb2.SagaFilter, last_id: str) -> str:
    """Return the token of the page that begins after an id."""
    return urlsafe_b64encode(TOKEN_VERSION + _digest(given) + last_id.encode()).decode().rstrip("=")


def read_token(token: str, given: saga_service_pb2.SagaFilter) -> str:
    """Return the id after which a page begins.

    Raises:
        Refused: The token is not one of ours, or of another filter.
    """
    if not token:
        return ""
    try:
        raw = urlsafe_b64decode(token[:_TOKEN_CHARS_MAX] + "=" * (-len(token) % 4))
        last_id = raw[1 + _DIGEST_BYTES :].decode()
    except ValueError:
        raw, last_id = b"", ""
    if raw[:1] != TOKEN_VERSION or check_saga_id(last_id):
        message = "this is no token that a list of this release gave; begin again without one"
        refuse([Problem("page_token", "BAD_PAGE_TOKEN", message)])
    if raw[1 : 1 + _DIGEST_BYTES] != _digest(given):
        message = "the token is of a list with another filter; begin again without one"
        refuse([Problem("page_token", "BAD_PAGE_TOKEN", message)])
    return last_id
