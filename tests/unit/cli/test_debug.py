"""`run` and `debug`, against the real api over a runtime in memory whose actions succeed at once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from google.protobuf import json_format

from sagaline.cli.main import main
from sagaline.v1 import saga_service_pb2 as pb
from sagaline_server.core.entries import Kind
from sagaline_server.core.values import Failure, Payload
from tests.unit.api.conftest import Served, served
from tests.unit.api.fake_runtime import DONE, NO_EFFECT
from tests.unit.api.specs import trip

__all__ = ["served"]

Command = Callable[..., Awaitable[Result]]


def succeed(node: str, kind: Kind) -> Payload | Failure | None:
    """Every action succeeds but that of a node named "fail"."""
    return NO_EFFECT if node == "fail" else DONE


@pytest.fixture
def command(served: Served) -> Command:
    """Run a command beside the server: `await command("get", "t-1")`."""
    served.runtime.ending = succeed

    async def run(*arguments: str, lines: tuple[str, ...] = ()) -> Result:
        given = "".join(f"{line}\n" for line in lines)
        return await asyncio.to_thread(CliRunner().invoke, main, ["--address", served.address, *arguments], given)

    return run


@pytest.fixture
def spec_file(tmp_path: Path) -> str:
    file = tmp_path / "trip.json"
    file.write_text(json_format.MessageToJson(trip()))
    return str(file)


async def test_run_waits_for_the_end(command: Command, spec_file: str) -> None:
    result = await command("run", spec_file, "--id", "t-1")
    assert result.exit_code == 0, result.output
    assert "state:     succeeded" in result.stdout


async def test_run_until_a_node_stops_there_and_dumps(command: Command, spec_file: str, tmp_path: Path) -> None:
    """Rule 15: a run to a breakpoint can dump the log there."""
    dump = tmp_path / "dump"
    result = await command("run", spec_file, "--id", "t-1", "--until", "hotel", "--dump", str(dump))
    assert result.exit_code == 0, result.output
    assert result.stderr == "held: hotel\n"
    kinds = [
        next(iter(set(json.loads(line)["entry"]) - {"seq", "epoch", "time"}))
        for line in dump.read_text().splitlines()[1:]
    ]
    assert kinds[-1] == "node_succeeded"
    assert kinds.count("attempt_started") == 1
    replayed = CliRunner().invoke(main, ["replay", str(dump)])
    assert "the gate: a breakpoint at hotel" in replayed.stdout
    assert (await command("step", "t-1")).exit_code == 0
    assert "state:     succeeded" in (await command("wait", "t-1")).stdout


async def test_run_that_never_comes_to_its_breakpoint(command: Command, spec_file: str) -> None:
    result = await command("run", spec_file, "--until", "pay:undo")
    assert result.exit_code == 1
    assert result.stderr == "it never came to a breakpoint\n"


async def test_debug_steps_from_start_to_end(command: Command, served: Served) -> None:
    await served.sagas.CreateSaga(pb.CreateSagaRequest(saga=trip("t-1", start_paused=True)))
    lines = ("step", "show hotel", "nodes", "log 2", "s 2", "quit")
    result = await command("debug", "t-1", lines=lines)
    assert result.exit_code == 0, result.output
    prompts = result.stdout.split("(saga) ")
    assert "next:   pay" in prompts[0]
    assert "next:   hotel" in prompts[1]
    assert 'input payment:  pay = "done"' in prompts[2]
    assert "pay      succeeded" in prompts[3]
    assert len(prompts[4].splitlines()) == 2
    assert prompts[5].splitlines() == ["state:   succeeded", 'output:  "done"']


async def test_debug_says_what_it_leaves_paused(command: Command, served: Served) -> None:
    await served.sagas.CreateSaga(pb.CreateSagaRequest(saga=trip("t-1", start_paused=True)))
    left = await command("debug", "t-1", lines=())
    assert left.stderr == "it stays paused: `sagaline resume t-1` lets it go on\n"


async def test_debug_runs_from_breakpoint_to_breakpoint(command: Command, served: Served) -> None:
    await served.sagas.CreateSaga(pb.CreateSagaRequest(saga=trip("t-1", start_paused=True)))
    lines = (
        "break hotel confirm:action",
        "continue",
        "c",
        "b -",
        "b",
        "w",
        "pause",
        "log x",
        "nonsense",
        "show x",
        "help",
    )
    result = await command("debug", "t-1", lines=lines)
    prompts = result.stdout.split("(saga) ")
    assert prompts[1] == "hotel, confirm (action)\n"
    assert "next:     hotel\nheld by:  a breakpoint at hotel\n" in prompts[2]
    assert "next:     confirm\nheld by:  a breakpoint at confirm\n" in prompts[3]
    assert prompts[4] == prompts[5] == "no breakpoints\n"
    assert "state:   succeeded" in prompts[6]
    assert prompts[9] == "no command 'nonsense'; \"help\" lists them\n"
    assert prompts[11].startswith("where ")
    assert [line.split(":")[0] for line in result.stderr.splitlines()] == ["error"] * 3


async def test_debug_unwinds(command: Command, served: Served) -> None:
    await served.sagas.CreateSaga(pb.CreateSagaRequest(saga=trip("t-1", start_paused=True)))
    result = await command("debug", "t-1", lines=("step", "unwind enough of it", "step", "where"))
    assert result.stdout.split("(saga) ")[-2].splitlines()[0] == "state:    unwound"
    assert served.runtime.log("t-1")[-1].seq > 0


async def test_debug_pauses_a_saga_that_runs(command: Command, served: Served) -> None:
    served.runtime.ending = lambda *_: None
    await served.sagas.CreateSaga(pb.CreateSagaRequest(saga=trip("t-1")))
    result = await command("debug", "t-1")
    assert "state:      running, paused" in result.stdout
    assert "in flight:  pay" in result.stdout


async def test_debug_steps_through_the_elements_of_a_map(command: Command, served: Served) -> None:
    spec = trip("t-1", start_paused=True)
    del spec.graph.nodes[:]
    spec.graph.result = ""
    spec.params.json = '{"hosts":["a","b"]}'
    node = spec.graph.nodes.add(name="boot")
    node.map.items.params.SetInParent()
    node.map.items.path.append("hosts")
    node.map.index = "number"
    node.map.action.action = "boot"
    await served.sagas.CreateSaga(pb.CreateSagaRequest(saga=spec))
    result = await command("debug", "t-1", lines=("step", "show boot[1]", "show boot[0]", "nodes", "c"))
    prompts = result.stdout.split("(saga) ")
    assert prompts[0] == "state:    running, paused\nnext:     boot[0], boot[1]\nwaiting:  boot\n"
    assert prompts[1] == "state:    running, paused\nnext:     boot[1]\nwaiting:  boot\n"
    assert 'input item:    params.hosts.1 = "b"' in prompts[2]
    assert "input number:  index = 1" in prompts[2]
    assert 'output:        "done"' in prompts[3]
    assert [line.split()[0] for line in prompts[4].splitlines()] == ["NODE", "boot[0]", "boot[1]", "boot"]
    assert 'output:  ["done","done"]' in prompts[5]
