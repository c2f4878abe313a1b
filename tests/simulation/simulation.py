"""One run: a safety phase with faults, then everything heals, then all that was promised has to come about."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import structlog

from tests.simulation.checkers import all_checkers
from tests.simulation.coverage import Tally
from tests.simulation.faults import Faults
from tests.simulation.history import History, Violation
from tests.simulation.loop import Livelock, SimPolicy
from tests.simulation.options import Options, draw
from tests.simulation.scene import Scene
from tests.simulation.sec import simulated_app

LIVENESS_SECONDS = 900.0
"""Virtual time in which everything has to end once nothing is in its way."""
LOOK_SECONDS = 2.5


class Outcome(msgspec.Struct, frozen=True):
    """What became of a run."""

    options: Options
    violation: Violation | None
    seconds: float
    """Virtual."""
    rounds: int
    digest: int
    counts: dict[str, int]
    seen: Counter[str]
    """Kinds of entries and of calls."""
    trace: list[str]


def run_seed(seed: int, *, tracing: bool = False) -> Outcome:
    """Run a seed, always in the same way."""
    return run(draw(seed), tracing=tracing)


def run(options: Options, *, tracing: bool = False) -> Outcome:
    """Run what was drawn."""
    random.seed(options.seed)  # some of the SDK draws its jitter there
    scene = Scene(options, tracing=tracing)
    tally = Tally()
    scene.history.add(tally)
    for checker in all_checkers(scene):
        scene.history.add(checker)
    with _surroundings(scene.history), simulated_app(), scene.sim.in_charge():
        try:
            complete = _phases(scene)
        except Livelock as livelock:
            complete = False
            scene.history.fail("livelock", str(livelock))
        if scene.history.violation is None:
            if not complete:
                scene.history.fail("liveness", _what_is_left(scene))
            scene.history.finish(complete=complete)
        scene.kill_all()
    return Outcome(
        options,
        scene.history.violation,
        scene.sim.now,
        scene.sim.rounds,
        scene.history.digest,
        scene.history.counts,
        tally.counts + scene.network.calls,
        scene.history.trace,
    )


def _phases(scene: Scene) -> bool:
    """Go through the phases; returns whether everything has come to its end."""
    sim, options = scene.sim, scene.options
    faults = Faults(scene)
    _look(scene)
    scene.start_all()
    faults.begin()
    ids, ended = set(scene.saga_ids), scene.client.ended
    sim.run(options.seconds, lambda: ended >= ids)
    if sim.stopped:
        return False
    scene.history.note("simulation", "everything heals")
    faults.heal()
    scene.shelf.is_full = False
    scene.client.operator.is_calm = True
    scene.client.operator.works = 1.0
    return sim.run(sim.now + LIVENESS_SECONDS, lambda: ended >= ids and scene.is_whole() and scene.is_swept())


def _what_is_left(scene: Scene) -> str:
    left = [saga_id for saga_id in scene.saga_ids if saga_id not in scene.client.ended]
    stored = [saga_id for saga_id in left if saga_id in scene.unfinished()]
    dead = [host.name for host in scene.secs if not scene.lives(scene.live_secs[host.name])]
    return (
        f"after {LIVENESS_SECONDS:g} s without a fault clients still wait for {left};"
        f" not ended are {stored}; SECs that do not live: {dead}; sagas in the store: {len(scene.stored())}"
    )


def _look(scene: Scene) -> None:
    scene.history.looked()
    scene.sim.after(LOOK_SECONDS, lambda: _look(scene))


@contextmanager
def _surroundings(history: History) -> Iterator[None]:
    """Quiet logs, no garbage collection in the middle, and loops of the processes for code that makes its own."""
    policy = asyncio.get_event_loop_policy()
    asyncio.set_event_loop_policy(SimPolicy())
    _quieten(history)
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        asyncio.set_event_loop_policy(policy)
        structlog.reset_defaults()
        logging.getLogger("sagaline").setLevel(logging.NOTSET)
        if collecting:
            gc.enable()


def _quieten(history: History) -> None:
    """Let production's logs go into the trace; what it calls an exception is a violation."""

    def keep(_logger: object, method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        if event.get("exc_info"):
            history.fail("trouble", f"logged: {event}: {sys.exc_info()[1]!r}")
        if history.tracing:
            history.note("log", f"{method} {event}")
        raise structlog.DropEvent

    structlog.configure(
        processors=[keep],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if history.tracing else logging.ERROR),
        cache_logger_on_first_use=False,
    )
    logging.getLogger("sagaline").setLevel(logging.CRITICAL)
