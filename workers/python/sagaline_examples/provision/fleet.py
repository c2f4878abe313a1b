"""Several machines in one saga: how many is known only while it runs, so the graph has maps.

```
         ┌─▶ servers[0]: pick ─▶ reserve ─┐
 plan ───┼─▶ servers[1]: pick ─▶ reserve ─┼─▶ machines[0], machines[1], ...
         ├─▶ ...                          ┘
         └─▶ spare: pick ─▶ reserve
```

One server is tried first, the canary; then four at a time. If one can't be had, all that are reserved are given back.
"""

from __future__ import annotations

from sagaline import Graph, GraphBuilder, UndoPolicy
from sagaline_examples.provision import actions
from sagaline_examples.provision.graph import server_graph
from sagaline_examples.provision.values import FleetRequest, Machine


def fleet_graph() -> Graph[FleetRequest, list[Machine]]:
    g = GraphBuilder("fleet", params=FleetRequest)
    plan = g.add("plan", actions.plan_fleet, g.params, undo=UndoPolicy.noop())
    needs = plan.select(lambda plan: plan.needs)
    servers = g.map("servers", server_graph(), over=needs, canary=1, max_concurrency=4)
    g.subsaga("spare", server_graph(), plan.select(lambda plan: plan.spare), after=[servers])
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
