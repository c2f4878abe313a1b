"""Answers requests for pages: which page an address means, and what it takes from the runtime."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from functools import cache
from importlib.resources import files
from typing import Protocol
from urllib.parse import quote

from sagaline.v1 import admin_service_pb2, log_pb2, saga_pb2
from sagaline_server.core.entries import SagaState, Stamped
from sagaline_server.core.validate import check_saga_id
from sagaline_server.ports.store import ListQuery
from sagaline_server.runtime.requests import RuntimeRefusal, SagaNotFound
from sagaline_server.web import pages
from sagaline_server.web.http import Request, Response, plain
from sagaline_server.wire.entries import entry_message

SCANNED_MAX = 2_000
"""Sagas that one page of a list looks at; a list with few that fit has short pages, and goes on."""

_STATIC = {"style.css": "text/css; charset=utf-8", "live.js": "text/javascript; charset=utf-8"}


class WebRuntime(Protocol):
    """What the pages take from the runtime, as the api has it; they order nothing."""

    async def get(self, saga_id: str, *, full: bool) -> saga_pb2.Saga: ...

    async def list_page(self, query: ListQuery, *, full: bool) -> list[saga_pb2.Saga]: ...

    async def read_log(self, saga_id: str, from_seq: int, limit: int) -> tuple[list[Stamped], int]: ...

    def watch(self, saga_id: str, from_seq: int) -> AsyncIterator[tuple[list[Stamped], SagaState]]: ...

    async def explain(self, saga_id: str) -> admin_service_pb2.ExplainSagaResponse: ...

    def workers(self) -> list[admin_service_pb2.WorkerStatus]: ...

    def secs(self) -> list[admin_service_pb2.SecStatus]: ...


class Site:
    """The pages of one SEC."""

    def __init__(self, runtime: WebRuntime, sec_id: str) -> None:
        """Make them, for the SEC of this name."""
        self._runtime = runtime
        self._sec_id = sec_id

    async def answer(self, request: Request) -> Response:
        """Answer a request; what the runtime refuses is a page as well."""
        try:
            return await self._page(request)
        except SagaNotFound as error:
            return Response(pages.message_page("No such saga", str(error)), 404)
        except RuntimeRefusal as error:
            return Response(pages.message_page("Not now", str(error)), 503)

    async def _page(self, request: Request) -> Response:
        match request.path:
            case ():
                return await self._list(request)
            case ("find",):
                return _to_saga(request.query.get("saga", "").strip())
            case ("secs",):
                return Response(pages.secs_page(self._runtime.secs(), self._runtime.workers(), self._sec_id))
            case ("static", name) if name in _STATIC:
                return Response(_static(name), content_type=_STATIC[name])
            case ("sagas", saga_id):
                saga = await self._saga(saga_id)
                return Response(pages.saga_page(saga, await self._fragment(saga)))
            case ("sagas", saga_id, "fragment"):
                return Response((await self._fragment(await self._saga(saga_id))).encode())
            case ("sagas", saga_id, "events"):
                saga = await self._saga(saga_id, full=False)
                return Response(content_type="text/event-stream", events=self._events(saga))
        return plain(404, "there is no such page")

    async def _saga(self, saga_id: str, *, full: bool = True) -> saga_pb2.Saga:
        if check_saga_id(saga_id):
            raise SagaNotFound("this can't be the id of a saga")
        return await self._runtime.get(saga_id, full=full)

    async def _list(self, request: Request) -> Response:
        show = request.query.get("show", "unfinished")
        if show not in pages.SHOWS:
            return plain(404, "there is no such list")
        graph, after = request.query.get("graph", ""), request.query.get("after", "")
        found: list[saga_pb2.Saga] = []
        scanned, more = 0, True
        while scanned < SCANNED_MAX and len(found) < pages.PAGE_SIZE and more:
            query = ListQuery(after, pages.PAGE_SIZE - len(found), graph or None, None if show == "all" else True)
            batch = await self._runtime.list_page(query, full=False)
            more = bool(batch)
            scanned += len(batch)
            after = batch[-1].saga_id if batch else ""
            found += [saga for saga in batch if show != "operator" or saga.needs_operator]
        return Response(pages.list_page(found, show, graph, after if more else ""))

    async def _fragment(self, saga: saga_pb2.Saga) -> str:
        explained = admin_service_pb2.ExplainSagaResponse()
        if not saga.HasField("finish_time"):
            explained = await self._runtime.explain(saga.saga_id)
        entries: Sequence[log_pb2.LogEntry] = ()
        from_seq = max(1, saga.log_length - pages.LOG_SHOWN + 1)
        try:
            stamped, _ = await self._runtime.read_log(saga.saga_id, from_seq, pages.LOG_SHOWN)
        except SagaNotFound:
            raise
        except RuntimeRefusal as error:
            note = str(error)
        else:
            entries = [entry_message(entry) for entry in stamped]
            note = "" if from_seq == 1 else f"The last {pages.LOG_SHOWN} of {saga.log_length} entries, newest first."
        return pages.saga_fragment(saga, explained.waits, entries, note)

    async def _events(self, saga: saga_pb2.Saga) -> AsyncGenerator[str, None]:
        """Yield an event for each batch of entries, until the saga has ended."""
        yield "retry: 2000\n\n"
        if not saga.HasField("finish_time"):
            watched = self._runtime.watch(saga.saga_id, saga.log_length + 1)
            try:
                async for entries, _ in watched:
                    yield f"event: changed\ndata: {entries[-1].seq}\n\n"
            except RuntimeRefusal:
                return  # it has moved, or the store is away: the browser asks again
            finally:
                if isinstance(watched, AsyncGenerator):
                    await watched.aclose()
        yield "event: ended\ndata: \n\n"


def _to_saga(saga_id: str) -> Response:
    if check_saga_id(saga_id):
        return Response(pages.message_page("No such saga", "this can't be the id of a saga"), 404)
    return Response(status=303, headers=(("Location", f"/sagas/{quote(saga_id, safe='')}"),))


@cache
def _static(name: str) -> bytes:
    return files("sagaline_server.web").joinpath("static", name).read_bytes()
