"""What Ctrl-C does to a command that is waiting for a SEC: it ends the process at once.

The usual KeyboardInterrupt is raised wherever the main thread happens to be, also inside gRPC while it holds a lock
that another thread or the clean-up then waits for in vain. A command has nothing to clean up but the terminal.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 130
"""What shells report of a process that SIGINT ended."""

SHOW_CURSOR = b"\x1b[?25h\n"


@contextmanager
def leaving_at_once() -> Iterator[None]:
    """While inside, let SIGINT end the process with exit code 130. Only the main thread can have it so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, _leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _leave(_number: int, _frame: FrameType | None) -> None:
    # Not through sys.stdout: the thread that draws may be in the middle of writing to it.
    if sys.stdout.isatty():
        os.write(sys.stdout.fileno(), SHOW_CURSOR)
    os._exit(INTERRUPTED)
