"""Tests of your own sagas, in this process and on virtual time. Needs the server: install `sagaline[testing]`.

```python
from sagaline.testing import InProcessSec


def test_trip(bank: Bank) -> None:
    with InProcessSec([charge, book_hotel], snapshot=bank.rows) as sec:
        assert sec.run(trip, "card-1") == "room 7"
        sec.assert_idempotent(trip, lambda: "card-1")
        sec.assert_unwinds(trip, lambda: "card-1")
        sec.assert_survives_crashes(trip, lambda: "card-1")
        sec.assert_undo_wins(trip, lambda: "card-1")
```

With pytest the fixture `sagaline_sec` makes them, and ends them. Names are imported when they are first used: the
plugin is loaded in every session of pytest, and the server only where a test asks for it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sagaline.testing.failures import (
        CheckFailed,
        NoEnd,
        NotHappening,
        NotIdempotent,
        NotReached,
        NotUndone,
        WrongEnd,
    )
    from sagaline.testing.plugin import SecMaker
    from sagaline.testing.sec import InProcessSec, TestedSaga
    from sagaline.testing.worlds import Snapshot

__all__ = [
    "CheckFailed",
    "InProcessSec",
    "NoEnd",
    "NotHappening",
    "NotIdempotent",
    "NotReached",
    "NotUndone",
    "SecMaker",
    "Snapshot",
    "TestedSaga",
    "WrongEnd",
]

_MODULES = {
    "sagaline.testing.failures": (
        "CheckFailed", "NoEnd", "NotHappening", "NotIdempotent", "NotReached", "NotUndone", "WrongEnd",
    ),
    "sagaline.testing.plugin": ("SecMaker",),
    "sagaline.testing.sec": ("InProcessSec", "TestedSaga"),
    "sagaline.testing.worlds": ("Snapshot",),
}  # fmt: skip
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


if not TYPE_CHECKING:  # or else checkers would take every name for one that exists

    def __getattr__(name: str) -> object:
        """Import a name on its first use."""
        module = _MODULE_OF.get(name)
        if module is None:
            raise AttributeError(f"module 'sagaline.testing' has no attribute {name!r}")
        try:
            value = getattr(import_module(module), name)
        except ModuleNotFoundError as error:
            if error.name is None or error.name.partition(".")[0] != "sagaline_server":
                raise
            raise ImportError(
                f"sagaline.testing runs the server's own machine: install sagaline[testing] ({error})"
            ) from error
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
