"""`make simulate`: many seeds, one seed with its trace, or a planted bug until it is caught."""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import nullcontext

import msgspec

HASH_SEED = "0"
"""Sets of strings have an order of their own in each process, unless this is fixed."""


class Result(msgspec.Struct, frozen=True):
    """What became of one seed."""

    seed: int
    violation: str
    """Empty: none."""
    digest: int
    seen: Counter[str]
    """Kinds of entries and of calls."""


def run_one(seed: int, mutant: str = "") -> Result:
    """Run a seed."""
    from tests.simulation.mutants import MUTANTS  # noqa: PLC0415 - after the process has its hash seed
    from tests.simulation.simulation import run_seed  # noqa: PLC0415 - as above

    with MUTANTS[mutant].planted() if mutant else nullcontext():
        outcome = run_seed(seed)
    gc.collect()
    violation = "" if outcome.violation is None else f"{outcome.options}\n  {outcome.violation}"
    return Result(seed, violation, outcome.digest, outcome.seen)


def _run_part(seeds: Sequence[int]) -> list[Result]:
    _settle_down()
    return [run_one(seed) for seed in seeds]


def _settle_down() -> None:
    """Leave what is imported out of every garbage collection."""
    import tests.simulation.mutants  # noqa: F401, PLC0415 - as in run_one

    gc.collect()
    gc.freeze()


PART = 10
"""Seeds that a process takes at a time."""


def results(seeds: Sequence[int], jobs: int) -> Iterator[Result]:
    """Run seeds, in several processes if asked to; their results in order."""
    if jobs == 1:
        _settle_down()
        yield from map(run_one, seeds)
        return
    parts = [seeds[start : start + PART] for start in range(0, len(seeds), PART)]
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        for part in pool.imap(_run_part, parts):
            yield from part


def simulate(first: int, count: int, jobs: int, *, covering: bool = False, telling: bool = False) -> int:
    """Run many seeds; returns the exit code.

    Args:
        first: First of the seeds.
        count: How many.
        jobs: Processes.
        covering: Print what was drawn and seen.
        telling: Print the digest of each run.
    """
    began = time.monotonic()
    done = 0
    seen: Counter[str] = Counter()
    for result in results(range(first, first + count), jobs):
        if result.violation:
            print(result.violation)
            print(f"SIMULATE FAILED seed={result.seed}; repeat it with its trace: make simulate SEED={result.seed}")
            return 1
        done += 1
        if telling:
            print(f"{result.seed} {result.digest:08x}")
        seen.update(result.seen)
    if covering:
        print_coverage(range(first, first + count), seen)
    minutes = (time.monotonic() - began) / 60
    print(f"SIMULATE OK seeds={done} violations=0 seeds_per_min={round(done / minutes)}")
    return 0


def print_coverage(seeds: Sequence[int], seen: Counter[str] | None = None) -> None:
    """Print how often each feature was drawn, and was seen where the seeds have run."""
    from tests.simulation.coverage import DRAWN, SEEN, drawn, table  # noqa: PLC0415 - as in run_one

    counts: Counter[str] = Counter()
    for seed in seeds:
        counts.update(drawn(seed))
    print("drawn", table(DRAWN, counts, len(seeds)))
    if seen is not None:
        print("seen", table(SEEN, seen, len(seeds)))


def hunt(name: str, first: int, count: int) -> tuple[int, str]:
    """Run seeds with a planted bug; returns 1 when it is caught, as a bug should, and what there is to say."""
    from tests.simulation.mutants import MUTANTS  # noqa: PLC0415 - as in run_one
    from tests.simulation.options import draw  # noqa: PLC0415 - as in run_one

    ran = 0
    for seed in range(first, first + count):
        if not draw(seed).has(MUTANTS[name].needs):
            continue
        ran += 1
        result = run_one(seed, name)
        if result.violation:
            healthy = run_one(seed)
            if healthy.violation:
                return 2, f"{healthy.violation}\nSIMULATE FAILED seed={seed}, without the planted bug too"
            told = f"SIMULATE MUTANT {name} caught seed={seed} seeds={seed - first + 1} run={ran}"
            return 1, f"{result.violation}\n{told}"
    return 0, f"SIMULATE MUTANT {name} NOT caught seeds={count} run={ran}"


def _hunt(given: tuple[str, int, int]) -> tuple[int, str]:
    _settle_down()
    return hunt(*given)


def hunt_all(first: int, count: int, jobs: int) -> int:
    """Hunt every planted bug; returns 0 when all are caught."""
    from tests.simulation.mutants import MUTANTS  # noqa: PLC0415 - as in run_one

    hunts = [(name, first, count) for name in MUTANTS]
    caught = 0
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        for code, told in pool.imap(_hunt, hunts):
            print(told.splitlines()[-1], flush=True)
            caught += code == 1
    print(f"SIMULATE MUTANTS caught={caught} of={len(MUTANTS)}")
    return 0 if caught == len(MUTANTS) else 1


def trace(seed: int, mutant: str) -> int:
    """Run one seed and print everything that happens; returns the exit code."""
    from tests.simulation.mutants import MUTANTS  # noqa: PLC0415 - as in run_one
    from tests.simulation.options import draw  # noqa: PLC0415 - as in run_one
    from tests.simulation.simulation import run_seed  # noqa: PLC0415 - as in run_one

    print(draw(seed))
    with MUTANTS[mutant].planted() if mutant else nullcontext():
        outcome = run_seed(seed, tracing=True)
    print("\n".join(outcome.trace))
    print(f"  {outcome.seconds:.1f} s in {outcome.rounds} rounds, digest {outcome.digest:08x}; {outcome.counts}")
    if outcome.violation is not None:
        print(f"  {outcome.violation}")
        print(f"SIMULATE FAILED seed={seed}")
        return 1
    print("SIMULATE OK seeds=1 violations=0 seeds_per_min=0")
    return 0


def list_mutants() -> int:
    """Print the planted bugs."""
    from tests.simulation.mutants import MUTANTS  # noqa: PLC0415 - as in run_one

    for mutant in MUTANTS.values():
        print(f"{mutant.name:<24} {mutant.what}")
    return 0


def main() -> int:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(prog="make simulate")
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--mutant", default="")
    parser.add_argument("--coverage", choices=["drawn", "seen"], help="what the seeds have, without and with running")
    parser.add_argument("--digests", action="store_true", help="print a digest of each run")
    parser.add_argument("--mutants", choices=["list", "all"])
    given = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != HASH_SEED:
        environment = {**os.environ, "PYTHONHASHSEED": HASH_SEED}
        os.execve(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]], environment)
    if given.mutants == "list":
        return list_mutants()
    if given.mutants == "all":
        return hunt_all(given.first, given.seeds, given.jobs)
    if given.seed is not None:
        return trace(given.seed, given.mutant)
    if given.mutant:
        code, told = hunt(given.mutant, given.first, given.seeds)
        print(told)
        return code
    if given.coverage == "drawn":
        print_coverage(range(given.first, given.first + given.seeds))
        return 0
    return simulate(given.first, given.seeds, given.jobs, covering=given.coverage == "seen", telling=given.digests)
