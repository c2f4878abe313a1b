"""What the server's process need not import at its start."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import cast


def import_structlog_alone() -> None:
    """Import structlog without rich, which it would import to draw tracebacks that no SEC draws.

    That is a sixth of the CPU of a start. Only for a process that is a SEC and nothing else: whoever uses
    structlog beside it may want rich's tracebacks.
    """
    if "structlog" in sys.modules or "rich" in sys.modules:
        return
    sys.modules["rich"] = cast("ModuleType", None)  # as Python's documentation has it: importing it fails
    try:
        importlib.import_module("structlog")
    finally:
        del sys.modules["rich"]
