"""Planted bugs: each breaks one promise in production code, for one run, from here. Every one has to be caught."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import msgspec

Patch = tuple[Any, str, Any]
"""What to change: a class or module, the name in it, and what stands there instead."""


class Mutant(msgspec.Struct, frozen=True):
    """One planted bug."""

    name: str
    what: str
    patches: Callable[[], Sequence[Patch]]
    needs: tuple[str, ...] = ()
    """Faults and sizes without which it can't show: seeds without them are passed over in a hunt."""

    @contextmanager
    def planted(self) -> Iterator[None]:
        """Have the bug within the block."""
        with ExitStack() as stack:
            for owner, name, replacement in self.patches():
                stack.callback(setattr, owner, name, vars(owner)[name])
                setattr(owner, name, replacement)
            yield


MUTANTS: dict[str, Mutant] = {}
"""By name."""

Patches = Callable[[], Sequence[Patch]]


def plant(name: str, *needs: str) -> Callable[[Patches], Patches]:
    """Add a planted bug, whose docstring says what it is; `needs` as of a Mutant."""

    def add(patches: Patches) -> Patches:
        MUTANTS[name] = Mutant(name, (patches.__doc__ or "").partition("\n")[0].rstrip("."), patches, needs)
        return patches

    return add
