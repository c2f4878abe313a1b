"""The workers of the polyglot trip: how each is built and run, and who stands in where a language is missing."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TABLE = ROOT / "workers/polyglot.toml"
BUILD_SECONDS = 900


@dataclass(frozen=True)
class Member:
    """The worker of one node."""

    node: str
    language: str
    needs: tuple[str, ...]
    build: tuple[str, ...]
    run: tuple[str, ...]

    def problem(self) -> str:
        """Build it; returns why it can't be had, empty if it can."""
        absent = [program for program in self.needs if shutil.which(program) is None]
        if absent:
            return f"{', '.join(absent)} is not on PATH"
        for command in self.build:
            done = subprocess.run(
                command, cwd=ROOT, shell=True, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False
            )
            if done.returncode != 0:
                return f"`{command}` failed: {(done.stderr or done.stdout).strip()[-600:]}"
        return ""

    def command(self) -> list[str]:
        """What starts it."""
        if self.language == "python":
            return [sys.executable, *self.run[1:]]
        return [str(ROOT / word) if word.startswith("./") else word for word in self.run]


def crew() -> list[Member]:
    """All four, in the order of the table."""
    table = tomllib.loads(TABLE.read_text())
    return [
        Member(node, row["language"], tuple(row["needs"]), tuple(row["build"]), tuple(row["run"]))
        for node, row in table.items()
    ]


def stand_in(node: str) -> Member:
    """Python serves any node."""
    return Member(node, "python", (), (), ("python", "-m", "sagaline_examples.polyglot", node))
