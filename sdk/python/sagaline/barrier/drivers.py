"""What a barrier needs of a database library, with and without `await`. One small class a library implements it."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Protocol, TypeVar

from sagaline.barrier.statements import Dialect, Reply, Statement

Tx_contra = TypeVar("Tx_contra", contravariant=True)


class CommonDriver(Protocol):
    """What is the same with and without `await`."""

    @property
    def dialect(self) -> Dialect:
        """The database's."""
        ...

    def subject(self, begun: object) -> object:
        """Return what `action` and `undo` are called with, of what a context manager gives that begins a transaction:
        the connection or session, where it gives a transaction.
        """
        ...

    def contended(self, error: BaseException) -> bool:
        """Whether the database ended a transaction because of others at the same time: the same again may succeed."""
        ...


class Driver(CommonDriver, Protocol[Tx_contra]):
    """A library without `await`."""

    def check(self, tx: Tx_contra) -> None:
        """Refuse a connection or session on which the next statement would not be part of a transaction.

        Raises:
            BarrierMisuse: It is one.
        """
        ...

    def execute(self, tx: Tx_contra, statement: Statement) -> Reply:
        """Run a statement."""
        ...

    def savepoint(self, tx: Tx_contra) -> AbstractContextManager[object]:
        """Let an exception undo what is done inside, and nothing else of the transaction."""
        ...


class AsyncDriver(CommonDriver, Protocol[Tx_contra]):
    """A library with `await`."""

    async def check(self, tx: Tx_contra) -> None:
        """As `Driver.check`."""
        ...

    async def execute(self, tx: Tx_contra, statement: Statement) -> Reply:
        """As `Driver.execute`."""
        ...

    def savepoint(self, tx: Tx_contra) -> AbstractAsyncContextManager[object]:
        """As `Driver.savepoint`."""
        ...
