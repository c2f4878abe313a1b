"""Sagaline's saga execution coordinator (SEC), the server."""

from __future__ import annotations

__version__ = "0.1.0"
