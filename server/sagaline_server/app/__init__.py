"""Wiring: settings, the parts of a SEC put together, and the process around them."""
