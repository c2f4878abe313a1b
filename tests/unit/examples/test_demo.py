"""The parts of the demonstration: what it plans, what it shows, what it demands, and the processes it keeps."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from rich.console import Console

from sagaline.v1 import failure_pb2, log_pb2, saga_pb2
from sagaline_examples.demo import plan
from sagaline_examples.demo.board import Board
from sagaline_examples.demo.processes import NotReady, Process, Processes
from sagaline_examples.demo.story import Outcome
from sagaline_examples.inventory import Inventory
from sagaline_examples.rows import read_rows


@pytest.mark.parametrize("sagas", [plan.SAGAS_MIN, 20, 40, 100])
def test_the_plan_has_trouble_of_every_kind_and_less_than_everybody_asks_for(tmp_path: Path, sagas: int) -> None:
    orders = plan.orders(sagas)
    assert len({order.saga_id for order in orders}) == sagas
    params = " ".join(order.spec.params.json for order in orders)
    for trouble in (*plan.VM_TROUBLES.values(), *plan.TRIP_TROUBLES.values()):
        assert f'"{trouble}"' in params
    assert params.count('"undo_fails"') == 1
    inventory = Inventory(tmp_path / "inventory.db", durable=False)
    plan.stock(inventory, sagas)
    capacity = {(pool.kind, pool.name): pool.capacity for pool in read_rows(inventory).pools}
    inventory.close()
    cores = sum(capacity[key] for key in capacity if key[0] == "servers" and key[1].startswith("a/"))
    assert cores < (sagas // 2 - 1) * 2
    assert capacity["hotels", plan.HOTEL] < sagas // 2


# ---- the board ---------------------------------------------------------------------------------------------


def entry(**kind: object) -> log_pb2.LogEntry:
    return log_pb2.LogEntry(**kind)  # type: ignore[arg-type]  # each test names one kind


FAILURE = failure_pb2.Failure(type="NoCapacity", message="full")
FAILED = entry(node_failed=log_pb2.NodeFailed(node="hotel", failure=FAILURE))
STUCK = entry(undo_failed=log_pb2.UndoFailed(node="pay", failure=FAILURE))
RESOLVED = entry(operator_resolved=log_pb2.OperatorResolved(node="pay"))
UNWOUND = entry(saga_finished=log_pb2.SagaFinished(state=saga_pb2.SAGA_STATE_UNWOUND))
SUCCEEDED = entry(saga_finished=log_pb2.SagaFinished(state=saga_pb2.SAGA_STATE_SUCCEEDED))


@pytest.mark.parametrize(
    ("entries", "state"),
    [
        ([], "running"),
        ([SUCCEEDED], "succeeded"),
        ([FAILED], "unwinding"),
        ([entry(unwind_requested=log_pb2.UnwindRequested())], "unwinding"),
        ([FAILED, STUCK], "stuck"),
        ([FAILED, STUCK, FAILED], "stuck"),
        ([FAILED, STUCK, RESOLVED], "unwinding"),
        ([FAILED, STUCK, RESOLVED, UNWOUND], "unwound"),
    ],
)
def test_the_board_knows_the_state_from_the_log(entries: list[log_pb2.LogEntry], state: str) -> None:
    board = Board(["trip"], Console(file=io.StringIO()))
    for each in entries:
        board.take("trip", each)
    assert dict(board.states()) == {state: 1}


def test_the_board_tells_the_end_of_each_saga_and_why() -> None:
    out = io.StringIO()
    board = Board(["trip", "vm"], Console(file=out, width=120))
    for each in (FAILED, UNWOUND):
        board.take("trip", each)
    board.take("vm", SUCCEEDED)
    assert [line.split(maxsplit=1)[1] for line in out.getvalue().splitlines()] == [
        "trip     unwound    hotel: NoCapacity: full",
        "vm       succeeded",
    ]
    assert board.finished() == 2


async def test_the_board_says_what_it_waited_for_in_vain() -> None:
    board = Board(["trip"], Console(file=io.StringIO()))
    with pytest.raises(TimeoutError, match=r"an end: not within 0 s; sagas are \{'running': 1\}"):
        await board.until(lambda board: board.finished() == 1, "an end", 0)


# ---- the verdict -------------------------------------------------------------------------------------------


def outcome() -> Outcome:
    capacity = failure_pb2.Failure(type="NoCapacity")
    ends = [
        saga_pb2.Saga(saga_id="vm", state=saga_pb2.SAGA_STATE_SUCCEEDED),
        saga_pb2.Saga(saga_id="trip", state=saga_pb2.SAGA_STATE_UNWOUND, failure=capacity),
        saga_pb2.Saga(saga_id="stuck", state=saga_pb2.SAGA_STATE_UNWOUND),
    ]
    return Outcome(3, restarts=1, stuck_seen=1, retried=1, ended_before_restart=1, ends=ends)


def test_the_last_line_is_as_other_programs_read_it() -> None:
    assert outcome().line() == "sagas=3 succeeded=1 unwound=2 stuck=0 violations=0 restarts=1"
    assert outcome().problems() == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"violations": 1}, "1 violations"),
        ({"restarts": 0}, "0 restarts"),
        ({"restarts": 2}, "2 restarts"),
        ({"stuck_seen": 0}, "0 sagas got stuck"),
        ({"retried": 0}, "no action was tried again"),
        ({"ended_before_restart": 3}, "all sagas had ended"),
        ({"fallen": ["worker-1"]}, "ended by themselves: worker-1"),
        ({"sagas": 4}, "4 sagas created, 1 succeeded, 2 unwound"),
        ({"ends": []}, "no saga succeeded"),
    ],
)
def test_what_was_not_shown_is_a_problem(change: dict[str, object], problem: str) -> None:
    seen = outcome()
    for name, value in change.items():
        setattr(seen, name, value)
    assert any(problem in each for each in seen.problems())


# ---- the processes -----------------------------------------------------------------------------------------

READY_THEN_WAIT = "import signal; print('all ready', flush=True); signal.pause()"


async def test_a_process_is_ready_when_it_says_so_and_is_stopped_in_the_end(tmp_path: Path) -> None:
    async with Processes(tmp_path) as processes:
        process = await processes.start("child", [sys.executable, "-c", READY_THEN_WAIT], "ready")
        await process.ready()
        assert process.running()
        assert processes.ended() == []
    assert not process.running()
    assert process.tail() == "  child: all ready"


async def test_a_process_that_ends_before_it_is_ready_is_told_with_its_last_words(tmp_path: Path) -> None:
    async with Processes(tmp_path) as processes:
        process = await processes.start("child", [sys.executable, "-c", "print('no disk'); exit(3)"], "ready")
        with pytest.raises(NotReady, match="child ended before it was ready\n  child: no disk"):
            await process.ready()
        await process.stop()
        assert processes.ended() == [process]


async def test_processes_are_stopped_when_the_story_breaks_off(tmp_path: Path) -> None:
    begun: list[Process] = []

    async def story() -> None:
        async with Processes(tmp_path) as processes:
            begun.append(await processes.start("child", [sys.executable, "-c", READY_THEN_WAIT], "ready"))
            raise RuntimeError("broke off")

    with pytest.raises(RuntimeError, match="broke off"):
        await story()
    assert [process.running() for process in begun] == [False]


async def test_a_killed_process_is_gone_at_once(tmp_path: Path) -> None:
    async with Processes(tmp_path) as processes:
        process = await processes.start("child", [sys.executable, "-c", READY_THEN_WAIT], "ready")
        await process.ready()
        await process.kill()
        assert not process.running()
        processes.forget(process)
        assert processes.ended() == []
