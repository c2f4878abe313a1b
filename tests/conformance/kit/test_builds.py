"""A compiler that crashed says nothing of a worker; one that refuses it does."""

from __future__ import annotations

from pathlib import Path

import pytest

from sagaline_conformance.languages import Language

CRASHES_ONCE = "test -e built || { touch built; kill -SEGV $$; }"


def built_by(command: str, folder: Path) -> str:
    return Language("some", (), (command,), ("true",)).make(folder)


def test_a_build_that_crashed_is_tried_once_more(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert built_by(CRASHES_ONCE, tmp_path) == ""
    assert "some: a signal ended the build" in capsys.readouterr().out


def test_a_build_that_always_crashes_is_told(tmp_path: Path) -> None:
    assert "failed" in built_by("kill -SEGV $$", tmp_path)


def test_a_build_that_fails_is_not_tried_again(tmp_path: Path) -> None:
    assert "failed" in built_by("test -e built && exit 0; touch built; exit 1", tmp_path)
