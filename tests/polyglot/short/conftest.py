"""A real PostgreSQL for the tests of the audit."""

from tests.postgres_server import postgres_server

__all__ = ["postgres_server"]
