"""What the dispatch side tells the owner of sagas."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Protocol

from sagaline_server.core.decide import Lost, Rejected, Result, ResultFate
from sagaline_server.core.entries import Kind
from sagaline_server.core.values import Payload


class NotTaken(enum.Enum):
    """Why a result can't be taken here and now."""

    NOT_FOUND = "not found"
    """No such saga is unfinished."""
    MOVED = "moved"
    """Another SEC owns the saga; `SagaInputs.owner_of` tells which, if known."""
    RETRY = "retry"
    """This SEC is starting or has lost its store; send it again later."""


OnFate = Callable[[ResultFate | NotTaken], None]
"""Called once: when the fate of a result is durable, or when it turns out that it can't be taken here."""


class SagaInputs(Protocol):
    """Where dispatch delivers what workers say. None of these block; each is decided in a later turn."""

    @property
    def is_serving(self) -> bool:
        """True while this SEC has its store, and knows of every saga that it owns."""
        ...

    def result(self, saga_id: str, given: Result, on_fate: OnFate) -> None:
        """Take a result; `on_fate` is called once, now or later."""
        ...

    def look_up(self, saga_id: str, on_fate: OnFate) -> None:
        """Find out about a saga that does not run here; `on_fate` is called once: NOT_FOUND only if it is over."""
        ...

    def owner_of(self, saga_id: str) -> tuple[str, str] | None:
        """Return name and address of the SEC that a saga moved to; None when that is not known."""
        ...

    def ended(self, saga_id: str, given: Rejected | Lost) -> None:
        """Take the end of an attempt without a result. Of an unknown saga: ignored."""
        ...

    def progressed(self, saga_id: str, node: str, kind: Kind, attempt: int, details: Payload | None) -> None:
        """Take progress of an attempt; without details it is alive, no more. Of an unknown attempt: ignored."""
        ...

    def offer(self, saga_id: str, node: int, kind: Kind, worker_id: str) -> bool:
        """Offer a reserved slot to a node that waited for one. False: the saga is gone; the slot is free again."""
        ...

    def is_free(self, saga_id: str, node: int) -> bool:
        """True when no limit holds an action that waits: it is needed to learn what is to be undone, or by nobody."""
        ...

    def is_live(self, saga_id: str) -> bool:
        """True while this SEC runs the saga."""
        ...
