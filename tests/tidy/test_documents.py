"""What the documents name is there: pages, headings, metrics, and commands with their options."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import click
import pytest

from sagaline.cli.main import main
from sagaline_server.runtime.metrics import RuntimeMetrics

ROOT = Path(__file__).resolve().parents[2]

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`]*)`")
METRIC = re.compile(r"\bsagaline_[a-z_]+\b")


def documents() -> list[Path]:
    """Return every page that git knows."""
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.splitlines()]


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as sites make them."""
    found: set[str] = set()
    for heading in HEADING.findall(FENCED.sub("", page.read_text())):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
        anchor = re.sub(r"[^\w\- ]", "", words).strip().replace(" ", "-")
        found.add(anchor)
    return found


@pytest.mark.parametrize("page", documents(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = FENCED.sub("", page.read_text())
    wrong = []
    for target in LINK.findall(INLINE.sub("", text)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = page if not path else (page.parent / unquote(path)).resolve()
        if not there.exists() or (anchor and there.suffix == ".md" and anchor not in anchors(there)):
            wrong.append(target)
    assert wrong == []


def test_metrics_that_operators_are_told_of_exist() -> None:
    known = set()
    for metric in RuntimeMetrics(None).collect():
        known |= {metric.name, f"{metric.name}_total"}
    named = set(METRIC.findall((ROOT / "docs/operations.md").read_text()))
    assert {name for name in named if not name.startswith("sagaline_archive")} <= known
    alarms = {"sagaline_sagas_need_operator", "sagaline_store_refused", "sagaline_lease_margin_seconds"}
    assert alarms <= named


def commands_in(text: str) -> Iterator[str]:
    """Yield the commands of fenced blocks, and those in a line that are whole."""
    for block in FENCED.findall(text):
        for line in block.splitlines():
            if line.startswith("sagaline "):
                yield line
    for words in INLINE.findall(FENCED.sub("", text)):
        if words.startswith("sagaline ") and not re.search(r"[…|\[\n]", words):
            yield words


@pytest.mark.parametrize("name", ["README.md", "docs/operations.md", "docs/barrier.md", "docs/features.md"])
def test_commands_are_such_that_can_be_run(name: str) -> None:
    """Each is read by the command itself, which refuses options that it does not have."""
    wrong = []
    for line in commands_in((ROOT / name).read_text()):
        for part in re.split(r" && ", line):
            words = shlex.split(part, comments=True)[1:]
            try:
                with click.Context(main) as context:
                    read(context, words)
            except click.ClickException as error:
                if not isinstance(error, click.MissingParameter):  # `sagaline resolve` alone names the command
                    wrong.append(f"{part}: {error.format_message()}")
    assert wrong == []


def read(context: click.Context, words: list[str]) -> None:
    """Let the command that words name read its options."""
    command: click.Command = main
    while isinstance(command, click.Group):
        if not words:
            return
        found = command.get_command(context, words[0])
        if found is None:
            raise click.UsageError(f"no command {words[0]!r}")
        command, words = found, words[1:]
    command.make_context(command.name, list(words), parent=context)
