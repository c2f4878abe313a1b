"""Lengths as protobuf encodes them."""

from __future__ import annotations

_MORE = 0x80
"""Bit of a byte that says that another one follows."""


def _encoded(number: int) -> bytes:
    parts = bytearray()
    while number >= _MORE:
        parts.append(number & 0x7F | _MORE)
        number >>= 7
    parts.append(number)
    return bytes(parts)


_SMALL_MAX = 4096
_SMALL = tuple(_encoded(number) for number in range(_SMALL_MAX))
"""Nearly all lengths there are: looked up, for they are asked for several times in every entry and invocation."""


def varint(number: int) -> bytes:
    """Encode a number that is not negative: seven bits a byte, the lowest first."""
    return _SMALL[number] if 0 <= number < _SMALL_MAX else _encoded(number)
