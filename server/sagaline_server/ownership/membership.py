"""The SECs that live, as this one knows them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sagaline_server.ports.store import SecRecord


class Membership:
    """The live SECs, with a revision that grows whenever they change."""

    def __init__(self, me: str) -> None:
        """Begin with nobody known.

        Args:
            me: Name of this SEC.
        """
        self.me = me
        self.revision = 0
        self.secs: dict[str, SecRecord] = {}
        self.on_change: list[Callable[[], None]] = []

    def update(self, secs: Sequence[SecRecord], revision: int) -> bool:
        """Take what the store says; True when an incarnation that was known is gone.

        Args:
            secs: All live SECs.
            revision: Store revision, so that every SEC counts alike.
        """
        new = {sec.sec_id: sec for sec in secs}
        if new == self.secs:
            return False
        gone = any(
            sec_id not in new or not set(old.incarnations) <= set(new[sec_id].incarnations)
            for sec_id, old in self.secs.items()
        )
        self.secs = new
        self.revision = max(revision, self.revision + 1)
        for notify in self.on_change:
            notify()
        return gone

    def is_alive(self, sec_id: str, incarnation: int) -> bool:
        """True when that incarnation is known to live."""
        sec = self.secs.get(sec_id)
        return sec is not None and incarnation in sec.incarnations

    def candidates(self) -> list[str]:
        """Return the names of SECs that may be given sagas."""
        return [sec.sec_id for sec in self.secs.values() if not sec.draining]

    def others(self) -> list[SecRecord]:
        """Return the SECs, but this one, that may be given sagas."""
        return [sec for sec in self.secs.values() if not sec.draining and sec.sec_id != self.me]

    def address_of(self, sec_id: str) -> str:
        """Return where a SEC can be dialled; empty when it is not known."""
        sec = self.secs.get(sec_id)
        return "" if sec is None else sec.address
