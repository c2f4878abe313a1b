"""Lengths as protobuf encodes them."""

from __future__ import annotations

_MORE = 0x80
"""Bit of a byte that says that another one follows."""
_TWO_BYTES = _MORE * _MORE


def varint(number: int) -> bytes:
    """Encode a number that is not negative: seven bits a byte, the lowest first."""
    if number < _MORE:
        return bytes((number,))
    if number < _TWO_BYTES:
        return bytes((number & 0x7F | _MORE, number >> 7))
    return bytes((number & 0x7F | _MORE,)) + varint(number >> 7)
