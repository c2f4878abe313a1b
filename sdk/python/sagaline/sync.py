"""The client for programs that do not use asyncio. `Client` is `sagaline.client.Client` without the awaits."""

from __future__ import annotations

import random
import time
from collections.abc import Generator, Iterable, Sequence
from typing import Self, TypeVar, Unpack

import grpc

from sagaline.client import calls, methods
from sagaline.client.calls import DRAIN_DEFAULT_S, Call, SagaFilterOptions, saga_filter
from sagaline.client.channels import PATIENCE_DEFAULT_S, TARGET_DEFAULT, TIMEOUT_DEFAULT_S, WINDOW_DEFAULT
from sagaline.client.ends import Created, Ended, result_of
from sagaline.client.running import RunBook
from sagaline.client.sagas import Batcher, NewSaga, SagaOptions
from sagaline.client.sync_link import SyncFrames, SyncLink, error_of
from sagaline.client.waiting import Waiting
from sagaline.client.watching import WatchCursor
from sagaline.errors import RpcError, Unavailable
from sagaline.graph import Graph
from sagaline.v1 import admin_service_pb2, log_pb2, payload_pb2, saga_pb2, saga_service_pb2
from sagaline.values import encode

__all__ = ["Client", "Created", "Ended", "NewSaga", "SagaFilterOptions", "SagaOptions"]

P = TypeVar("P")
R = TypeVar("R")


