"""A saga that is being created is not forgotten by what happens meanwhile."""

from __future__ import annotations

import asyncio

from sagaline.v1 import worker_service_pb2 as pb
from tests.unit.dispatch.messages import hello
from tests.unit.ownership.desk import Desk
from tests.unit.ownership.waiting import until


async def test_a_worker_that_comes_while_a_saga_is_written_gets_it() -> None:
    desk = Desk()
    await desk.open()
    creating = asyncio.create_task(desk.create("s-1"))
    await asyncio.sleep(0)  # its append is under way: nobody served the action
    dispatcher = desk.engine.dispatcher
    session, _ = dispatcher.connect(hello(actions=[pb.ActionSpec(action="an.action")]), lambda: None, 0.0)
    dispatcher.pump(session)
    desk.commit()
    await creating
    await until(lambda: bool(session.in_flight))
    await desk.close()
