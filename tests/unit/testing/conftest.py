"""What the installed plugin gives, for trees where it is not installed anew."""

from __future__ import annotations

from sagaline.testing.plugin import sagaline_sec

__all__ = ["sagaline_sec"]
