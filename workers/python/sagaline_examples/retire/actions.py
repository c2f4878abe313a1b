"""The actions, and how each is undone. `wipe` can't be: nothing of the saga is undone once it may have happened."""

from __future__ import annotations

import sqlite3

from sagaline import Context, Failed, action
from sagaline_examples.effects import once
from sagaline_examples.inventory import SERVERS, Holder, give_back, take
from sagaline_examples.retire.values import Approval, Closed, Retired


@action("retire.close")
@once
def close(db: sqlite3.Connection, context: Context, server: str) -> Closed:
    """Take all that is free there. Whatever somebody holds has to go first."""
    row = db.execute("SELECT capacity, free FROM servers WHERE name = ?", (server,)).fetchone()
    if row is None or row[1] < row[0] or not row[0]:
        raise Failed("NotEmpty", f"{server} is not there, or somebody uses it")
    take(db, SERVERS, server, Holder.of(context), row[0])
    return Closed(server, row[0])


@close.undo
@once
def reopen(db: sqlite3.Connection, context: Context) -> None:
    give_back(db, SERVERS, Holder.of(context))


@action("retire.check")
def check(approval: Approval) -> str:
    """Changes nothing, so there is nothing to undo."""
    if not approval.granted:
        raise Failed("NotApproved", f"{approval.by} does not want it")
    return approval.by


@action("retire.wipe")
@once
def wipe(db: sqlite3.Connection, context: Context, closed: Closed) -> Closed:
    """Its cores are gone: what the saga holds of them, and from its capacity."""
    context.heartbeat("wiping")
    db.execute("DELETE FROM reservations WHERE saga = ? AND pool = ?", (context.saga_id, closed.server))
    db.execute("UPDATE servers SET capacity = capacity - ? WHERE name = ?", (closed.cores, closed.server))
    return closed


@action("retire.report")
def report(wiped: Closed, by: str) -> Retired:
    """It has to succeed some time: there is no way back any more."""
    return Retired(wiped.server, wiped.cores, by)


ACTIONS = (close, check, wipe, report)
