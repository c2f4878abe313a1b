"""Which SECs there are, as they tell it themselves, and to which of them this worker is to hold streams."""

from __future__ import annotations

from sagaline.v1 import worker_service_pb2 as pb

UNKNOWN = -1


class Membership:
    """The newest set that was taken. Sets that are not newer are passed over: they come from every SEC, at any time."""

    def __init__(self) -> None:
        self.addresses: dict[str, str] = {}
        """The SECs to hold streams to, with where they can be dialled."""
        self._revision = UNKNOWN

    def forget_revision(self) -> None:
        """No SEC can be heard: whatever the next one says is taken, for revisions may begin anew."""
        self._revision = UNKNOWN

    def take(self, secs: pb.SecSet) -> bool:
        """True if this set is newer. One without SECs says nothing: somebody sent it."""
        if secs.revision <= self._revision or not secs.secs:
            return False
        self._revision = secs.revision
        dialable = {sec.sec_id: sec.address for sec in secs.secs if sec.sec_id and sec.address}
        assigned = {sec: address for sec, address in dialable.items() if sec in secs.assigned_sec_ids}
        self.addresses = assigned or dialable
        return True

    def address_of(self, sec: str) -> str | None:
        """Where a SEC of the set can be dialled."""
        return self.addresses.get(sec)
