"""Virtual time: what a simulated process can tell from a real one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.simulation.clocks import SimClock
from tests.simulation.loop import Livelock, ProcessLoop, Simulator


@pytest.fixture
def sim() -> Iterator[Simulator]:
    sim = Simulator(0)
    with sim.in_charge():
        yield sim


def process(sim: Simulator, rate: float = 1.0) -> ProcessLoop:
    return ProcessLoop(sim, SimClock(sim, rate=rate, booted=500.0))


def never() -> bool:
    return False


async def note_after(sim: Simulator, seconds: float, times: list[float]) -> None:
    over = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, over.set)
    await over.wait()
    times.append(sim.now)


def test_time_jumps_to_what_is_due(sim: Simulator) -> None:
    times: list[float] = []
    loop = process(sim)
    waits = [loop.create_task(note_after(sim, seconds, times)) for seconds in (3600.0, 5.0)]
    sim.run(10_000.0, lambda: len(times) == len(waits))
    assert times == [pytest.approx(5.0), pytest.approx(3600.0)]


def test_a_timer_goes_by_the_clock_of_its_process(sim: Simulator) -> None:
    times: list[float] = []
    wait = process(sim, rate=1.25).create_task(note_after(sim, 100.0, times))
    sim.run(1000.0, wait.done)
    assert times == [pytest.approx(80.0)]


def test_a_stopped_process_does_nothing_until_it_goes_on(sim: Simulator) -> None:
    times: list[float] = []
    loop = process(sim)
    wait = loop.create_task(note_after(sim, 10.0, times))
    sim.at(1.0, loop.pause)
    sim.at(50.0, loop.resume)
    sim.run(1000.0, wait.done)
    assert times == [50.0]


def test_a_killed_process_never_does_anything_again(sim: Simulator) -> None:
    times: list[float] = []
    loop = process(sim)
    wait = loop.create_task(note_after(sim, 10.0, times))
    sim.at(1.0, loop.kill)
    sim.run(1000.0, never)
    assert not times
    assert not wait.done()


def test_a_process_can_be_struck_in_the_middle_of_what_it_does(sim: Simulator) -> None:
    seen: list[int] = []

    async def count() -> None:
        for number in range(10):
            seen.append(number)
            await asyncio.sleep(0)

    loop = process(sim)
    counting = loop.create_task(count())
    loop.after_rounds(3, loop.kill)
    sim.run(10.0, never)
    assert seen == [0, 1, 2]
    assert not counting.done()


def test_what_goes_round_and_round_is_noticed(sim: Simulator) -> None:
    loop = process(sim)

    def again() -> None:
        loop.call_soon(again)

    loop.call_soon(again)
    with pytest.raises(Livelock):
        sim.run(10.0, never)


def test_what_two_processes_share_by_mistake_is_noticed(sim: Simulator) -> None:
    event = asyncio.Event()
    one, other = process(sim), process(sim)
    first, second = one.create_task(event.wait()), other.create_task(event.wait())
    sim.run(10.0, never)
    assert not first.done()
    assert isinstance(second.exception(), RuntimeError)
