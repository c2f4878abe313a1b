"""Addresses of SECs as users give them: one, several with commas between them, or a list."""

from __future__ import annotations

from collections.abc import Sequence

LISTS = ("ipv4:", "ipv6:")
"""gRPC targets in which commas belong to the target."""


def split_addresses(given: str | Sequence[str]) -> list[str]:
    """Return the addresses, each once, in their order; none if nothing is given."""
    items = [given] if isinstance(given, str) else given
    found = [part.strip() for item in items for part in ([item] if item.startswith(LISTS) else item.split(","))]
    return [address for address in dict.fromkeys(found) if address]
