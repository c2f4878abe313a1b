from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sagaline.testing.plugin import sagaline_sec
from sagaline_examples.inventory import Inventory, open_inventory
from tests.unit.examples.players import stock

__all__ = ["sagaline_sec", "world"]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Inventory]:
    """The inventory that actions change, stocked with a little of everything."""
    inventory = open_inventory(tmp_path / "inventory.db", durable=False)
    stock(inventory)
    yield inventory
    inventory.close()
