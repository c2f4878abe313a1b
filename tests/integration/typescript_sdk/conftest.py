"""A PostgreSQL for the TypeScript SDK's barrier."""

from __future__ import annotations

from tests.postgres_server import postgres_server

__all__ = ["postgres_server"]
