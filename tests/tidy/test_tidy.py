"""The code keeps its own rules: those that no linter knows, checked on every Python file."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("sdk/python", "server", "workers/python", "scripts", "tests")
GENERATED = ROOT / "sdk/python/sagaline/v1"

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 500
TEST_FILE_LINES_MAX = 800

VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "base", "misc"}
MAY_SLEEP = ("tests/failover", "tests/conformance/workers", "tests/unit/testing")
"""A schedule of kills and stops is time; a worker under test is a program, whose gates are files; and in the testing
kit's tests what sleeps are actions, on virtual time."""

MARKER = re.compile(r"#.*\b(TODO|FIXME|XXX|HACK)\b(?!\(#\d+\))")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def python_files() -> list[Path]:
    found = (path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py")))
    return [path for path in found if GENERATED not in path.parents and "node_modules" not in path.parts]


FILES = python_files()
TREES = {path: ast.parse(path.read_text(), filename=str(path)) for path in FILES}


def is_test(path: Path) -> bool:
    return ROOT / "tests" in path.parents


def at(path: Path, node: ast.stmt | ast.expr | None = None) -> str:
    return f"{path.relative_to(ROOT)}:{node.lineno if node else 1}"


def refuse(offenders: list[str], rule: str) -> None:
    if offenders:
        pytest.fail(f"{rule}:\n" + "\n".join(f"  {offender}" for offender in offenders), pytrace=False)


def functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def length(function: Function) -> int:
    """Lines from `def` to the end, without the docstring."""
    assert function.end_lineno is not None
    lines = function.end_lineno - function.lineno + 1
    if ast.get_docstring(function) is not None:
        docstring = function.body[0]
        assert docstring.end_lineno is not None
        lines -= docstring.end_lineno - docstring.lineno + 1
    return lines


def test_functions_fit_on_a_screen() -> None:
    offenders = [
        f"{at(path, function)} {function.name}: {length(function)} lines"
        for path, tree in TREES.items()
        for function in functions(tree)
        if length(function) > FUNCTION_LINES_MAX
    ]
    refuse(offenders, f"functions longer than {FUNCTION_LINES_MAX} lines, docstring not counted")


def test_files_have_one_subject() -> None:
    offenders = []
    for path in FILES:
        lines = len(path.read_text().splitlines())
        limit = TEST_FILE_LINES_MAX if is_test(path) else FILE_LINES_MAX
        if lines > limit:
            offenders.append(f"{at(path)}: {lines} lines, {limit} allowed")
    refuse(offenders, "files that grew too long: split them by subject")


def test_files_are_named_after_what_they_hold() -> None:
    offenders = [at(path) for path in FILES if path.stem in VAGUE_NAMES]
    refuse(offenders, "names that say nothing: name the thing")


def test_tests_wait_for_states_and_never_for_time() -> None:
    offenders = [
        at(path, node)
        for path, tree in TREES.items()
        if is_test(path) and not any(ROOT / folder in path.parents for folder in MAY_SLEEP)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and called(node) == "sleep" and not only_yields(node)
    ]
    refuse(offenders, "sleep in a test: wait for a state, with a bound, or use a fake clock")


def called(call: ast.Call) -> str:
    match call.func:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
    return ""


def only_yields(call: ast.Call) -> bool:
    """`sleep(0)` passes the turn to the event loop; no time is waited for."""
    match call.args:
        case [ast.Constant(value=0)]:
            return True
    return False


def test_nothing_is_mocked() -> None:
    offenders = [
        at(path, node)
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom) and imports_mock(node)
    ]
    refuse(offenders, "unittest.mock: test the sans-I/O part, or put a fake at a port")


def imports_mock(node: ast.Import | ast.ImportFrom) -> bool:
    names = [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return node.module in {"unittest.mock", "mock"} or (node.module == "unittest" and "mock" in names)
    return any(name in {"unittest.mock", "mock"} for name in names)


def test_markers_name_an_issue() -> None:
    offenders = [
        f"{path.relative_to(ROOT)}:{number} {line.strip()}"
        for path in FILES
        if path != Path(__file__)
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if MARKER.search(line)
    ]
    refuse(offenders, "markers without an issue's number: write TODO(#12), or do it")
