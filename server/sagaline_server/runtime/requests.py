"""What the api asks of the runtime, and what it may hear."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from sagaline_server.core.graph import SagaSpec
from sagaline_server.core.topology import Topology
from sagaline_server.ports.store import StoreError


class Creation(msgspec.Struct, frozen=True, gc=False):
    """A saga to create; its spec and graph have been checked."""

    spec: SagaSpec
    topology: Topology
    digest: bytes
    """Digest of the whole content."""
    record: bytes
    """Encoded SagaRecord with the same digest."""
    create_time: float
    """Seconds since 1970, as in the record."""


class CreateFate(enum.Enum):
    """What became of a creation."""

    CREATED = "created"
    EXISTED = "existed"
    """A saga of this id and content was there."""
    CONFLICT = "conflict"
    """A saga of this id and other content was there; nothing was written."""


class RuntimeRefusal(Exception):
    """A request that can't be served as things stand. But for NotServing, nothing was written.

    ├── SagaNotFound         there is no such saga
    ├── RequestRefused       it makes no sense in the saga's state; has a code of its own
    ├── Overloaded           too much is under way; try again after `retry_delay`
    └── NotServing           this SEC can't answer now; try again
    """

    code = "REFUSED"


class SagaNotFound(RuntimeRefusal):
    """There is no such saga."""

    code = "SAGA_NOT_FOUND"


class RequestRefused(RuntimeRefusal):
    """The request makes no sense in the state of the saga; the message says why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Overloaded(RuntimeRefusal):
    """Too much is under way. Safe to repeat after `retry_delay` seconds."""

    code = "OVERLOADED"
    retry_delay = 0.5


class NotServing(RuntimeRefusal):
    """This SEC is starting, stopping, or without its store. Safe to repeat.

    What was asked for may be durable already, an order that waits for its owner among it, and may yet take effect.
    """

    code = "NOT_SERVING"


@contextmanager
def reaching_store() -> Iterator[None]:
    """Serve what needs the store, within the block.

    Raises:
        NotServing: The store can't be reached.
    """
    try:
        yield
    except StoreError as error:
        raise NotServing("the store can't be reached; try again") from error
