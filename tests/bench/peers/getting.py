"""Gets the peers' packages into a folder of their own, `.tools/peers`, with the ordinary clients of their registries.

What can't be had on a machine is no error: its figures are skipped, and the reason is told.
"""

from __future__ import annotations

import asyncio
import os
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
FOLDER = Path(os.environ.get("SAGALINE_PEERS") or ROOT / ".tools" / "peers")
GET_SECONDS = 1_800.0
PYTHON_PACKAGES = ("aiohttp", "dbos", "hypercorn", "psycopg[binary]", "restate-sdk", "temporalio")
RESTATE_PACKAGE = "@restatedev/restate-server"
TEMPORAL_MODULE = "go.temporal.io/server"
TEMPORAL_VERSIONS = ("latest", "v1.30.4")
"""The newest, or the newest that was tried and that an older Go builds too."""
TEMPORAL_PROGRAMS = ("cmd/server", "cmd/tools/sql")
DTM_MODULE = "github.com/dtm-labs/dtm"
REASON_CHARS = 300


class CannotBeHad(Exception):
    """A peer, or something that it needs, can't be had on this machine."""


async def run(*command: str, folder: Path | None = None, environment: dict[str, str] | None = None) -> None:
    """Run a command to its end.

    Raises:
        CannotBeHad: It is not there, or it failed.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=folder,
            env={**os.environ, **(environment or {})},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
    except OSError as error:
        raise CannotBeHad(f"{command[0]} does not run: {error}") from error
    try:
        output, _ = await asyncio.wait_for(process.communicate(), GET_SECONDS)
    except TimeoutError as error:
        process.kill()
        await process.wait()
        raise CannotBeHad(f"{' '.join(command[:3])} did not end within {GET_SECONDS:.0f} s") from error
    if process.returncode:
        lines = output.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        raise CannotBeHad(f"{' '.join(command[:3])} failed: {' '.join(lines[-2:])[:REASON_CHARS]}")


async def python() -> Path:
    """Return the Python of an environment that has the peers' Python packages."""
    folder = FOLDER / "python"
    program = folder / "bin" / "python"
    mark = folder / "packages"
    wanted = "\n".join(PYTHON_PACKAGES)
    if not mark.is_file() or mark.read_text() != wanted:
        await asyncio.to_thread(venv.create, folder, with_pip=True)
        await run(str(program), "-m", "pip", "install", "--quiet", *PYTHON_PACKAGES)
        mark.write_text(wanted)
    return program


async def restate_server() -> Path:
    """Return Restate's server, which its npm package brings along."""
    folder = FOLDER / "node"
    found = _restate_in(folder)
    if found is None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text('{"private": true}\n')
        await run("npm", "install", "--no-audit", "--no-fund", RESTATE_PACKAGE, folder=folder)
        found = _restate_in(folder)
    if found is None:
        raise CannotBeHad(f"{RESTATE_PACKAGE} has no server for {sys.platform}")
    return found


def _restate_in(folder: Path) -> Path | None:
    packages = (folder / "node_modules" / "@restatedev").glob("restate-server-*/bin/restate-server")
    return next(packages, None)


async def temporal_programs() -> tuple[Path, Path]:
    """Return Temporal's server and the tool that makes its tables, built from its Go module."""
    folder = FOLDER / "temporal"
    server, tool = (folder / "bin" / name for name in ("server", "sql"))
    if not (server.is_file() and tool.is_file()):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "go.mod").write_text("module peers.local/temporal\n\ngo 1.23\n")
        await _add_module(folder, TEMPORAL_MODULE, TEMPORAL_VERSIONS)
        for program, path in zip(TEMPORAL_PROGRAMS, (server, tool), strict=True):
            await run("go", "build", "-mod=mod", "-o", str(path), f"{TEMPORAL_MODULE}/{program}", folder=folder)
    return server, tool


async def _add_module(folder: Path, module: str, versions: tuple[str, ...]) -> None:
    reasons = []
    for version in versions:
        try:
            await run("go", "get", f"{module}@{version}", folder=folder)
        except CannotBeHad as error:
            reasons.append(str(error))
        else:
            return
    raise CannotBeHad("; ".join(reasons))


async def dtm() -> None:
    """Ask for dtm, which nothing here measures yet, as its module could not be had where this was written."""
    folder = FOLDER / "dtm"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "go.mod").write_text("module peers.local/dtm\n\ngo 1.23\n")
    await _add_module(folder, DTM_MODULE, ("latest",))
    raise CannotBeHad("its module is to be had here, and nothing measures it yet")
