"""What workers are told of their results."""

from __future__ import annotations

from sagaline_server.core.decide import Decision
from sagaline_server.ports.sagas import NotTaken, OnFate


def answer_result(on_fate: OnFate, decision: Decision | None) -> None:
    """Say what became of a result; None: its saga runs here no longer."""
    on_fate(NotTaken.MOVED if decision is None or decision.fate is None else decision.fate)


def retry_later(saga_id: str, on_fate: OnFate) -> None:  # noqa: ARG001 - the signature of `on_stray`
    """Answer the result of a saga that does not run here, where nobody looks it up."""
    on_fate(NotTaken.RETRY)