class Client:
    """Creates, watches and steers sagas. Methods, arguments and errors are those of `sagaline.client.Client`.

    It may be used from several threads; each `run` and `create` has a call of its own. Its generators cancel their
    stream when they are closed or dropped.

    Args:
        target: Address of a SEC, "host:port", or of several, as of `sagaline.client.Client`.
        credentials: TLS credentials of the channel. None: no TLS.
        timeout_s: How long a call may take, its repetitions included, in seconds.
        patience_s: How long to go on trying while no SEC can be reached.
        channel: A channel to use instead of new ones; `close` closes it.
    """

    def __init__(
        self,
        target: str | Sequence[str] = TARGET_DEFAULT,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        timeout_s: float = TIMEOUT_DEFAULT_S,
        patience_s: float = PATIENCE_DEFAULT_S,
        channel: grpc.Channel | None = None,
    ) -> None:
        self._link = SyncLink(target, credentials, timeout_s, patience_s, channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection for good; calls under way in other threads are cancelled."""
        self._link.close()

    # ---- creating ----------------------------------------------------------------------------------------

    def create(self, graph: Graph[P, R], params: P, **options: Unpack[SagaOptions]) -> Created[R]:
        """Create a saga and start it. When this returns it is durable."""
        return self.create_new(NewSaga(graph, params, **options))

    def create_new(self, new: NewSaga[R]) -> Created[R]:
        """Create a saga that was prepared before."""
        return self._link.unary(calls.create(new))

    def create_many(self, news: Iterable[NewSaga[R]]) -> Sequence[Created[R]]:
        """Create many sagas with few calls, each on its own; look at the `error` of each."""
        batcher = Batcher(stream=False)
        remaining = list(news)
        for new in remaining:
            batcher.add(new)
        created: list[Created[R]] = []
        while (batch := batcher.next_batch()) is not None:
            sent = remaining[len(created) : len(created) + len(batch.specs)]
            created += self._link.unary(calls.create_batch(batch, sent))
        return created

    # ---- running -----------------------------------------------------------------------------------------

    def run(self, graph: Graph[P, R], params: P, *, wait_s: float | None = None, **options: Unpack[SagaOptions]) -> R:
        """Create a saga, wait for its end, and return its decoded result."""
        return self.run_new(NewSaga(graph, params, **options), wait_s=wait_s)

    def run_new(self, new: NewSaga[R], *, wait_s: float | None = None) -> R:
        """Run a saga that was prepared before."""
        return result_of(new, self.create_and_wait(new, wait_s=wait_s, or_needs_operator=True))

    def create_and_wait(
        self, new: NewSaga[R], *, wait_s: float | None = None, or_needs_operator: bool = False
    ) -> saga_pb2.Saga:
        """Create a saga and wait for its end, in one call unless it takes long."""
        waiting = Waiting(new.saga_id, time.monotonic(), wait_s, or_needs_operator)
        return self._wait(waiting, waiting.first_call(new, time.monotonic()))

    def result(self, created: Created[R] | NewSaga[R], *, wait_s: float | None = None) -> R:
        """Wait for the end of a saga that was created, and return its decoded result."""
        new = created.new if isinstance(created, Created) else created
        return result_of(new, self.wait(new.saga_id, wait_s=wait_s, or_needs_operator=True))

    def run_many(self, news: Iterable[NewSaga[R]], *, window: int = WINDOW_DEFAULT) -> Generator[Ended[R], None, None]:
        """Create many sagas over one stream and yield each as it ends, in any order, exactly once."""
        book: RunBook[R] = RunBook(window)
        source = iter(news)
        attempts = self._link.stream_attempts()
        book.fill(source)
        while not book.is_idle():
            frames = SyncFrames(book)
            call = self._link.converse(methods.RUN_SAGAS, frames.stream(), attempts)
            error: RpcError = Unavailable("the stream ended before the sagas did")
            try:
                for frame in call:
                    with frames.lock:
                        progress = book.progress
                        ended = book.receive(frame)
                        book.fill(source)
                        frames.wake()
                    if book.progress > progress:
                        attempts.progressed()
                    yield from ended
                    if book.is_idle():
                        return
                    if book.trouble is not None:
                        error = book.trouble
                        break
            except grpc.RpcError as failed:
                error = error_of(failed)
            finally:
                frames.close()
                call.cancel()
            self._link.pause(attempts, error)
            book.restart()

    # ---- reading -----------------------------------------------------------------------------------------

    def get(self, saga_id: str, *, view: saga_pb2.SagaView.ValueType = saga_pb2.SAGA_VIEW_FULL) -> saga_pb2.Saga:
        """Return a saga as it stands."""
        return self._link.unary(calls.get(saga_id, view))

    def list(
        self,
        *,
        view: saga_pb2.SagaView.ValueType = saga_pb2.SAGA_VIEW_BASIC,
        **which: Unpack[SagaFilterOptions],
    ) -> Generator[saga_pb2.Saga, None, None]:
        """Yield sagas in the order of their ids, page by page."""
        selected = saga_filter(which)
        token = ""
        while True:
            page = self._link.unary(calls.list_page(selected, view, token))
            yield from page.sagas
            token = page.next_page_token
            if not token:
                return

    def count(self, **which: Unpack[SagaFilterOptions]) -> dict[saga_pb2.SagaState.ValueType, int]:
        """Return how many sagas there are in each state that occurs."""
        return self._link.unary(calls.count(saga_filter(which)))

    def record(self, saga_id: str) -> log_pb2.SagaRecord:
        """Return what a saga is, as it was written at its creation: with the log, all there is of it."""
        return self._link.unary(calls.record(saga_id))

    def log(self, saga_id: str, *, from_seq: int = 1) -> Generator[log_pb2.LogEntry, None, None]:
        """Yield a saga's log as it stands, from an entry on."""
        while from_seq:
            page = self._link.unary(calls.log_page(saga_id, from_seq))
            yield from page.entries
            from_seq = page.next_seq

    def watch(self, saga_id: str, *, from_seq: int = 1) -> Generator[log_pb2.LogEntry, None, None]:
        """Yield a saga's log from an entry on, then every new entry, until the saga ends; each exactly once."""
        cursor = WatchCursor(saga_id, from_seq)
        attempts = self._link.stream_attempts()
        while True:
            call = self._link.read(methods.WATCH_SAGA, cursor.open(), attempts)
            error: RpcError = Unavailable("the stream ended before the saga did")
            try:
                for frame in call:
                    entries = cursor.receive(frame)
                    if entries:
                        attempts.progressed()
                    yield from entries
                if cursor.is_over():
                    return
            except grpc.RpcError as failed:
                error = error_of(failed)
            except RpcError as unexpected:
                error = unexpected
            finally:
                call.cancel()
            self._link.pause(attempts, error)

    def wait(self, saga_id: str, *, wait_s: float | None = None, or_needs_operator: bool = False) -> saga_pb2.Saga:
        """Wait until a saga has ended and return it, in the BASIC view."""
        waiting = Waiting(saga_id, time.monotonic(), wait_s, or_needs_operator)
        return self._wait(waiting, waiting.next_call(time.monotonic()))

    def _wait(self, waiting: Waiting, call: Call[saga_pb2.Saga]) -> saga_pb2.Saga:
        while True:
            asked_s = time.monotonic()
            saga = self._link.unary(call)
            if waiting.is_over(saga, time.monotonic()):
                return saga
            self._link.sleep(waiting.pause_s(asked_s, time.monotonic(), random.random()))
            call = waiting.next_call(time.monotonic())

    def workers(self) -> Sequence[admin_service_pb2.WorkerStatus]:
        """Return the workers that have a session with the SEC that answers."""
        return self._link.unary(calls.list_workers())

    def explain(self, saga_id: str) -> admin_service_pb2.ExplainSagaResponse:
        """Return why the nodes of a saga wait, and warnings of what will go wrong with them."""
        return self._link.unary(calls.explain(saga_id))

    def secs(self) -> Sequence[admin_service_pb2.SecStatus]:
        """Return the live SECs."""
        return self._link.unary(calls.list_secs())

    # ---- steering ----------------------------------------------------------------------------------------

    def pause(self, saga_id: str, *, actor: str = "", reason: str = "") -> saga_pb2.Saga:
        """Hold every start of an action or undo action of a saga; what is in flight goes on."""
        return self._link.unary(calls.pause(saga_id, actor, reason))

    def resume(self, saga_id: str, *, actor: str = "", reason: str = "") -> saga_pb2.Saga:
        """End a pause."""
        return self._link.unary(calls.resume(saga_id, actor, reason))

    def step(self, saga_id: str, steps: int = 1, *, actor: str = "", reason: str = "") -> saga_pb2.Saga:
        """Let a number of starts pass the gate of a saga that is held. Never repeated by itself."""
        return self._link.unary(calls.step(saga_id, steps, actor, reason))

    def set_breakpoints(
        self,
        saga_id: str,
        breakpoints: Sequence[log_pb2.Breakpoint | str],
        *,
        actor: str = "",
        reason: str = "",
    ) -> saga_pb2.Saga:
        """Replace a saga's breakpoints: where its gate holds every start until a step lets it pass."""
        return self._link.unary(calls.set_breakpoints(saga_id, breakpoints, actor, reason))

    def unwind(self, saga_id: str, *, actor: str = "", reason: str = "") -> saga_pb2.Saga:
        """Ask a saga to undo what it has done; nodes in flight are waited for."""
        return self._link.unary(calls.unwind(saga_id, actor, reason))

    def batch_control(
        self,
        control: saga_service_pb2.BatchControl.ValueType,
        *,
        actor: str = "",
        reason: str = "",
        **which: Unpack[SagaFilterOptions],
    ) -> Generator[saga_service_pb2.BatchControlSagasResponse, None, None]:
        """Pause, resume or unwind every unfinished saga that a filter selects, page by page; safe to repeat."""
        selected = saga_filter(which)
        token, is_more = "", True
        while is_more:
            page = self._link.unary(calls.control_page(selected, control, actor, reason, token))
            yield page
            token = page.next_page_token
            is_more = bool(token)

    def signal(self, saga_id: str, name: str, value: object = None, *, request_id: str = "") -> saga_pb2.Saga:
        """Send a signal to a saga. It is kept if the node for it does not wait yet; each signal is for one node."""
        return self._link.unary(calls.signal(saga_id, name, encode(value), request_id))

    def resolve(
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
        """Decide about a node that is held, in doubt, or whose undo failed. Never repeated by itself."""
        return self._link.unary(calls.resolve(saga_id, node, resolution, output, actor, reason, expected_log_length))

    def inject_fault(
        self,
        saga_id: str,
        node: str,
        fault: log_pb2.FaultKind.ValueType,
        *,
        times: int = 1,
        actor: str = "",
        reason: str = "",
    ) -> saga_pb2.Saga:
        """Make later attempts of a node go wrong, for tests. Never repeated by itself."""
        return self._link.unary(calls.inject_fault(saga_id, node, fault, times, actor, reason))

    def quarantine(self, saga_id: str, *, actor: str, reason: str) -> saga_pb2.Saga:
        """Set a saga aside: nothing of it starts until it is released, and results are still logged."""
        return self._link.unary(calls.quarantine(saga_id, actor, reason))

    def release(self, saga_id: str, *, actor: str, reason: str) -> saga_pb2.Saga:
        """Take a saga back into service that was set aside."""
        return self._link.unary(calls.release(saga_id, actor, reason))

    def set_scope_limit(
        self, scope: str, *, max_running: int | None = None, max_failing: int | None = None
    ) -> admin_service_pb2.Limit:
        """Bound the sagas of a scope, as `sagaline.Client.set_scope_limit`."""
        return self._link.unary(calls.set_scope_limit(scope, max_running, max_failing))

    def set_action_limit(
        self, action: str, *, max_in_flight: int | None = None, starts_per_second: float | None = None
    ) -> admin_service_pb2.Limit:
        """Bound the attempts of an action, as `sagaline.Client.set_action_limit`."""
        return self._link.unary(calls.set_action_limit(action, max_in_flight, starts_per_second))

    def limits(self) -> Sequence[admin_service_pb2.Limit]:
        """List the limits on scopes and actions."""
        return self._link.unary(calls.list_limits())

    def set_action_breakpoint(
        self,
        action: str,
        *,
        kind: saga_pb2.InvocationKind.ValueType = saga_pb2.INVOCATION_KIND_UNSPECIFIED,
        actor: str,
        reason: str,
    ) -> admin_service_pb2.ActionBreakpoint:
        """Hold every start of an action in every saga, as `sagaline.Client.set_action_breakpoint`."""
        return self._link.unary(calls.set_action_breakpoint(action, kind, actor, reason))

    def clear_action_breakpoint(self, action: str) -> None:
        """Clear the breakpoint on an action, as `sagaline.Client.clear_action_breakpoint`."""
        self._link.unary(calls.clear_action_breakpoint(action))

    def action_breakpoints(self) -> Sequence[admin_service_pb2.ActionBreakpoint]:
        """List the breakpoints on actions."""
        return self._link.unary(calls.list_action_breakpoints())

    def hand_off(self, saga_id: str, *, to_sec_id: str = "") -> admin_service_pb2.HandOffResponse:
        """Make another SEC the owner of a saga. Never repeated by itself."""
        return self._link.unary(calls.hand_off(saga_id, to_sec_id))

    def drain(self, sec_id: str = "", *, within_s: float = DRAIN_DEFAULT_S) -> None:
        """Make a SEC hand off everything and stop. Never repeated by itself."""
        self._link.unary(calls.drain(sec_id, within_s))
