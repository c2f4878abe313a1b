"""An adoption is answered with a report, and what is held of the saga is answered there."""

from __future__ import annotations

from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    NOT_HELD,
    PENDING,
    RUNNING,
    adoption,
    expect,
    invocation,
    ref,
)


async def script(kit: Kit) -> None:
    a, b = await kit.two_sessions()
    waiting, runs, unheld, other = (ref(node=node) for node in ("waiting", "runs", "unheld", "other"))
    a.invoke(invocation(waiting), invocation(runs, "gate", {"name": "x"}), invocation(other, "gate", {"name": "x"}))
    await kit.result(a, waiting)
    await kit.started(runs)
    await kit.started(other)
    b.send(adoptions=[adoption(2, waiting, runs, unheld)])
    await kit.until("RESULT_PENDING", lambda: PENDING in b.reported(waiting))
    await kit.until("RUNNING", lambda: RUNNING in b.reported(runs))
    await kit.until("NOT_HELD", lambda: b.reported(unheld) == [NOT_HELD])
    expect((await kit.result(b, waiting)).epoch == 2, "the result under the new epoch")
    kit.open("x")
    await kit.result(b, runs)
    await kit.result(b, other)
    expect(not a.results(runs) and not a.results(other), "nothing more to the old owner")
