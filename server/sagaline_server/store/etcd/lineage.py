"""What this process knows of the cluster that it talks to, so that no other one, and no older state of it, is believed.

etcd says with each answer which cluster it is and at which revision. A cluster
that was restored from a snapshot may have the id of the one it was taken from,
but its revision went back. That is told by answers that went through the log
of the cluster (whatever puts, whether it does or not): in one history they
never show a revision below one that was seen before they were asked for. Other
answers prove nothing: a member may be behind, and a paused one may answer from
before.

A revision that went back is never forgotten, because the restored cluster soon
reaches it again, with another history. What a process knew ends with it; see
`StoreRolledBack` for what that leaves undetected, and what an operator does.
"""

from __future__ import annotations

import structlog

from sagaline_server.ports.store import StoreRolledBack

log = structlog.get_logger(__name__)


class Lineage:
    """The history that this process has seen. It outlives connections and incarnations."""

    def __init__(self) -> None:
        self.cluster_id = 0
        """0: no answer has come yet."""
        self.revision = 0
        """Highest revision seen."""
        self._rolled_back = ""

    @property
    def is_broken(self) -> bool:
        """True once the store went back."""
        return bool(self._rolled_back)

    def demand(self) -> None:
        """Refuse to go on with a store that went back.

        Raises:
            StoreRolledBack: It did.
        """
        if self._rolled_back:
            raise StoreRolledBack(self._rolled_back)

    def is_of(self, cluster_id: int) -> bool:
        """Tell whether an answer is of the cluster that was met first."""
        if self.cluster_id == 0:
            self.cluster_id = cluster_id
        return cluster_id == self.cluster_id

    def saw(self, revision: int, at_least: int, endpoint: str) -> None:
        """Take note of an answer's revision.

        Args:
            revision: The answer's.
            at_least: What it must not be below.
            endpoint: Whose answer it is.

        Raises:
            StoreRolledBack: It is below.
        """
        if revision < at_least and not self._rolled_back:
            self._rolled_back = (
                f"etcd at {endpoint} is at revision {revision}, and this process has seen {at_least} of the same "
                f"cluster: it was restored from a snapshot, or lost data. This SEC dispatches and writes nothing any "
                f"more. Stop every SEC, see what the store lacks, and start them again: that takes it as it is"
            )
            log.error("store_rolled_back", endpoint=endpoint, revision=revision, seen=at_least)
        self.demand()
        self.revision = max(self.revision, revision)
