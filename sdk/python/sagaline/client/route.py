"""Which SEC a client asks: one of its addresses, until that one fails; then the next. No I/O."""

from __future__ import annotations

from collections.abc import Sequence

from sagaline.addresses import split_addresses


class Route:
    """The addresses of a client, of which one is current.

    Any SEC serves any request, so nothing is lost by staying with one, and everybody who shares the client goes on
    together when it fails. Threads may share it: what a race can do is to skip an address, which comes round again.

    Args:
        given: As a user gives them: one, several with commas between them, or a list.

    Raises:
        ValueError: There is none.
    """

    def __init__(self, given: str | Sequence[str]) -> None:
        self.addresses = tuple(split_addresses(given))
        if not self.addresses:
            raise ValueError('no address of a SEC was given; write "host:port", or several with commas between them')
        self._current = 0

    @property
    def current(self) -> str:
        """The address to ask."""
        return self.addresses[self._current]

    def failed(self, address: str) -> None:
        """Note that an address did not answer as it should: the next one is current, unless that is so already."""
        if address == self.current:
            self._current = (self._current + 1) % len(self.addresses)
