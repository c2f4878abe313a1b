"""Fills an inventory, for trying the examples by hand.

python -m sagaline_examples.stock --db inventory.db --sagas 20
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sagaline_examples.demo import plan
from sagaline_examples.inventory import Inventory

SAGAS = 20


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m sagaline_examples.stock", description="Fill the inventory.")
    parser.add_argument("--db", type=Path, required=True, help="the inventory, a SQLite file; made where it is missing")
    parser.add_argument(
        "--sagas", type=int, default=SAGAS, help=f"enough for about half of so many; {SAGAS} if not given"
    )
    options = parser.parse_args(arguments)
    inventory = Inventory(options.db)
    try:
        plan.stock(inventory, options.sagas)
    finally:
        inventory.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
