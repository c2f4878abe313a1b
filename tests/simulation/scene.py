"""Everything of one run: hosts and what lives on them, the network, the store, the world, and who looks on."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from sagaline.v1 import worker_service_pb2 as pb
from sagaline_server.core.sharding import shard_of
from sagaline_server.ports.cluster import StoredCondition
from sagaline_server.ports.store import StoredSaga
from sagaline_server.runtime.engine import SagaEngine
from tests.simulation.backend import SimBackend
from tests.simulation.calls import Caller, SimChannel
from tests.simulation.clients import SimClient
from tests.simulation.clocks import SimClock
from tests.simulation.etcd import NAME, REVISIONS_APART, EtcdService
from tests.simulation.history import History
from tests.simulation.keeping import Shelf, SimArchive, keeping
from tests.simulation.ledger import Ledger
from tests.simulation.loop import Simulator
from tests.simulation.network import Connection, Network
from tests.simulation.options import ARCHIVED, CARRIED, REMOVED, SHARDED, Options
from tests.simulation.plans import Planner
from tests.simulation.processes import Host, Process
from tests.simulation.sec import SimSec
from tests.simulation.steering import draw_deeds
from tests.simulation.store import SimStore
from tests.simulation.worker import SimWorker
from tests.simulation.world import World


class Scene:
    """One cluster and its surroundings."""

    def __init__(self, options: Options, *, tracing: bool) -> None:
        """Make everything; nothing is started."""
        self.options = options
        self.sim = sim = Simulator(options.seed)
        self.history = history = History(sim, tracing=tracing)
        sim.on_trouble = lambda trouble: history.fail("trouble", trouble)
        self.ledger = Ledger()
        history.add(self.ledger)
        self.network = Network(sim, self.chance("network"))
        self.network.on_frame = self._frame
        self.etcds = [self._etcd(number) for number in range(2 if SHARDED in options.features else 1)]
        """The clusters that the sagas are spread over; as a rule one."""
        self.world = World(sim, self.chance("world"))
        self.world.on_effect = history.effect
        self.secs = [self._host(f"sec-{letter}") for letter in "abc"[: options.secs]]
        self.workers = [self._host(f"worker-{number + 1}") for number in range(options.workers)]
        self.client_host = self._host("client")
        self.saga_ids = [f"saga-{number + 1}" for number in range(options.sagas)]
        self.live_secs: dict[str, SimSec] = {}
        self.live_workers: dict[str, SimWorker] = {}
        self.on_append: Callable[[Host, str], None] = _nothing
        """Called before and after each commit of a SEC; may kill it."""
        self._sec_chance = self.chance("secs")
        self._worker_chance = self.chance("workers")
        self._archive_chance = self.chance("archive")
        self.shelf = Shelf(history)
        self._restart_chance = self.chance("restarts")
        self.client = SimClient(
            self.client_host.boot(), self.network, history, self.secs, self.world, self.chance("client")
        )
        if CARRIED in options.features:
            self.client.employ_courier(self.chance("courier"))
        self.client.looks_back = REMOVED in options.features

    def chance(self, what: str) -> random.Random:
        """Return a stream of randomness of its own, so that one part's draws do not change another's."""
        return random.Random(f"{what} {self.options.seed}")

    def _etcd(self, number: int) -> EtcdService:
        backend, history = SimBackend(), self.history
        backend.revision = number * REVISIONS_APART
        backend.on_write = history.written
        backend.on_fenced = history.fenced
        backend.on_handed_off = history.handed_off
        backend.on_owner = history.owned
        backend.on_adopted = history.adopted
        backend.on_removed = history.removed
        backend.on_deleted = history.deleted
        name = f"{NAME}-{number + 1}" if number else NAME
        return EtcdService(self.sim, self.network, self.chance(name), backend, name)

    def _host(self, name: str) -> Host:
        chance = self.chance(f"clock of {name}")
        drift = 0.03 if "drift" in self.options.faults else 0.0
        clock = SimClock(
            self.sim,
            rate=1.0 + drift * chance.uniform(-1.0, 1.0),
            booted=chance.uniform(0.0, 1e6),
            wall_offset=chance.uniform(-2.0, 2.0),
        )
        return Host(self.sim, name, clock)

    def _frame(self, connection: Connection, frame: object) -> None:
        if isinstance(frame, pb.ConnectResponse):
            self.history.frame_left(connection.server, connection.client, frame)

    # ---- lives

    def start_all(self) -> None:
        """Start every process."""
        for host in self.secs:
            self.start_sec(host)
        for host in self.workers:
            self.start_worker(host)
        client = self.client_host.process
        assert client is not None
        client.start(self.client.main(Planner(self.options).draw(), draw_deeds(self.options)))

    def start_sec(self, host: Host) -> None:
        """Start a SEC, unless one lives there."""
        if host.up:
            return
        process = host.boot()
        process.on_death.append(lambda: self.history.died(process))
        stores = [SimStore(etcd, process, lambda phase: self.on_append(host, phase)) for etcd in self.etcds]
        sec = self.live_secs[host.name] = SimSec(
            process,
            stores,
            self.history,
            random.Random(self._sec_chance.getrandbits(64)),
            lambda: self._restart_later(host),
            keeping(self.options.features),
            self._archive(process),
            self._dial,
        )
        process.start(sec.main())

    def _dial(self, process: Process, address: str) -> SimChannel:
        hosts = {host.name: host for host in self.secs}
        return SimChannel(Caller(self.network, process), hosts[address.partition(":")[0]])

    def _archive(self, process: Process) -> SimArchive | None:
        chance = random.Random(self._archive_chance.getrandbits(64))
        return SimArchive(process, self.shelf, chance) if ARCHIVED in self.options.features else None

    def _restart_later(self, host: Host) -> None:
        """Start a SEC that has died of itself, as whatever looks after it would, and whenever that happens."""
        self.history.count("died of an injected fault")
        seconds = self._restart_chance.choice((0.1, 3.0, 30.0)) * self._restart_chance.random()
        self.sim.after(seconds, lambda: self.start_sec(host))

    def start_worker(self, host: Host) -> None:
        """Start a worker, unless one lives there."""
        if host.up:
            return
        process = host.boot()
        process.on_death.append(lambda: self.history.died(process))
        worker = self.live_workers[host.name] = SimWorker(
            process, self.network, self.world, self.history, self.secs, self._seeds(), self.options.slots
        )
        process.start(worker.main())

    def _seeds(self) -> list[Host]:
        """Draw which SECs a worker knows from the beginning."""
        return self._worker_chance.sample(self.secs, self._worker_chance.randint(1, len(self.secs)))

    def engines(self) -> Iterator[tuple[SimSec, SagaEngine]]:
        """Yield the SECs whose processes live and have come to run sagas, and what runs them."""
        for sec in self.live_secs.values():
            if sec.engine is not None and sec.process.alive:
                yield sec, sec.engine

    def is_whole(self) -> bool:
        """True when every SEC is there, and lives in the store as it believes."""
        return all(host.up and self.lives(self.live_secs[host.name]) for host in self.secs)

    # ---- what is stored

    def etcd_of(self, saga_id: str) -> EtcdService:
        """Return the cluster that has a saga."""
        return self.etcds[shard_of(saga_id, len(self.etcds))]

    def backend_of(self, saga_id: str) -> SimBackend:
        """Return what the cluster has that has a saga."""
        return self.etcd_of(saga_id).backend

    def alive(self, sec_id: str, incarnation: int) -> bool:
        """True while an incarnation lives, in whichever cluster it is."""
        return any(etcd.backend.alive(sec_id, incarnation) for etcd in self.etcds)

    def lives(self, sec: SimSec) -> bool:
        """True when a SEC lives in every cluster, as it believes."""
        return all(
            etcd.backend.alive(sec.name, store.incarnation) for etcd, store in zip(self.etcds, sec.stores, strict=True)
        )

    def unfinished(self) -> list[str]:
        """Return the sagas that have not ended."""
        return [saga_id for etcd in self.etcds for saga_id in etcd.backend.unfinished()]

    def members(self) -> set[str]:
        """Return the names of the SECs that live in every cluster; nobody where the clusters differ."""
        first, *others = ({*etcd.backend.secs} for etcd in self.etcds)
        return first if all(names == first for names in others) else set()

    def conditions(self) -> list[StoredCondition]:
        """Return the conditions of the whole cluster, which the first etcd has."""
        return self.etcds[0].backend.conditions()

    def is_swept(self) -> bool:
        """True when everything that is to be removed is gone."""
        return REMOVED not in self.options.features or not self.stored()

    def stored(self) -> list[StoredSaga]:
        """Return every saga that is stored."""
        return [saga for etcd in self.etcds for saga in etcd.backend.stored()]

    def kill_all(self) -> None:
        """End everything."""
        for host in (*self.secs, *self.workers, self.client_host):
            host.kill()


def _nothing(host: Host, phase: str) -> None:
    pass
