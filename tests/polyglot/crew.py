"""The workers of the polyglot trip: how each is built and run, and who stands in where a language is missing."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from sagaline_conformance.languages import Language

ROOT = Path(__file__).resolve().parents[2]
TABLE = ROOT / "workers/polyglot.toml"


@dataclass(frozen=True)
class Member:
    """The worker of one node, and the language that it is written in."""

    node: str
    worker: Language

    @property
    def language(self) -> str:
        return self.worker.name

    def problem(self) -> str:
        """Build it; returns why it can't be had, empty if it can."""
        return self.worker.missing() or self.worker.make(ROOT)

    def command(self) -> list[str]:
        """What starts it."""
        return self.worker.command(ROOT)


def crew() -> list[Member]:
    """All four, in the order of the table."""
    table = tomllib.loads(TABLE.read_text())
    return [
        Member(node, Language(row["language"], tuple(row["needs"]), tuple(row["build"]), tuple(row["run"])))
        for node, row in table.items()
    ]


def stand_in(node: str) -> Member:
    """Python serves any node."""
    return Member(node, Language("python", (), (), ("{python}", "-m", "sagaline_examples.polyglot", node)))
