"""What the api asks of the runtime, as a contract: `sagaline_server.runtime.runtime.Runtime` keeps it.

Every method may raise `NotServing`; what else it raises is said with it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

from sagaline.v1 import admin_service_pb2, saga_pb2, saga_service_pb2, worker_service_pb2
from sagaline_server.core.decide import Order
from sagaline_server.core.entries import SagaState, Stamped
from sagaline_server.ports.cluster import StoredCondition
from sagaline_server.ports.store import ListQuery
from sagaline_server.runtime.requests import CreateFate, Creation, RuntimeRefusal

OnCreated = Callable[[CreateFate | RuntimeRefusal], None]
OnEnd = Callable[[saga_service_pb2.SagaEnd], None]


class SagaRuntime(Protocol):
    """Sagas as the api needs them."""

    async def create(self, creations: Sequence[Creation]) -> Sequence[CreateFate | RuntimeRefusal]:
        """Create sagas, each on its own; one fate for each, in order, once all that are created are durable."""
        ...

    def create_one(self, creation: Creation, on_created: OnCreated) -> None:
        """Create a saga without waiting; `on_created` is called once, when its fate is durable.

        It may be called before this returns, and must not raise.

        Raises:
            Overloaded: Too many creations are under way.
        """
        ...

    async def get(self, saga_id: str, *, full: bool) -> saga_pb2.Saga:
        """Return a saga as it stands.

        Raises:
            SagaNotFound: There is none.
        """
        ...

    async def request(self, saga_id: str, given: Order) -> saga_pb2.Saga:
        """Give an order to a saga; returns its BASIC view once the order is durable.

        Raises:
            SagaNotFound: There is no such saga.
            RequestRefused: The order makes no sense in its state.
        """
        ...

    async def read_log(self, saga_id: str, from_seq: int, limit: int) -> tuple[list[Stamped], int]:
        """Return entries from a number on, and the number to go on with; 0 at the end.

        Raises:
            SagaNotFound: There is no such saga.
            RequestRefused: Its log has been compacted away, or can't be read.
        """
        ...

    async def record(self, saga_id: str) -> bytes:
        """Return the encoded SagaRecord of a saga.

        Raises:
            SagaNotFound: There is no such saga.
        """
        ...

    def watch(self, saga_id: str, from_seq: int) -> AsyncIterator[tuple[list[Stamped], SagaState]]:
        """Yield entries from a number on, then new ones as they become durable, until the saga has ended.

        Raises:
            SagaNotFound: There is no such saga.
            RequestRefused: As of `read_log`.
        """
        ...

    async def wait(self, saga_id: str, *, timeout: float, or_needs_operator: bool) -> saga_pb2.Saga:
        """Return the BASIC view of a saga once it has ended, or needs an operator, or after `timeout` seconds.

        Raises:
            SagaNotFound: There is no such saga.
        """
        ...

    async def follow(
        self, saga_ids: Sequence[str], on_end: OnEnd, *, or_needs_operator: bool = False
    ) -> Callable[[], None]:
        """Call `on_end` once for each saga when it has ended, or with an error; returns a function that stops that.

        With `or_needs_operator` it has ended for this call when it needs an operator.

        It may be called before this returns, and must not raise.
        """
        ...

    def follow_live(self, saga_id: str, on_end: OnEnd, *, or_needs_operator: bool = False) -> bool:
        """Call `on_end` once when a saga that this SEC runs has ended; False when it does not run it."""
        ...

    async def list_page(self, query: ListQuery, *, full: bool) -> list[saga_pb2.Saga]:
        """Return the views of the sagas that a query selects, in the order of their ids.

        None at all means that the list is at its end; fewer than the query's limit does not.
        """
        ...

    async def explain(self, saga_id: str) -> admin_service_pb2.ExplainSagaResponse:
        """Say why the nodes of a saga wait; nothing for one that has ended.

        Raises:
            SagaNotFound: There is no such saga.
        """
        ...

    def workers(self) -> list[admin_service_pb2.WorkerStatus]:
        """Return the worker sessions of this SEC."""
        ...

    def secs(self) -> list[admin_service_pb2.SecStatus]:
        """Return the live SECs."""
        ...

    async def set_condition(self, subject: str, value: bytes) -> None:
        """Set the condition of a subject for the whole cluster; an empty one lifts it."""
        ...

    async def conditions(self) -> Sequence[StoredCondition]:
        """Return all limits, and all breakpoints on actions."""
        ...

    async def hand_off(self, saga_id: str, to_sec_id: str) -> tuple[worker_service_pb2.Sec, int]:
        """Make another SEC the owner of a saga; returns that SEC and the new epoch.

        Args:
            saga_id: Saga, whoever owns it.
            to_sec_id: Name of the SEC to take it. Empty: the one that placement prefers.

        Raises:
            SagaNotFound: There is no such saga.
            RequestRefused: NO_OTHER_SEC, SEC_NOT_FOUND or SAGA_FINISHED.
        """
        ...

    async def drain(self, sec_id: str, timeout: float) -> None:
        """Make a SEC hand off everything and stop; returns when it has, or is about to if it is this one.

        Args:
            sec_id: Name of the SEC. Empty: this one.
            timeout: Seconds that it may take.

        Raises:
            RequestRefused: SEC_NOT_FOUND.
        """
        ...
