"""Run a SEC: `python -m sagaline_server`."""

from __future__ import annotations

import sys

from sagaline_server.app.lean import import_structlog_alone

import_structlog_alone()

from sagaline_server.app.main import main  # noqa: E402 - it imports structlog

sys.exit(main())
