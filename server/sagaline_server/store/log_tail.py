"""The end of a saga's log, from some entry on: which batches belong to it, and where it goes on."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from google.protobuf.message import DecodeError

from sagaline.v1 import log_pb2
from sagaline_server.ports.cluster import LogPart

BATCHES_PER_PAGE = 256
"""Batches that are read at once while a log is followed."""


class LogTail(msgspec.Struct, frozen=True):
    """A page of a log, read at one instant."""

    batches: tuple[bytes, ...]
    next_seq: int
    """Number of the first entry that is not in these batches."""
    more: bool
    """True: there are batches after these."""
    is_done: bool
    """True: the saga has ended."""
    revision: int = 0
    """Store revision of that instant."""

    @property
    def is_end(self) -> bool:
        """True: nothing will ever come after this page."""
        return self.is_done and not self.more

    def part(self) -> LogPart:
        """Return the page as a watcher sees it."""
        return LogPart(self.batches, self.is_end)


def log_tail(
    found: Sequence[tuple[int, bytes]], from_seq: int, limit: int, *, is_done: bool, revision: int = 0
) -> LogTail:
    """Make a page of what was found.

    Args:
        found: Numbers of the first entries of batches, and the batches, in order: the last one that starts at or before
            `from_seq`, if there is one, and those after it, one more than `limit` of these if there are so many.
        from_seq: Number of the first entry that is asked for.
        limit: How many batches a page has.
        is_done: Whether the saga has ended.
        revision: Store revision at which this was read.
    """
    if found and found[0][0] < from_seq and end_of(*found[0]) <= from_seq:
        found = found[1:]  # it ends before
    page = found[:limit]
    next_seq = max(from_seq, end_of(*page[-1])) if page else from_seq
    return LogTail(tuple(batch for _, batch in page), next_seq, len(found) > limit, is_done, revision)


def end_of(first_seq: int, batch: bytes) -> int:
    """Return the number that follows the last entry of a batch."""
    try:
        return first_seq + max(1, len(log_pb2.LogBatch.FromString(batch).entries))
    except DecodeError:
        # Whoever decodes the entries will say so. Here it only has to have an end.
        return first_seq + 1
