"""A barrier for code without `await`. `async_barrier` is the same with it; a change to one is a change to both."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, Unpack, overload

from sagaline.barrier import shapes
from sagaline.barrier.calls import call_of
from sagaline.barrier.drivers import Driver
from sagaline.barrier.records import output_bytes
from sagaline.barrier.shapes import Shape
from sagaline.barrier.statements import Reply, Statement, schema_statements
from sagaline.barrier.steps import (
    CONTENTION_TRIES,
    EXPIRE_LIMIT,
    BarrierOptions,
    Procedure,
    Undone,
    recorded_answer,
    recorded_output,
)
from sagaline.barrier.transactions import Transactions
from sagaline.context import Context, Kind
from sagaline.errors import BarrierMisuse, Failed

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
Tx = TypeVar("Tx")

Begin = Callable[[], AbstractContextManager[T]]
"""Makes a context manager that begins a transaction and gives its connection or session; at its end it commits, or
rolls back where an exception leaves it."""


class Barrier(Generic[Tx]):
    """Makes action and undo action exactly-once in effect, inside the transaction that they make their change in.

    Every saga's node has one row in a table of the same database. Whatever arrives, however often and in whatever
    order: the action's change is made at most once, its undo's too, and after an undo none of it remains.

    Args:
        driver: The database library.
        begin: Begins your transactions, for `transaction()` and `once`.
        **options: See `BarrierOptions`.
    """

    def __init__(self, driver: Driver[Tx], begin: Begin[Tx] | None, **options: Unpack[BarrierOptions]) -> None:
        self._driver = driver
        self._begin = begin
        self._procedure = Procedure(driver.dialect, options)
        self._transactions = Transactions()

    # ---- in the worker

    def once(self, function: Callable[Concatenate[Tx, Context, P], R]) -> Callable[Concatenate[Context, P], R]:
        """Decorate an action's function, or its undo action's: it runs in a transaction, and once in effect.

        It takes the connection (or session) first and the `Context` second, and must change nothing but what it
        reaches through that connection. Put `@action` above it. Where the database ends a transaction because of
        others at the same time, it runs again.

        Raises:
            BarrierMisuse: The function does not take these two, or is a coroutine.
        """
        shape = shapes.read(function, sys._getframe(1).f_locals, is_async=False)  # noqa: SLF001 - as `action` does

        @functools.wraps(function)
        def guarded(context: Context, /, *args: P.args, **kwargs: P.kwargs) -> R:
            output: R = self._contend(shape, context, args, kwargs)
            return output

        shapes.dress(guarded, shape)
        return guarded

    def _contend(self, shape: Shape, context: Context, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        for _ in range(CONTENTION_TRIES - 1):
            try:
                return self._once(shape, context, args, kwargs)
            except Exception as error:
                if not self._driver.contended(error):
                    raise
        return self._once(shape, context, args, kwargs)

    def _once(self, shape: Shape, context: Context, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        with self.transaction() as tx:
            if context.kind is Kind.UNDO:
                self.undo(
                    tx,
                    context,
                    lambda tx, output: shape.call_undo(tx, context, output, args, kwargs),
                    returns=shape.output,
                )
                return None
            return self.action(
                tx, context, lambda tx: shape.function(tx, context, *args, **kwargs), returns=shape.returns
            )

    @overload
    def transaction(self) -> AbstractContextManager[Tx]: ...
    @overload
    def transaction(self, begin: Begin[T]) -> AbstractContextManager[T]: ...
    @contextmanager
    def transaction(self, begin: Begin[Any] | None = None) -> Iterator[Any]:
        """Begin a transaction of yours, for `action` and `undo`: `with barrier.transaction() as tx:`.

        It ends as your own would, but for one thing: a failure that `action` has recorded is committed, and raised
        only then. So whatever else you change in the same transaction stays as well.

        Args:
            begin: Begins it. Absent: that of the barrier.

        Raises:
            BarrierMisuse: There is no `begin`, or this connection is in such a transaction already.
        """
        begin = begin or self._begin
        if begin is None:
            raise BarrierMisuse("give the barrier, or this transaction, the function that begins transactions: `begin`")
        failed: Failed | None = None
        with begin() as begun:
            subject = self._driver.subject(begun)
            ledger = self._transactions.enter(subject)
            try:
                yield begun
            except Failed as error:
                if not ledger.commits(error):
                    raise
                failed = error
            finally:
                self._transactions.leave(subject)
        if failed is not None:
            raise failed

    @overload
    def action(self, tx: Tx, context: Context, function: Callable[[Tx], R], *, returns: type[R]) -> R: ...
    @overload
    def action(self, tx: Tx, context: Context, function: Callable[[Tx], R], *, returns: Any) -> R: ...
    def action(self, tx: Tx, context: Context, function: Callable[[Tx], Any], *, returns: Any) -> Any:
        """Run an action's change, unless it was made before; return its output, or the recorded one.

        Args:
            tx: Connection or session of a `transaction()`. The first thing done in it should be this.
            context: The action's.
            function: Makes the change, through `tx` alone. `Failed` undoes what it did so far and is recorded; every
                other exception rolls the transaction back and leaves no record.
            returns: Type of the output.

        Raises:
            Failed: It failed, now or the first time.
            Suppressed: The node was undone before; nothing ran.
            StaleToken: A later attempt has been here; nothing ran.
            InputMismatch: The node is on record with other inputs; nothing ran.
            BarrierMisuse: There is no transaction, or the context is an undo action's.
        """
        ledger = self._transactions.of(tx)
        call = call_of(context, Kind.ACTION, self._procedure.scope)
        self._driver.check(tx)
        found = self._run(tx, self._procedure.arrive(call))
        try:
            if not found.runs:
                return recorded_answer(found, returns)
            with self._driver.savepoint(tx):
                output = function(tx)
        except Failed as failed:
            ledger.recorded = failed
            if found.runs:
                self._run(tx, self._procedure.failed(call, found, failed))
            raise
        self._run(tx, self._procedure.succeeded(call, found, output_bytes(output, returns)))
        return output

    def undo(self, tx: Tx, context: Context, function: Callable[[Tx, Any], object], *, returns: Any = Any) -> Undone:
        """Reverse an action's change if it was made and is not reversed yet; either way it will not be made again.

        Args:
            tx: Connection or session of a `transaction()`. The first thing done in it should be this.
            context: The undo action's.
            function: Reverses the change, through `tx` alone. It gets the action's recorded output, which is known
                here even where the SEC never heard of it. Whatever it raises rolls the transaction back.
            returns: Type of the action's output. Absent: JSON's own types.

        Raises:
            StaleToken: A later attempt has been here; nothing ran.
            InputMismatch: The node is on record with other inputs; nothing ran.
            NotRecorded: The SEC knows that the action succeeded, and there is no such record.
            BarrierMisuse: There is no transaction, or the context is an action's.
        """
        self._transactions.of(tx)
        call = call_of(context, Kind.UNDO, self._procedure.scope)
        self._driver.check(tx)
        found = self._run(tx, self._procedure.arrive(call))
        if found.runs:
            function(tx, recorded_output(found, returns))
            self._run(tx, self._procedure.succeeded(call, found))
        return found.undone

    # ---- around it

    def create_table(self, tx: Tx) -> None:
        """Make the barrier's table if it is not there. Larger programs put `schema()` into their migrations."""
        for sql in schema_statements(self._driver.dialect, self._procedure.table):
            self._driver.execute(tx, Statement(sql, {}))

    def saga_ended(self, tx: Tx, saga_id: str) -> None:
        """Say that a saga has ended, so that the rows of its done actions go once the horizon has passed."""
        self._run(tx, self._procedure.saga_ended(saga_id))

    def expire(self, tx: Tx, before: datetime | None = None, limit: int = EXPIRE_LIMIT) -> int:
        """Remove rows whose time has passed, the oldest first; return how many.

        Args:
            tx: A connection or session; it need not be of a `transaction()`.
            before: Removes only what was to stand until then. Absent: now.
            limit: Most that are removed. Call it again while it returns so many.

        Raises:
            BarrierMisuse: `before` has not come yet.
        """
        return self._run(tx, self._procedure.expire(before, limit))

    def _run(self, tx: Tx, steps: Generator[Statement, Reply, T]) -> T:
        try:
            statement = next(steps)
            while True:
                statement = steps.send(self._driver.execute(tx, statement))
        except StopIteration as end:
            result: T = end.value
            return result
