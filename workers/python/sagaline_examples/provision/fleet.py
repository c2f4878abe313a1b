"""Several machines in one saga: how many is known only from its parameters, so the graph has maps.

```
 servers[0]: pick ─▶ reserve ─┐
 servers[1]: pick ─▶ reserve ─┼─▶ machines[0], machines[1], ...
 ...                          ┘
```

One server is tried first, the canary; then four at a time. If one can't be had, all that are reserved are given back.
"""

from __future__ import annotations

from dataclasses import dataclass

from sagaline import Graph, GraphBuilder, UndoPolicy
from sagaline_examples.provision import actions
from sagaline_examples.provision.graph import server_graph
from sagaline_examples.provision.values import Machine, Need


@dataclass(frozen=True, slots=True)
class FleetRequest:
    """Parameters of the saga."""

    name: str
    needs: list[Need]
    """One for each machine."""


def fleet_graph() -> Graph[FleetRequest, list[Machine]]:
    g = GraphBuilder("fleet", params=FleetRequest)
    servers = g.map("servers", server_graph(), over=lambda fleet: fleet.needs, canary=1, max_concurrency=4)
    machines = g.map(
        "machines",
        actions.name_machine,
        lambda fleet: fleet.name,
        g.index,
        over=servers,
        undo=UndoPolicy.noop(),
    )
    return g.build(result=machines)


FLEET = fleet_graph()
