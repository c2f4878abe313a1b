"""Random sagas in random worlds. The driver and the auditor check every rule at every entry; see there.

Proves rules 1 to 9, 11, 12 and 15 as far as the core decides them.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sagaline_server.core.graph import Graph
from tests.unit.core.graphs import flatten_valid
from tests.unit.core.strategies import GRAPHS, PARAMS, SEEDS, TEMPERS
from tests.unit.core.world import Temper, World


@given(GRAPHS, TEMPERS, SEEDS, st.booleans())
def test_every_saga_comes_to_an_end(graph: Graph, temper: Temper, seed: int, paused: bool) -> None:
    """Rules 2 to 8, 11, 12 and 15 hold at every entry, and whatever happens the saga ends as it should."""
    world = World(flatten_valid(graph), temper, PARAMS, seed=seed, paused=paused)
    world.rage(40)
    world.calm()
    world.calm(operator=True)
    assert world.saga.finished is not None
