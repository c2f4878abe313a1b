"""Planted bugs in what is kept of finished sagas."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sagaline_server.ownership import retention
from sagaline_server.ownership.retention import Retention
from sagaline_server.ports.store import ListQuery
from tests.simulation.mutants.planting import Patch, plant


@plant("removed-too-soon", "removal")
def _removed_too_soon() -> Sequence[Patch]:
    """A finished saga is removed before its time is over."""
    return [(Retention, "_is_past", staticmethod(lambda seconds, ended, now: now - ended >= seconds / 2 > 0))]


@plant("deleted-before-archived", "archive")
def _deleted_before_archived() -> Sequence[Patch]:
    """What is to go into the archive is deleted although that took nothing."""

    async def archived(self: Retention, ended: Iterable[str], _: object) -> list[str]:
        return list(ended)

    return [(Retention, "_archived", archived)]


@plant("never-removed", "removal")
def _never_removed() -> Sequence[Patch]:
    """Sweeps look at no saga."""

    def nothing(*_: object, **__: object) -> ListQuery:
        return ListQuery("~", 1)

    return [(retention, "ListQuery", nothing)]
