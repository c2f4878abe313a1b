"""Which SEC takes which saga. Pure: plans, which the shell carries out and reports on.

Rendezvous hashing: every SEC ranks the candidates of a saga in the same way
without talking to the others, and when one of them goes, only its share moves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import msgspec


def preferred(saga_id: str, sec_ids: Iterable[str]) -> str | None:
    """Return the SEC that should have a saga, among candidates; None where there is none."""
    best = None
    for sec_id in sec_ids:
        rank = (hashlib.blake2b(f"{sec_id}\0{saga_id}".encode(), digest_size=8).digest(), sec_id)
        if best is None or rank > best:
            best = rank
    return None if best is None else best[1]


class AdoptionPlan(msgspec.Struct, frozen=True):
    """What one SEC does about sagas without a living owner."""

    mine: tuple[str, ...]
    """To adopt now."""
    others: tuple[str, ...]
    """Somebody else's to adopt. Those still without an owner at the next sweep are planned anew."""


def plan_adoption(orphans: Sequence[str], me: str, candidates: Iterable[str]) -> AdoptionPlan:
    """Share orphans among SECs.

    Args:
        orphans: Sagas whose owning incarnation is dead.
        me: This SEC.
        candidates: SECs that are alive and not leaving. Without this SEC, everything is others'.
    """
    live = sorted(set(candidates))
    mine: list[str] = []
    others: list[str] = []
    for saga_id in orphans:
        (mine if preferred(saga_id, live) == me else others).append(saga_id)
    return AdoptionPlan(tuple(mine), tuple(others))


def plan_hand_off(saga_ids: Sequence[str], me: str, candidates: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Share the sagas of a SEC that leaves among the others; empty where there is nobody.

    Returns:
        Sagas by SEC.
    """
    live = sorted(set(candidates) - {me})
    shares: dict[str, list[str]] = {}
    for saga_id in saga_ids:
        target = preferred(saga_id, live)
        if target is not None:
            shares.setdefault(target, []).append(saga_id)
    return {target: tuple(share) for target, share in shares.items()}
