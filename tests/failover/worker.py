"""A worker that serves the actions of both examples on one inventory, as `sagaline_examples.worker` does.

Different in two things: its inventory need not survive a loss of power, which
costs most of the time otherwise, and it leaves quickly.
"""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from sagaline import Action, Worker
from sagaline_examples.inventory import open_inventory
from sagaline_examples.provision import actions as provision_actions
from sagaline_examples.trip import actions as trip_actions

LEAVE = timedelta(seconds=8)

if __name__ == "__main__":
    addresses, database, slots = sys.argv[1:]
    inventory = open_inventory(Path(database), durable=False)
    actions: list[Action[Any, Any]] = [*provision_actions.ACTIONS, *trip_actions.ACTIONS]
    try:
        Worker(addresses, actions=actions, slots=int(slots), drain_timeout=LEAVE).run_forever()
    finally:
        inventory.close()
