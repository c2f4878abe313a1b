"""Run the demonstration: real sagas that run, fail, unwind, get stuck and are resolved, over a SEC that is killed.

    scripts/demo.py [--store sqlite|etcd] [--fast] [--sagas N] [--keep]

The last line is `DEMO OK sagas=... succeeded=... unwound=... stuck=0 violations=0 restarts=1` (exit 0), or
`DEMO FAILED: ...` (exit 1).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from sagaline_examples.demo.plan import SAGAS_MIN
from sagaline_examples.demo.story import Options, Outcome, Story

ROOT = Path(__file__).resolve().parent.parent
SAGAS = 40
SAGAS_FAST = 20


def main() -> int:
    options = parse()
    folder = Path(tempfile.mkdtemp(prefix="sagaline-demo-"))
    keep = options.keep
    try:
        outcome = asyncio.run(tell(Options(options.store, options.sagas, etcd_binary(options.store)), folder))
        problems = outcome.problems()
        verdict = f"DEMO FAILED: {'; '.join(problems)}" if problems else f"DEMO OK {outcome.line()}"
        keep = keep or bool(problems)
    except (KeyboardInterrupt, asyncio.CancelledError):
        verdict = "DEMO FAILED: interrupted"
    except Exception as error:  # noqa: BLE001 - whatever it is, the last line says so
        verdict = f"DEMO FAILED: {reason(error)}"
        keep = True
    keep_or_remove(folder, keep=keep)
    print(verdict)
    return 0 if verdict.startswith("DEMO OK") else 1


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run the demonstration.")
    parser.add_argument("--store", choices=["sqlite", "etcd"], default="sqlite", help="what the SEC keeps its logs in")
    parser.add_argument("--sagas", type=int, help=f"how many; {SAGAS} if not given, at least {SAGAS_MIN}")
    parser.add_argument("--fast", action="store_true", help=f"{SAGAS_FAST} sagas")
    parser.add_argument("--keep", action="store_true", help="keep the folder with the stores and logs")
    options = parser.parse_args()
    if options.sagas is None:
        options.sagas = SAGAS_FAST if options.fast else SAGAS
    if options.sagas < SAGAS_MIN or options.sagas % 2:
        parser.error(f"--sagas must be even and at least {SAGAS_MIN}, so that every outcome is seen")
    return options


async def tell(options: Options, folder: Path) -> Outcome:
    """Ctrl-C and SIGTERM alike cancel it, and its processes are stopped on the way out."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await Story(options, folder, Console()).tell()


def etcd_binary(store: str) -> str:
    if store != "etcd":
        return ""
    named = os.environ.get("SAGALINE_ETCD")
    if named:
        return named
    found = subprocess.run([str(ROOT / "scripts/ensure_etcd.sh")], stdout=subprocess.PIPE, text=True, check=True)
    return found.stdout.strip()


def reason(error: BaseException) -> str:
    """The one error inside the groups that it came in, in a line."""
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


def keep_or_remove(folder: Path, *, keep: bool) -> None:
    if keep:
        print(f"stores and logs are in {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
