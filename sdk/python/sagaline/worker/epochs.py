"""The highest ownership epoch seen of each saga, so that a SEC that lost a saga can't start anything here.

An epoch belongs to a saga, so it is compared for the whole saga: a late action of the old owner must not run beside
the new owner's undo of the same node, although their idempotency keys differ.
"""

from __future__ import annotations

from sagaline.worker import limits


class Epochs:
    """Bounded: the sagas seen least recently are forgotten, and for them fencing tokens are what is left."""

    def __init__(self, sagas_max: int = limits.EPOCHS_MAX) -> None:
        self._sagas_max = sagas_max
        self._highest: dict[str, int] = {}

    def is_stale(self, saga_id: str, epoch: int) -> bool:
        """Whether a higher epoch has been seen."""
        return epoch < self._highest.get(saga_id, 0)

    def see(self, saga_id: str, epoch: int) -> None:
        """Remember an epoch, if it is the highest."""
        highest = self._highest.pop(saga_id, 0)
        self._highest[saga_id] = max(epoch, highest)
        if len(self._highest) > self._sagas_max:
            del self._highest[next(iter(self._highest))]
