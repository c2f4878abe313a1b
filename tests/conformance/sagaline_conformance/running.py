"""Finds behaviours and runs them against a command, several at a time."""

from __future__ import annotations

import asyncio
import importlib
import tempfile
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import Unexpected

BEHAVIOURS = Path(__file__).parent / "behaviours"
WAIT_SECONDS = 60.0
"""After so long a script gives up waiting, unless told otherwise."""
SCRIPT_SECONDS = 400.0
"""No script takes longer."""
OUTPUT_LINES = 30
"""Of a worker's output that are shown after a failure."""

Script = Callable[[Kit], Awaitable[None]]


@dataclass(frozen=True)
class Behaviour:
    """One thing that every worker does."""

    name: str
    expected: str
    """Its README, without the title."""

    def script(self) -> Script:
        module = importlib.import_module(f"sagaline_conformance.behaviours.{self.name}.script")
        script: Script = module.script
        return script


@dataclass(frozen=True)
class Verdict:
    """How a worker did."""

    behaviour: Behaviour
    problem: str = ""
    """Empty: it passed."""
    notes: Sequence[str] = ()
    """The frames that went by."""
    output: str = ""


def behaviours(only: Sequence[str] = ()) -> list[Behaviour]:
    """All of them, or those named.

    Raises:
        KeyError: There is none of this name.
    """
    found = {
        page.parent.name: Behaviour(page.parent.name, page.read_text().partition("\n")[2].strip())
        for page in sorted(BEHAVIOURS.glob("*/README.md"))
    }
    return [found[name] for name in only] if only else list(found.values())


async def run_all(
    command: Sequence[str],
    chosen: Sequence[Behaviour],
    *,
    jobs: int,
    wait: float = WAIT_SECONDS,
    environment: Mapping[str, str] | None = None,
    on_verdict: Callable[[Verdict], None] = lambda _: None,
) -> list[Verdict]:
    """Run behaviours against a worker; verdicts come in the order of the behaviours."""
    turn = asyncio.Semaphore(jobs)

    async def run(behaviour: Behaviour) -> Verdict:
        async with turn:
            verdict = await run_one(command, behaviour, wait, dict(environment or {}))
        on_verdict(verdict)
        return verdict

    return await asyncio.gather(*(run(behaviour) for behaviour in chosen))


async def run_one(command: Sequence[str], behaviour: Behaviour, wait: float, environment: dict[str, str]) -> Verdict:
    """Run one behaviour."""
    with tempfile.TemporaryDirectory(prefix="sagaline-conformance-") as folder:
        kit = Kit(command, Path(folder), wait, environment)
        problem = ""
        try:
            async with asyncio.timeout(SCRIPT_SECONDS):
                await behaviour.script()(kit)
            kit.check()
        except Unexpected as error:
            problem = "; ".join([str(error), *dict.fromkeys(kit.violations)])
        except TimeoutError:
            problem = f"it took longer than {SCRIPT_SECONDS:g} s"
        except Exception:  # noqa: BLE001 - told, whatever it is: the other behaviours go on
            problem = "the script broke down: " + traceback.format_exc()
        output = "".join(program.output() for program in kit.programs)
        await kit.close()
    last = "\n".join(output.splitlines()[-OUTPUT_LINES:])
    return Verdict(behaviour, problem, kit.notes, last)
