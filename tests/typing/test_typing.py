"""A graph whose data does not fit fails in mypy and in pyright, and one that fits passes both.

The programs are in cases/. A comment `# E: regex` marks a line on which each of the two checkers must report an error
that the regex matches; an error on any other line fails as well, and so does an `assert_type` that is wrong.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CASES = sorted((HERE / "cases").glob("*.py"))
MARK = re.compile(r"# E: (?P<pattern>.+)$")
CHECKER_TIMEOUT_S = 110

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2 * CHECKER_TIMEOUT_S)]


@dataclass(frozen=True)
class Report:
    """One error that a checker reported."""

    file: str
    line: int
    message: str


def mypy() -> list[Report]:
    """Check all cases with `mypy --strict` and nothing of the project's own configuration."""
    cache = ROOT / ".mypy_cache/cases"
    command = [sys.executable, "-m", "mypy", "--config-file=", "--strict", "--explicit-package-bases", "--output=json"]
    done = run([*command, f"--cache-dir={cache}", "cases"])
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert found, f"mypy did not run: {done.stdout}{done.stderr}"
    return [
        Report(Path(each["file"]).name, each["line"], f"{each['message']} [{each['code']}]")
        for each in found
        if each["severity"] == "error"
    ]


def pyright() -> list[Report]:
    """Check all cases with pyright in strict mode. It needs a node on PATH, or the extra `pyright[nodejs]`."""
    command = [sys.executable, "-m", "pyright", "--outputjson", "--project", "pyrightconfig.json"]
    done = run([*command, "--pythonpath", sys.executable])
    assert done.stdout.startswith("{"), f"pyright did not run: {done.stdout}{done.stderr}"
    return [
        Report(
            Path(each["file"]).name, each["range"]["start"]["line"] + 1, f"{each['message']} [{each.get('rule', '')}]"
        )
        for each in json.loads(done.stdout)["generalDiagnostics"]
        if each["severity"] == "error"
    ]


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "MYPYPATH": str(HERE), "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
    return subprocess.run(
        command, cwd=HERE, env=environment, capture_output=True, text=True, timeout=CHECKER_TIMEOUT_S, check=False
    )


def differences(case: Path, reports: list[Report]) -> list[str]:
    """Return what a checker missed in a file, and what it complained of without being asked to."""
    marked = {
        number: found["pattern"].strip()
        for number, line in enumerate(case.read_text().splitlines(), start=1)
        if (found := MARK.search(line))
    }
    by_line: dict[int, list[str]] = {}
    for report in reports:
        if report.file == case.name:
            by_line.setdefault(report.line, []).append(report.message)
    missing = [
        f"{case.name}:{line}: no error matches {pattern!r}; reported: {by_line.get(line, 'nothing')}"
        for line, pattern in marked.items()
        if not any(re.search(pattern, message) for message in by_line.get(line, []))
    ]
    unexpected = [
        f"{case.name}:{line}: unexpected: {message}"
        for line, messages in sorted(by_line.items())
        if line not in marked
        for message in messages
    ]
    return missing + unexpected


@pytest.fixture(scope="module", params=[mypy, pyright], ids=["mypy", "pyright"])
def reports(request: pytest.FixtureRequest) -> list[Report]:
    checker: Callable[[], list[Report]] = request.param
    return checker()


@pytest.mark.parametrize("case", CASES, ids=[case.stem for case in CASES])
def test_a_checker_reports_what_is_marked_and_nothing_else(case: Path, reports: list[Report]) -> None:
    found = differences(case, reports)
    if found:
        pytest.fail("\n".join(found), pytrace=False)


def test_marks_are_enforced_both_ways(tmp_path: Path) -> None:
    """The runner itself: a missing error, a wrong one and an unmarked one are all told."""
    case = tmp_path / "case.py"
    case.write_text("a  # E: first\nb  # E: second\nc\n")
    found = differences(case, [Report("case.py", 2, "another"), Report("case.py", 3, "third")])
    assert [problem.split(": ")[0] for problem in found] == ["case.py:1", "case.py:2", "case.py:3"]
    assert differences(case, [Report("case.py", 1, "the first"), Report("case.py", 2, "second")]) == []
