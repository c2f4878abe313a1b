"""A server is retired: approved or reopened, and no way back once it is wiped."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from sagaline.errors import SagaUnwound
from sagaline.testing import SecMaker
from sagaline_examples.inventory import SERVERS, Inventory
from sagaline_examples.retire.actions import ACTIONS
from sagaline_examples.retire.graph import RETIRE
from sagaline_examples.retire.values import Approval, Retired, RetireRequest

SERVER = "z/rack-1"
CHECKS = ("assert_idempotent", "assert_unwinds", "assert_survives_crashes", "assert_undo_wins")
YES, NO = Approval(granted=True, by="ann"), Approval(granted=False, by="ann")


@pytest.fixture
def rack(world: Inventory) -> Inventory:
    world.stock(SERVERS, SERVER, 8)
    return world


def cores(world: Inventory) -> tuple[int, int, int]:
    """Return capacity, what is free and what is held."""
    with world.snapshot() as db:
        row = db.execute("SELECT capacity, free FROM servers WHERE name = ?", (SERVER,)).fetchone()
        (held,) = db.execute("SELECT total(amount) FROM reservations WHERE pool = ?", (SERVER,)).fetchone()
    return int(row[0]), int(row[1]), int(held)


def test_it_waits_for_the_approval_and_for_the_server_to_cool(sagaline_sec: SecMaker, rack: Inventory) -> None:
    saga = sagaline_sec(ACTIONS).create(RETIRE, RetireRequest(SERVER))
    saga.signal("approved", YES)
    assert saga.result() == Retired(SERVER, 8, "ann")
    assert cores(rack) == (0, 0, 0)


@pytest.mark.parametrize("answer", [NO, None])
def test_what_nobody_approves_is_reopened(sagaline_sec: SecMaker, rack: Inventory, answer: Approval | None) -> None:
    sec = sagaline_sec(ACTIONS)
    saga = sec.create(RETIRE, RetireRequest(SERVER))
    sec.advance(timedelta(hours=1))
    assert cores(rack) == (8, 0, 8)
    if answer is not None:
        saga.signal("approved", answer)
    with pytest.raises(SagaUnwound, match="NotApproved" if answer else "SignalTimeout"):
        saga.result()
    assert cores(rack) == (8, 8, 0)


def test_a_server_that_somebody_uses_is_left_alone(sagaline_sec: SecMaker, rack: Inventory) -> None:
    with rack.transaction() as db:
        db.execute("UPDATE servers SET free = free - 1 WHERE name = ?", (SERVER,))
    with pytest.raises(SagaUnwound, match="NotEmpty"):
        sagaline_sec(ACTIONS).run(RETIRE, RetireRequest(SERVER))


@pytest.mark.parametrize(
    "check", ["assert_idempotent", "assert_unwinds", "assert_survives_crashes", "assert_undo_wins"]
)
def test_its_actions_keep_their_promises(sagaline_sec: SecMaker, rack: Inventory, check: str) -> None:
    """Each round retires a server of its own."""
    racks = iter(range(2, 1_000))

    def params() -> RetireRequest:
        name = f"z/rack-{next(racks)}"
        rack.stock(SERVERS, name, 8)
        return RetireRequest(name)

    def rows() -> list[Any]:
        with rack.snapshot() as db:
            return db.execute("SELECT pool, amount FROM reservations ORDER BY pool").fetchall()

    sec = sagaline_sec(ACTIONS, snapshot=rows)
    getattr(sec, check)(RETIRE, params, signals={"approved": YES})
