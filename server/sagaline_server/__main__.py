"""Run a SEC: `python -m sagaline_server`."""

from __future__ import annotations

import sys

from sagaline_server.app.main import main

sys.exit(main())
