"""The languages of this repository, read from `languages.toml`: what each needs, how its worker is built and run."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

TABLE = "tests/conformance/languages.toml"
BUILD_SECONDS = 900


@dataclass(frozen=True)
class Language:
    """One SDK and its conformance worker."""

    name: str
    needs: tuple[str, ...]
    """Programs that must be on PATH."""
    build: tuple[str, ...]
    run: tuple[str, ...]

    def missing(self) -> str:
        """What is not there; empty: nothing."""
        absent = [program for program in self.needs if shutil.which(program) is None]
        if absent:
            return f"{', '.join(absent)} is not on PATH"
        return ""

    def command(self, root: Path) -> list[str]:
        """What starts the worker."""
        words = [sys.executable if word == "{python}" else word for word in self.run]
        return [str(root / word) if word.startswith("./") else word for word in words]

    def make(self, root: Path) -> str:
        """Build the worker; returns what went wrong, empty if nothing did."""
        for command in self.build:
            problem = _run(command, root)
            if problem:
                return problem
        return ""


def _run(command: str, root: Path) -> str:
    """Run a command of a build; returns what went wrong, empty if nothing did."""
    try:
        done = subprocess.run(
            command, cwd=root, shell=True, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"`{command}` took longer than {BUILD_SECONDS} s"
    if done.returncode == 0:
        return ""
    return f"`{command}` failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}"


def languages(root: Path, wanted: str) -> list[Language]:
    """The languages that are wanted: one by name, or `all`.

    Raises:
        KeyError: There is none of this name.
    """
    table = tomllib.loads((root / TABLE).read_text())
    known = {
        name: Language(name, tuple(row["needs"]), tuple(row["build"]), tuple(row["run"])) for name, row in table.items()
    }
    return list(known.values()) if wanted == "all" else [known[name] for name in wanted.split(",")]
