"""Methods that the protocol has and this release does not serve."""

from __future__ import annotations

from typing import Any, Never

from sagaline_server.api.errors import Refused
from sagaline_server.api.handlers import Context


async def unserved(_servicer: object, _request: Any, _context: Context) -> Never:
    """Answer UNIMPLEMENTED."""
    raise Refused("UNSERVED")
