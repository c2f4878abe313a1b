"""What a build is run with, and what is told of one that fails."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from sagaline_conformance.languages import Language

ROOT = Path(__file__).parents[3]
SHOWS = 'include Makefile\nshown:\n\t@echo "$$LANG $(LANGUAGE)"\n'


def built_by(command: str, folder: Path) -> str:
    return Language("some", (), (command,), ("true",)).make(folder)


def test_a_build_that_succeeds_says_nothing(tmp_path: Path) -> None:
    assert built_by("echo much", tmp_path) == ""


@pytest.mark.parametrize("command", ["echo why >&2; exit 1", "echo why; kill -SEGV $$"])
def test_a_build_that_fails_is_told_with_what_it_said(tmp_path: Path, command: str) -> None:
    problem = built_by(command, tmp_path)
    assert "failed" in problem
    assert "why" in problem


def test_the_languages_of_make_are_nobodys_locale(tmp_path: Path) -> None:
    """Node crashes where LANG is a list: every program that `make conformance LANG=…` starts has a real one."""
    makefile = tmp_path / "Makefile"
    makefile.write_text(SHOWS)
    command = ["make", "-s", "-f", str(makefile), "shown", "LANG=go,typescript"]
    assert subprocess.check_output(command, cwd=ROOT, text=True, timeout=30).split() == ["C.UTF-8", "go,typescript"]
