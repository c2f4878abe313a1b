"""Which transactions a barrier has begun, and which failures it has recorded in them.

An action's failure is raised in the middle of its transaction and has to be committed all the same. So a barrier works
only in transactions whose end it sees: those of `barrier.transaction()`.
"""

from __future__ import annotations

from sagaline.errors import BarrierMisuse, Failed


class Ledger:
    """One transaction under way."""

    __slots__ = ("recorded",)

    def __init__(self) -> None:
        self.recorded: Failed | None = None
        """The failure that was recorded in it, which does not roll it back."""

    def commits(self, error: Failed) -> bool:
        """Whether an exception that leaves the transaction is the recorded failure."""
        return error is self.recorded


class Transactions:
    """The transactions under way of one barrier, by the connection or session they are on."""

    def __init__(self) -> None:
        self._open: dict[int, Ledger] = {}  # by identity: not everything that connects can be hashed

    def enter(self, subject: object) -> Ledger:
        """Note that a transaction has begun.

        Raises:
            BarrierMisuse: One is under way there already.
        """
        if id(subject) in self._open:
            raise BarrierMisuse("a transaction of this barrier is under way on this connection: pass it on, don't nest")
        ledger = self._open[id(subject)] = Ledger()
        return ledger

    def leave(self, subject: object) -> None:
        """Note that it is about to end."""
        del self._open[id(subject)]

    def of(self, subject: object) -> Ledger:
        """Return the ledger of the transaction that is under way there.

        Raises:
            BarrierMisuse: There is none: a failure recorded there would be rolled back by the exception that tells it.
        """
        ledger = self._open.get(id(subject))
        if ledger is None:
            raise BarrierMisuse(
                "this transaction was not begun by `barrier.transaction(…)`, which commits a recorded failure and then "
                "raises it; write `with barrier.transaction(begin) as tx:` around it, `async with` where it is awaited"
            )
        return ledger
