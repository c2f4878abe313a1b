"""How the slots of this worker are split over its streams: windows, of which the sum never exceeds the slots.

Each pool is split by what each SEC wants: what it has here already, and what waits there (`Demand`). If all of that
fits, each gets what it wants, and what is left over is split evenly, so that a SEC with new work need not ask first.
If it does not fit, each SEC with work gets one at least, as long as there are any, and the rest goes in proportion.
A split is made at once when a stream comes or goes, and else at most once a second.

A window grows only by what no other window holds any more: first the frame that shrinks one is made, then the frame
that lets another grow. So what was granted never exceeds the slots either, in whatever order frames arrive; only what
is outstanding may, while a SEC has not read yet that its window shrank.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sagaline.v1 import worker_service_pb2 as pb
from sagaline.worker import limits

NEVER = float("-inf")

Used = Callable[[], Mapping[tuple[str, str], int]]
"""How many attempts are held, by SEC and pool."""


def split(slots: int, wants: Sequence[tuple[int, int]], turn: int) -> list[int]:
    """Split the slots of one pool.

    Args:
        slots: How many there are.
        wants: Of each stream, what it has here and what waits there.
        turn: Grows with every split; who is first where not all can be served changes with it.

    Returns:
        The window of each stream; their sum is `slots`.
    """
    count, total = len(wants), sum(held + ready for held, ready in wants)
    order = [(index + turn) % count for index in range(count)]
    if total <= slots:
        each, rest = divmod(slots - total, count)
        shares = [held + ready + each for held, ready in wants]
        for index in range(rest):
            shares[index] += 1
        return shares
    shares = [0] * count
    order.sort(key=lambda index: _urgency(wants[index]))
    for index in order[:slots]:
        shares[index] = 1
    left = max(slots - count, 0)
    exact = [left * (held + ready) / total for held, ready in wants]
    for index in range(count):
        shares[index] += int(exact[index])
    order.sort(key=lambda index: int(exact[index]) - exact[index])
    for index in order[: slots - sum(shares)]:
        shares[index] += 1
    return shares


def _urgency(want: tuple[int, int]) -> int:
    held, ready = want
    return 0 if ready else 1 if held else 2


@dataclass(slots=True)
class _Grant:
    """One stream's share of every pool."""

    target: dict[str, int]
    granted: dict[str, int]
    """What the stream was told last."""
    sec: str | None = None
    """The SEC; None before its welcome. Until then it has no part in the split."""
    ready: dict[str, int] = field(default_factory=dict)


class Windows:
    """The windows of all streams, by address."""

    def __init__(self, slots: Mapping[str, int], used: Used) -> None:
        self._slots = dict(slots)
        self._used = used
        self._grants: dict[str, _Grant] = {}
        self._free = dict(slots)
        """What is granted to nobody, by pool."""
        self._closed = False
        self._news: set[str] = set()
        self._turn = 0
        self._split_last = NEVER
        self.split_at: float | None = None
        """When `tick` has something to do."""

    @property
    def stream_count(self) -> int:
        """How many streams have a part in the slots."""
        return len(self._grants)

    # ---- streams

    def opened(self, address: str) -> None:
        """A stream begins. Until its welcome it may be granted what is free; nothing is taken from others for it."""
        self._grants[address] = _Grant(dict(self._free), dict.fromkeys(self._slots, 0))

    def welcomed(self, address: str, sec: str, now: float) -> None:
        """From here on it takes part."""
        self._grants[address].sec = sec
        self._split(now)

    def ended(self, address: str, now: float) -> None:
        """What it had is free."""
        grant = self._grants.pop(address, None)
        if grant is not None:
            for pool, count in grant.granted.items():
                self._free[pool] += count
            self._split(now)

    def demand(self, address: str, demands: Iterable[pb.Demand], now: float) -> None:
        """A SEC says what waits there. Of pools that it does not name what it said before stands."""
        grant = self._grants[address]
        for demand in demands:
            if demand.slot_pool in self._slots:
                grant.ready[demand.slot_pool] = max(demand.ready_count, 0)
        self._split_soon(now)

    # ---- time

    def tick(self, now: float) -> None:
        """Split anew, if that is due."""
        if self.split_at is not None and now >= self.split_at:
            self._split(now)

    # ---- what a stream is told

    def has_news(self, address: str, *, closed: bool) -> bool:
        """Whether a stream is to be told another window; `closed`: nobody is to get anything."""
        if closed is not self._closed:
            self._closed = closed
            self._judge()
        return address in self._news

    def tell(self, address: str, *, closed: bool) -> dict[str, int]:
        """The window of a stream, which is told now."""
        self._closed = closed
        grant = self._grants[address]
        for pool in self._slots:
            window = self._due(grant, pool)
            self._free[pool] += grant.granted[pool] - window
            grant.granted[pool] = window
        self._judge()
        return dict(grant.granted)

    def granted(self, address: str) -> dict[str, int]:
        """What a stream was told last."""
        grant = self._grants.get(address)
        return dict(grant.granted) if grant is not None else dict.fromkeys(self._slots, 0)

    # ---- inside

    def _due(self, grant: _Grant, pool: str) -> int:
        if self._closed:
            return 0
        return min(grant.target[pool], grant.granted[pool] + self._free[pool])

    def _judge(self) -> None:
        self._news = {
            address
            for address, grant in self._grants.items()
            if any(self._due(grant, pool) != grant.granted[pool] for pool in self._slots)
        }

    def _split_soon(self, now: float) -> None:
        at = self._split_last + limits.SPLIT_SECONDS
        if at <= now:
            self._split(now)
        elif self.split_at is None:
            self.split_at = at

    def _split(self, now: float) -> None:
        self._split_last, self.split_at = now, None
        self._turn += 1
        taking_part = [grant for grant in self._grants.values() if grant.sec is not None]
        if taking_part:
            used = self._used() if len(taking_part) > 1 else {}
            for pool, slots in self._slots.items():
                wants = [(used.get((grant.sec or "", pool), 0), grant.ready.get(pool, 0)) for grant in taking_part]
                for grant, share in zip(taking_part, split(slots, wants, self._turn), strict=True):
                    grant.target[pool] = share
        if len(taking_part) > 1 and any(any(grant.ready.values()) for grant in taking_part):
            # What each holds changes while work waits.
            self.split_at = now + limits.SPLIT_SECONDS
        self._judge()
