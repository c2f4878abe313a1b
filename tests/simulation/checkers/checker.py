"""What every checker is."""

from __future__ import annotations

from tests.simulation.history import Observer
from tests.simulation.scene import Scene


class Checker(Observer):
    """Watches one promise over the whole run."""

    name = ""
    """For people: the promise in a word or two."""

    def __init__(self, scene: Scene) -> None:
        """Watch a scene."""
        self.scene = scene
        self.ledger = scene.ledger

    def fail(self, what: str) -> None:
        """Say how the promise was broken."""
        self.scene.history.fail(self.name, what)

    def check(self, holds: bool, what: str) -> None:
        """Fail unless it holds."""
        if not holds:
            self.fail(what)
