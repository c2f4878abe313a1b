"""Runs a worker that serves the actions of the examples.

    python -m sagaline_examples.worker --address localhost:7070 --db inventory.db --slots 8

Any number of these may work on one inventory. SIGTERM and Ctrl-C let it finish what it has begun.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from sagaline import Action, Worker
from sagaline_examples.inventory import open_inventory
from sagaline_examples.provision import actions as provision_actions
from sagaline_examples.retire import actions as retire_actions
from sagaline_examples.trip import actions as trip_actions

ADDRESS = "localhost:7070"
SLOTS = 8


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m sagaline_examples.worker", description="Serve the examples.")
    parser.add_argument("--address", default=ADDRESS, help=f"of the SEC; {ADDRESS} if not given")
    parser.add_argument("--db", type=Path, required=True, help="the inventory, a SQLite file; made where it is missing")
    parser.add_argument("--slots", type=int, default=SLOTS, help=f"actions at once; {SLOTS} if not given")
    options = parser.parse_args(arguments)
    inventory = open_inventory(options.db)
    actions: list[Action[Any, Any]] = [*provision_actions.ACTIONS, *trip_actions.ACTIONS, *retire_actions.ACTIONS]
    worker = Worker(options.address, actions=actions, slots=options.slots)
    try:
        worker.run_forever()
    finally:
        inventory.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
