"""The graph. Edges come from the data; `after` adds those that no data tells."""

from __future__ import annotations

from datetime import timedelta

from sagaline import Graph, GraphBuilder, RetryPolicy, UndoPolicy
from sagaline_examples.provision import actions
from sagaline_examples.provision.values import Need, Reservation, Vm, VmRequest

QUICK_RETRIES = RetryPolicy(max_attempts=20, initial_backoff=timedelta(milliseconds=50))


def server_graph() -> Graph[Need, Reservation]:
    g = GraphBuilder("server", params=Need)
    pick = g.add("pick", actions.pick_server, g.params, undo=UndoPolicy.noop())
    reserve = g.add("reserve", actions.reserve_server, pick, lambda need: need.cores)
    return g.build(result=reserve)


def provision_graph() -> Graph[VmRequest, Vm]:
    g = GraphBuilder("provision", params=VmRequest)
    instance = g.add("instance", actions.create_instance, g.params)
    address = g.add("address", actions.allocate_address, instance)
    volume = g.add(
        "volume",
        actions.create_volume,
        lambda vm: vm.volume_gb,
        lambda vm: vm.trouble,
        after=[instance],
        retry=QUICK_RETRIES,
    )
    server = g.subsaga("server", server_graph(), lambda vm: vm.need, after=[instance])
    configured = g.add("configure", actions.configure, address, server, after=[volume])
    attached = g.add("attach", actions.attach_volume, instance, volume, after=[configured])
    vm = g.add("boot", actions.boot, instance, configured, lambda vm: vm.trouble, after=[attached])
    return g.build(result=vm)


PROVISION = provision_graph()
