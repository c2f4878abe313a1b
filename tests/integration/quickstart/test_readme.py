"""The README's quick starts, executed: its blocks are taken from the page and run as a reader would run them."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.secs import PATH, run, started

README = (Path(__file__).resolve().parents[3] / "README.md").read_text()
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ADDRESS = "127.0.0.1:7070"


def blocks(text: str) -> list[tuple[str, str]]:
    """Return language and content of each block of code."""
    return BLOCK.findall(text)


def between(start: str, end: str) -> str:
    """Return a part of the page."""
    _, found, rest = README.partition(start)
    assert found, f"the README has no {start!r}"
    return rest.partition(end)[0]


@pytest.fixture
async def address(tmp_path: Path) -> AsyncIterator[str]:
    """Where the README's `sagaline dev` serves, in the reader's directory; the port is what is free."""
    async with started("bash", "-c", "exec sagaline dev --listen 127.0.0.1:0", directory=tmp_path) as dev:
        yield await dev.address()


async def test_the_first_saga(tmp_path: Path, address: str) -> None:
    (_, program), (_, commands), (_, caller) = blocks(between("## Your first saga\n", "\n## "))
    name, _, _ = program.partition("\n")
    (tmp_path / name.removeprefix("# ")).write_text(program)
    lines = [line.partition("  #")[0].strip() for line in commands.splitlines()]
    assert [line.split()[:2] for line in lines] == [
        ["sagaline", "dev"],
        ["sagaline", "worker"],
        ["sagaline", "create"],
        ["sagaline", "watch"],
    ]
    environment = {"SAGALINE_ADDRESS": address}
    async with started("bash", "-c", f"exec {lines[1]}", environment=environment, directory=tmp_path):
        code, saga_id, said = await run("bash", "-c", lines[2], environment=environment, directory=tmp_path)
        assert (code, said) == (0, "")
        watch = lines[3].replace("SAGA", saga_id.strip())
        code, watched, said = await run("bash", "-c", watch, environment=environment, directory=tmp_path)
        assert (code, said) == (1, ""), "it is unwound"
        (tmp_path / "caller.py").write_text(caller.replace("localhost:7070", address))
        code, out, said = await run(sys.executable, "caller.py", environment=environment, directory=tmp_path)
        assert (code, said) == (0, "")
        assert "nothing of it remains: " in out
    events = [line.split()[3:6] for line in watched.splitlines()]
    assert ["node", "failed", "hotel"] in events
    assert ["node", "undone", "charge"] in events
    assert "SoldOut: no room left" in watched
    code, log, _ = await run("sagaline", "log", saga_id.strip(), environment=environment)
    assert (code, log) == (0, watched)


def any_language() -> list[str]:
    """Return the blocks of commands that need no SDK: buf's and grpcurl's."""
    return [content for _, content in blocks(between("<!-- quickstart:buf -->", "<!-- quickstart:end -->"))]


def at(address: str, commands: str) -> str:
    """Return commands that go to another address than the README's."""
    assert ADDRESS in commands
    return "set -euo pipefail\n" + commands.replace(ADDRESS, address)


async def test_a_saga_is_created_watched_and_unwound_with_buf_alone(tmp_path: Path, address: str) -> None:
    if shutil.which("buf", path=PATH) is None:
        pytest.skip("buf is not installed")
    commands, _ = any_language()
    code, out, said = await run("bash", "-c", at(address, commands), directory=tmp_path)
    assert code == 0, said
    assert "sagaline.v1.SagaService/CreateSaga" in out.split()
    answers = messages(out[out.index("{") :])
    assert answers[0]["saga"]["sagaId"] == "hello-1"
    assert answers[1]["saga"]["state"] == "SAGA_STATE_UNWOUND"
    assert answers[-1]["state"] == "SAGA_STATE_UNWOUND"


async def test_a_saga_is_created_watched_and_unwound_with_grpcurl_alone(tmp_path: Path, address: str) -> None:
    if shutil.which("grpcurl", path=PATH) is None:
        pytest.skip("grpcurl is not installed")
    first, commands = any_language()
    saga = re.search(r"<<'END'\n(.*?)^END$", first, re.MULTILINE | re.DOTALL)
    assert saga is not None
    (tmp_path / "saga.json").write_text(saga[1])
    code, out, said = await run("bash", "-c", at(address, commands), directory=tmp_path)
    assert code == 0, said
    assert "sagaline.v1.SagaService" in out.split()
    assert messages(out[out.index("{") :])[-1]["state"] == "SAGA_STATE_UNWOUND"


def messages(text: str) -> list[dict[str, Any]]:
    """Return the JSON values that stand one after the other in a text."""
    decoder, found = json.JSONDecoder(), []
    while text := text.lstrip():
        value, end = decoder.raw_decode(text)
        found.append(value)
        text = text[end:]
    return found
