"""The command line: `sagaline-conformance -- COMMAND…`, and `--language` for those of this repository."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from sagaline_conformance.languages import languages
from sagaline_conformance.running import WAIT_SECONDS, Behaviour, Verdict, behaviours, run_all

JOBS = max(2, min(os.cpu_count() or 2, 8))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the kit; the exit code is 0 only if every behaviour was shown by every language."""
    options = _options(arguments)
    if options.list:
        for behaviour in behaviours():
            print(f"{behaviour.name:28} {behaviour.expected.splitlines()[0]}")
        return 0
    try:
        chosen = behaviours(options.only)
        if options.command:
            return _conclude(chosen, {"worker": _run(options.command, chosen, options)}, {})
        return _run_languages(chosen, options)
    except KeyError as error:
        print(f"there is no {error}", file=sys.stderr)
        return 2


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="sagaline-conformance", description="Hold a worker of any language to the worker protocol."
    )
    parser.add_argument("--language", default="all", help="of this repository: one of languages.toml, or all")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="this behaviour; may be repeated")
    parser.add_argument("--list", action="store_true", help="name the behaviours")
    parser.add_argument("--jobs", type=int, default=JOBS, help=f"behaviours at a time; {JOBS} if not given")
    parser.add_argument("--wait", type=float, default=WAIT_SECONDS, help="seconds after which a script gives up")
    parser.add_argument("--root", type=Path, default=Path.cwd(), help="of the repository, for --language")
    parser.add_argument("-v", "--verbose", action="store_true", help="print the frames of what fails")
    parser.add_argument("command", nargs="*", help="the worker, after --")
    return parser.parse_args(arguments)


def _run(command: Sequence[str], chosen: Sequence[Behaviour], options: argparse.Namespace) -> list[Verdict]:
    def tell(verdict: Verdict) -> None:
        if not verdict.problem:
            print(f"  ok     {verdict.behaviour.name}", flush=True)
            return
        print(f"  FAILED {verdict.behaviour.name}: {verdict.problem}", flush=True)
        print(_indented("expected", verdict.behaviour.expected))
        print(_indented("the worker printed", verdict.output))
        if options.verbose:
            print(_indented("frames", "\n".join(verdict.notes)))

    return asyncio.run(run_all(command, chosen, jobs=options.jobs, wait=options.wait, on_verdict=tell))


def _indented(title: str, text: str) -> str:
    return f"    -- {title}:\n" + "\n".join(f"       {line}" for line in text.splitlines())


def _run_languages(chosen: Sequence[Behaviour], options: argparse.Namespace) -> int:
    root = options.root.resolve()
    verdicts: dict[str, list[Verdict]] = {}
    skipped: dict[str, str] = {}
    for language in languages(root, options.language):
        print(f"{language.name}: building", flush=True)
        problem = language.missing() or language.make(root)
        if problem:
            skipped[language.name] = problem
            print(f"{language.name}: SKIPPED, and that is a failure: {problem}", flush=True)
            continue
        verdicts[language.name] = _run(language.command(root), chosen, options)
    return _conclude(chosen, verdicts, skipped)


def _conclude(chosen: Sequence[Behaviour], verdicts: dict[str, list[Verdict]], skipped: dict[str, str]) -> int:
    names = [*verdicts, *skipped]
    print(f"\n{'':28} " + " ".join(f"{name:>10}" for name in names))
    for number, behaviour in enumerate(chosen):
        row = ["FAILED" if verdicts[name][number].problem else "ok" for name in verdicts]
        row += ["skipped"] * len(skipped)
        print(f"{behaviour.name:28} " + " ".join(f"{word:>10}" for word in row))
    for name, why in skipped.items():
        print(f"SKIPPED: {name}: {why.splitlines()[0]}")
    passed = sum(not verdict.problem for of in verdicts.values() for verdict in of)
    is_ok = bool(verdicts) and not skipped and passed == len(chosen) * len(verdicts)
    word = "OK" if is_ok else "FAILED"
    behaviour_count = len(chosen)
    print(
        f"CONFORMANCE {word} languages={len(verdicts)} behaviours={behaviour_count} passed={passed} "
        f"skipped={len(skipped) * behaviour_count}"
    )
    return 0 if is_ok else 1
