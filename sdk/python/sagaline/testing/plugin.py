"""The pytest plugin: the fixture `sagaline_sec`. It is there wherever `sagaline` is installed, and loads nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from sagaline.actions import Action
    from sagaline.testing.sec import InProcessSec
    from sagaline.testing.worlds import Snapshot


class SecMaker(Protocol):
    """What the fixture `sagaline_sec` is: called with actions, it returns an `InProcessSec`."""

    def __call__(
        self,
        actions: Iterable[Action[Any, Any]],
        *,
        snapshot: Snapshot | None = None,
        seed: int = 0,
        slots: int = 100,
        attempts_max: int = 1000,
    ) -> InProcessSec:
        """Make a SEC; the arguments are those of `InProcessSec`."""
        ...


@pytest.fixture
def sagaline_sec() -> Iterator[SecMaker]:
    """Make SECs in this process, on virtual time; they end with the test."""
    from sagaline.testing.sec import InProcessSec  # noqa: PLC0415 - a session that does not ask for it loads nothing

    with ExitStack() as stack:

        def make(actions: Iterable[Action[Any, Any]], **options: Any) -> InProcessSec:
            return stack.enter_context(InProcessSec(actions, **options))

        yield make
