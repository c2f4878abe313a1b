"""The shapes that an undo action can have, for type checkers: up to nine parameters, then `*, output`.

They exist so that a checker compares the type of `output` with what the action returns. `Callable` cannot say that:
it has no keyword-only parameters.
"""

# ruff: noqa: D102, PLR0913, PLR0917 - these are the signatures of users' functions
from __future__ import annotations

from typing import Protocol, TypeVar

A1_contra = TypeVar("A1_contra", contravariant=True)
A2_contra = TypeVar("A2_contra", contravariant=True)
A3_contra = TypeVar("A3_contra", contravariant=True)
A4_contra = TypeVar("A4_contra", contravariant=True)
A5_contra = TypeVar("A5_contra", contravariant=True)
A6_contra = TypeVar("A6_contra", contravariant=True)
A7_contra = TypeVar("A7_contra", contravariant=True)
A8_contra = TypeVar("A8_contra", contravariant=True)
A9_contra = TypeVar("A9_contra", contravariant=True)
R_contra = TypeVar("R_contra", contravariant=True)
"""What the action returns."""
Z_co = TypeVar("Z_co", covariant=True)
"""None, or an awaitable of None."""


class Undo0(Protocol[R_contra, Z_co]):
    """An undo action with no parameters before its `output`."""

    def __call__(self, *, output: R_contra | None) -> Z_co: ...


class Undo1(Protocol[A1_contra, R_contra, Z_co]):
    """An undo action with 1 parameter before its `output`."""

    def __call__(self, a1: A1_contra, /, *, output: R_contra | None) -> Z_co: ...


class Undo2(Protocol[A1_contra, A2_contra, R_contra, Z_co]):
    """An undo action with 2 parameters before its `output`."""

    def __call__(self, a1: A1_contra, a2: A2_contra, /, *, output: R_contra | None) -> Z_co: ...


class Undo3(Protocol[A1_contra, A2_contra, A3_contra, R_contra, Z_co]):
    """An undo action with 3 parameters before its `output`."""

    def __call__(self, a1: A1_contra, a2: A2_contra, a3: A3_contra, /, *, output: R_contra | None) -> Z_co: ...


class Undo4(Protocol[A1_contra, A2_contra, A3_contra, A4_contra, R_contra, Z_co]):
    """An undo action with 4 parameters before its `output`."""

    def __call__(
        self, a1: A1_contra, a2: A2_contra, a3: A3_contra, a4: A4_contra, /, *, output: R_contra | None
    ) -> Z_co: ...


class Undo5(Protocol[A1_contra, A2_contra, A3_contra, A4_contra, A5_contra, R_contra, Z_co]):
    """An undo action with 5 parameters before its `output`."""

    def __call__(
        self, a1: A1_contra, a2: A2_contra, a3: A3_contra, a4: A4_contra, a5: A5_contra, /, *, output: R_contra | None
    ) -> Z_co: ...


class Undo6(Protocol[A1_contra, A2_contra, A3_contra, A4_contra, A5_contra, A6_contra, R_contra, Z_co]):
    """An undo action with 6 parameters before its `output`."""

    def __call__(
        self,
        a1: A1_contra,
        a2: A2_contra,
        a3: A3_contra,
        a4: A4_contra,
        a5: A5_contra,
        a6: A6_contra,
        /,
        *,
        output: R_contra | None,
    ) -> Z_co: ...


class Undo7(Protocol[A1_contra, A2_contra, A3_contra, A4_contra, A5_contra, A6_contra, A7_contra, R_contra, Z_co]):
    """An undo action with 7 parameters before its `output`."""

    def __call__(
        self,
        a1: A1_contra,
        a2: A2_contra,
        a3: A3_contra,
        a4: A4_contra,
        a5: A5_contra,
        a6: A6_contra,
        a7: A7_contra,
        /,
        *,
        output: R_contra | None,
    ) -> Z_co: ...


class Undo8(
    Protocol[A1_contra, A2_contra, A3_contra, A4_contra, A5_contra, A6_contra, A7_contra, A8_contra, R_contra, Z_co]
):
    """An undo action with 8 parameters before its `output`."""

    def __call__(
        self,
        a1: A1_contra,
        a2: A2_contra,
        a3: A3_contra,
        a4: A4_contra,
        a5: A5_contra,
        a6: A6_contra,
        a7: A7_contra,
        a8: A8_contra,
        /,
        *,
        output: R_contra | None,
    ) -> Z_co: ...


class Undo9(
    Protocol[
        A1_contra,
        A2_contra,
        A3_contra,
        A4_contra,
        A5_contra,
        A6_contra,
        A7_contra,
        A8_contra,
        A9_contra,
        R_contra,
        Z_co,
    ]
):
    """An undo action with 9 parameters before its `output`."""

    def __call__(
        self,
        a1: A1_contra,
        a2: A2_contra,
        a3: A3_contra,
        a4: A4_contra,
        a5: A5_contra,
        a6: A6_contra,
        a7: A7_contra,
        a8: A8_contra,
        a9: A9_contra,
        /,
        *,
        output: R_contra | None,
    ) -> Z_co: ...
