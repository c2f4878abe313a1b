"""The asyncio client."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Self, TypeVar, Unpack

import grpc
import grpc.aio

from sagaline.client import calls, methods
from sagaline.client.aio_link import AioLink
from sagaline.client.calls import DRAIN_DEFAULT_S, SagaFilterOptions, saga_filter
from sagaline.client.channels import (
    PATIENCE_DEFAULT_S,
    TARGET_DEFAULT,
    TIMEOUT_DEFAULT_S,
)
from sagaline.client.limiting import LimitMethods
from sagaline.client.runs import RunMethods
from sagaline.client.shared_creations import SharedCreations
from sagaline.client.shared_runs import SharedRuns
from sagaline.client.status import from_call
from sagaline.client.watching import WatchCursor
from sagaline.errors import RpcError, Unavailable
from sagaline.v1 import admin_service_pb2, log_pb2, payload_pb2, saga_pb2, saga_service_pb2
from sagaline.values import encode

P = TypeVar("P")
R = TypeVar("R")


class Client(RunMethods, LimitMethods):
    """Creates, watches and steers sagas.

    Every call has a deadline. A call that is safe to repeat is repeated while no SEC can be reached; creating a
    saga is, because the client gives it an id where you do not. Sagas and log entries come as the messages of
    `sagaline.v1`, whose fields the protos document.

    Every method that makes a call raises `sagaline.errors.RpcError`: the class says what to conclude.

    Args:
        target: Address of a SEC, "host:port", or any gRPC target; or of several, as a list or with commas between
            them. One is asked until it fails, then the next: any SEC serves any request. What is safe to repeat is
            repeated there, what is not only if it was not sent; watches, runs and waits go on there.
        credentials: TLS credentials of the channel. None: no TLS.
        timeout_s: How long a call may take, its repetitions included, in seconds.
        patience_s: How long to go on trying while no SEC can be reached; also of watches, runs and waits, which
            otherwise take as long as they take.
    """

    def __init__(
        self,
        target: str | Sequence[str] = TARGET_DEFAULT,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        timeout_s: float = TIMEOUT_DEFAULT_S,
        patience_s: float = PATIENCE_DEFAULT_S,
    ) -> None:
        self._link = AioLink(target, credentials, timeout_s, patience_s)
        self._creations = SharedCreations(self._link)
        self._runs = SharedRuns(self._link)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; calls under way are cancelled. The next call opens a new one."""
        await self._runs.close()
        await self._creations.close()
        await self._link.close()

    # ---- reading -----------------------------------------------------------------------------------------

    async def get(self, saga_id: str, *, view: saga_pb2.SagaView.ValueType = saga_pb2.SAGA_VIEW_FULL) -> saga_pb2.Saga:
        """Return a saga as it stands.

        Raises:
            SagaNotFound: There is none of that id.
        """
        return await self._link.unary(calls.get(saga_id, view))

    async def list(
        self,
        *,
        view: saga_pb2.SagaView.ValueType = saga_pb2.SAGA_VIEW_BASIC,
        **which: Unpack[SagaFilterOptions],
    ) -> AsyncGenerator[saga_pb2.Saga, None]:
        """Yield sagas in the order of their ids, page by page.

        Args:
            view: How much of each.
            which: See `SagaFilterOptions`. Nothing: all of them.
        """
        selected = saga_filter(which)
        token = ""
        while True:
            page = await self._link.unary(calls.list_page(selected, view, token))
            for saga in page.sagas:
                yield saga
            token = page.next_page_token
            if not token:
                return

    async def count(self, **which: Unpack[SagaFilterOptions]) -> dict[saga_pb2.SagaState.ValueType, int]:
        """Return how many sagas there are in each state that occurs.

        Args:
            which: See `SagaFilterOptions`. Nothing: all of them.
        """
        return await self._link.unary(calls.count(saga_filter(which)))

    async def record(self, saga_id: str) -> log_pb2.SagaRecord:
        """Return what a saga is, as it was written at its creation: with the log, all there is of it.

        Raises:
            SagaNotFound: There is none of that id.
            NotAllowedNow: Its log has been compacted away.
        """
        return await self._link.unary(calls.record(saga_id))

    async def log(self, saga_id: str, *, from_seq: int = 1) -> AsyncGenerator[log_pb2.LogEntry, None]:
        """Yield a saga's log as it stands, from an entry on.

        Raises:
            SagaNotFound: There is none of that id.
        """
        while from_seq:
            page = await self._link.unary(calls.log_page(saga_id, from_seq))
            for entry in page.entries:
                yield entry
            from_seq = page.next_seq

    async def watch(self, saga_id: str, *, from_seq: int = 1) -> AsyncGenerator[log_pb2.LogEntry, None]:
        """Yield a saga's log from an entry on, then every new entry as it becomes durable, until the saga ends.

        A broken stream is opened again where it broke: no entry is missing and none comes twice.

        Raises:
            SagaNotFound: There is none of that id.
        """
        cursor = WatchCursor(saga_id, from_seq)
        attempts = self._link.stream_attempts()
        while True:
            call = self._link.read(methods.WATCH_SAGA, cursor.open(), attempts)
            error: RpcError = Unavailable("the stream ended before the saga did")
            try:
                async for frame in call:
                    entries = cursor.receive(frame)
                    if entries:
                        attempts.progressed()
                    for entry in entries:
                        yield entry
                if cursor.is_over():
                    return
            except grpc.aio.AioRpcError as failed:
                error = from_call(failed)
            except RpcError as unexpected:
                error = unexpected
            finally:
                call.cancel()
            await self._link.pause(attempts, error)

    async def workers(self) -> Sequence[admin_service_pb2.WorkerStatus]:
        """Return the workers that have a session with the SEC that answers."""
        return await self._link.unary(calls.list_workers())

    async def explain(self, saga_id: str) -> admin_service_pb2.ExplainSagaResponse:
        """Return why the nodes of a saga wait, and warnings of what will go wrong with them.

        Raises:
            SagaNotFound: There is none of that id.
        """
        return await self._link.unary(calls.explain(saga_id))

    async def secs(self) -> Sequence[admin_service_pb2.SecStatus]:
        """Return the live SECs."""
        return await self._link.unary(calls.list_secs())

    # ---- steering ----------------------------------------------------------------------------------------

    async def pause(self, saga_id: str, *, actor: str = "", reason: str = "") -> saga_pb2.Saga:
        """Hold every start of an action or undo action of a saga; what is in flight goes on.

        Args:
            saga_id: Which.
            actor: Who asks, for the log; at most 256 bytes.
            reason: Why, for the log; at most 1,024 bytes.
        """
        return await self._link.unary(calls.pause(saga_id, actor, reason))

    async def resume(self, saga_id: str, *, actor: str = "", reason: str = "") -> saga_pb2.Saga:
        """End a pause; arguments as of `pause`."""
        return await self._link.unary(calls.resume(saga_id, actor, reason))

    async def step(self, saga_id: str, steps: int = 1, *, actor: str = "", reason: str = "") -> saga_pb2.Saga:
        """Let a number of starts pass the gate of a saga that is paused or has breakpoints. Never repeated by itself.

        Args:
            saga_id: Which.
            steps: How many, from 1 to 10,000; they add to those that are left.
            actor: As of `pause`.
            reason: As of `pause`.

        Raises:
            NotAllowedNow: Nothing holds the saga.
        """
        return await self._link.unary(calls.step(saga_id, steps, actor, reason))

    async def set_breakpoints(
        self,
        saga_id: str,
        breakpoints: Sequence[log_pb2.Breakpoint | str],
        *,
        actor: str = "",
        reason: str = "",
    ) -> saga_pb2.Saga:
        """Replace a saga's breakpoints: where its gate holds every start until a step lets it pass.

        Args:
            saga_id: Which.
            breakpoints: All of them, from here on; at most 100. A name is a node on both sides, a subsaga with every
                node in it, or "*" for every node.
            actor: As of `pause`.
            reason: As of `pause`.

        Raises:
            NotFound: The saga has no such node.
        """
        return await self._link.unary(calls.set_breakpoints(saga_id, breakpoints, actor, reason))

    async def unwind(self, saga_id: str, *, actor: str = "", reason: str = "") -> saga_pb2.Saga:
        """Ask a saga to undo what it has done; nodes in flight are waited for. Arguments as of `pause`."""
        return await self._link.unary(calls.unwind(saga_id, actor, reason))

    async def batch_control(
        self,
        control: saga_service_pb2.BatchControl.ValueType,
        *,
        actor: str = "",
        reason: str = "",
        **which: Unpack[SagaFilterOptions],
    ) -> AsyncGenerator[saga_service_pb2.BatchControlSagasResponse, None]:
        """Pause, resume or unwind every unfinished saga that a filter selects, page by page; safe to repeat.

        Args:
            control: What to do.
            actor: As of `pause`.
            reason: As of `pause`.
            which: See `SagaFilterOptions`; something must be given.

        Yields:
            For each page, which sagas obeyed, and which refused with what reason.
        """
        selected = saga_filter(which)
        token, is_more = "", True
        while is_more:
            page = await self._link.unary(calls.control_page(selected, control, actor, reason, token))
            yield page
            token = page.next_page_token
            is_more = bool(token)

    async def signal(self, saga_id: str, name: str, value: object = None, *, request_id: str = "") -> saga_pb2.Saga:
        """Send a signal to a saga. It is kept if the node for it does not wait yet; each signal is for one node.

        Args:
            saga_id: Which.
            name: Of the signal.
            value: Its payload: any value that can be one. It becomes the node's output.
            request_id: The same one counts once. Empty: a new one.

        Raises:
            NotFound: No node of the saga waits for that signal.
            NotAllowedNow: As many signals of that name have arrived as there are nodes for them.
        """
        return await self._link.unary(calls.signal(saga_id, name, encode(value), request_id))

    async def resolve(
        self,
        saga_id: str,
        node: str,
        resolution: log_pb2.Resolution.ValueType,
        *,
        actor: str,
        reason: str,
        output: payload_pb2.Payload | None = None,
        expected_log_length: int | None = None,
    ) -> saga_pb2.Saga:
        """Decide about a node that is held, in doubt, or whose undo failed. Never repeated by itself.

        Args:
            saga_id: Which saga.
            node: Which node, with the subsagas it is in: "server/pick".
            resolution: The decision: `log_pb2.RESOLUTION_RETRY`, `RESOLUTION_MARK_UNDONE`, ….
            actor: Who decides, for the log.
            reason: Why, for the log.
            output: The node's output, for `RESOLUTION_SUPPLY_OUTPUT` alone.
            expected_log_length: `Saga.log_length` of what the decision rests on; refused if the saga has gone on since.

        Raises:
            NotAllowedNow: The node's status does not allow that decision, or the saga has gone on (`SAGA_CHANGED`).
        """
        return await self._link.unary(
            calls.resolve(saga_id, node, resolution, output, actor, reason, expected_log_length)
        )

    async def inject_fault(
        self,
        saga_id: str,
        node: str,
        fault: log_pb2.FaultKind.ValueType,
        *,
        times: int = 1,
        actor: str = "",
        reason: str = "",
    ) -> saga_pb2.Saga:
        """Make later attempts of a node go wrong, for tests; only where the server allows it. Never repeated by itself.

        Args:
            saga_id: Which saga.
            node: Which node.
            fault: What happens: `log_pb2.FAULT_KIND_ACTION_ERROR`, `FAULT_KIND_REPEAT`, ….
            times: How often, from 1 to 100.
            actor: As of `pause`.
            reason: As of `pause`.
        """
        return await self._link.unary(calls.inject_fault(saga_id, node, fault, times, actor, reason))

    async def quarantine(self, saga_id: str, *, actor: str, reason: str) -> saga_pb2.Saga:
        """Set a saga aside: nothing of it starts until it is released, and results are still logged."""
        return await self._link.unary(calls.quarantine(saga_id, actor, reason))

    async def release(self, saga_id: str, *, actor: str, reason: str) -> saga_pb2.Saga:
        """Take a saga back into service that was set aside; `NotAllowedNow` if its log can't be run."""
        return await self._link.unary(calls.release(saga_id, actor, reason))

    async def hand_off(self, saga_id: str, *, to_sec_id: str = "") -> admin_service_pb2.HandOffResponse:
        """Make another SEC the owner of a saga. Never repeated by itself.

        Args:
            saga_id: Which saga, whoever owns it.
            to_sec_id: Name of the SEC to take it. Empty: the one that placement prefers.

        Returns:
            The new owner, and the epoch of its ownership.

        Raises:
            SagaNotFound: There is none of that id.
            NotFound: There is no live SEC of that name.
            NotAllowedNow: It has ended, or there is no other SEC.
        """
        return await self._link.unary(calls.hand_off(saga_id, to_sec_id))

    async def drain(self, sec_id: str = "", *, within_s: float = DRAIN_DEFAULT_S) -> None:
        """Make a SEC hand off everything and stop. Never repeated by itself.

        Args:
            sec_id: Its name. Empty: the SEC that answers, which of several addresses may be any.
            within_s: How long it may take, in seconds.

        Raises:
            NotFound: There is no live SEC of that name.
        """
        await self._link.unary(calls.drain(sec_id, within_s))
