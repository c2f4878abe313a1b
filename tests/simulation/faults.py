"""The faults of a run: each kind that the seed has turned on strikes now and then, until everything heals."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from tests.simulation.clocks import WALL_STEP_SECONDS
from tests.simulation.etcd import EtcdService, StoreWeather
from tests.simulation.network import Weather
from tests.simulation.options import NO_STREAMS
from tests.simulation.processes import Host
from tests.simulation.scene import Scene
from tests.simulation.world import Temper


class AppendPlan(msgspec.Struct):
    """What is to happen to a SEC at one of its next appends."""

    strike: Callable[[], None]
    appends_left: int
    phase: str
    """Before or after it."""
    rounds: int
    """How many rounds of the loop after that: what is sent then may have left, or not."""


class Faults:
    """Strikes, and heals."""

    def __init__(self, scene: Scene) -> None:
        """Prepare the faults of a scene."""
        self._scene = scene
        self._sim = scene.sim
        self._chance = scene.chance("faults")
        self._options = scene.options
        self._is_over = False
        self._append_plans: dict[str, AppendPlan] = {}
        self._strikes: dict[str, Callable[[], None]] = {
            "sec crash": self._crash_sec,
            "sec crash at append": self._plan_crash,
            "worker crash": self._crash_worker,
            "worker drain": self._drain_worker,
            "pause": self._pause,
            "partition": self._partition,
            "break streams": self._break_streams,
            "store away": self._take_store_away,
            "lease revoked": self._revoke_lease,
            "lease starved": self._starve_lease,
            "wall jumps": self._step_wall,
            "sec drain": self._drain_sec,
            NO_STREAMS: self._refuse_streams,
        }

    def begin(self) -> None:
        """Let it begin: bad weather at once, strikes from now on."""
        self._set_weather()
        self._set_temper()
        self._scene.on_append = self._at_append
        for name in self._strikes:
            if name in self._options.faults:
                self._later(name)

    def _later(self, name: str) -> None:
        def strike() -> None:
            if not self._is_over:
                self._strikes[name]()
                self._later(name)

        self._sim.after(self._chance.expovariate(1.0 / self._options.rate), strike)

    def heal(self) -> None:
        """End every fault, and let whatever hangs go on. Clocks go on drifting."""
        scene = self._scene
        self._is_over = True
        self._append_plans.clear()
        scene.network.weather = Weather()
        scene.network.open_all()
        scene.network.streamless.clear()
        for etcd in scene.etcds:
            etcd.weather = StoreWeather()
            etcd.starved.clear()
            if etcd.is_away:
                etcd.come_back()
        scene.world.temper = Temper()
        for host in (*scene.secs, *scene.workers):
            if host.process is not None:
                host.process.loop.resume()
        for host in scene.secs:
            scene.start_sec(host)
        for host in scene.workers:
            scene.start_worker(host)
            executor = scene.live_workers[host.name].executor
            if executor is not None:
                executor.release()

    # ---- weather and tempers

    def _set_weather(self) -> None:
        chance, faults = self._chance, self._options.faults
        network, store = Weather(), StoreWeather()
        if "slow network" in faults:
            network.slow, network.slow_max = chance.choice((0.05, 0.3)), chance.choice((0.1, 1.0, 5.0))
        if "datagram loss" in faults:
            network.loss = chance.choice((0.02, 0.2))
        if "silent death" in faults:
            network.silent_death = 0.7
        if "slow store" in faults:
            store.slow, store.slow_max = chance.choice((0.05, 0.3)), chance.choice((0.2, 2.0, 6.0))
        if "unknown outcomes" in faults:
            store.lose_request, store.lose_answer = chance.choice((0.02, 0.1)), chance.choice((0.02, 0.1))
        if "late writes" in faults:
            store.late, store.late_max = chance.choice((0.02, 0.1)), chance.choice((5.0, 30.0))
        if "watch breaks" in faults:
            store.break_watch = chance.choice((0.05, 0.3))
        self._scene.network.weather = network
        for etcd in self._scene.etcds:
            etcd.weather = store

    def _set_temper(self) -> None:
        chance, mischiefs = self._chance, self._options.mischiefs
        temper = Temper(seconds=chance.choice((0.05, 0.5, 2.0, 8.0)))
        if "fail" in mischiefs:
            temper.fail = chance.choice((0.05, 0.2))
        if "retry" in mischiefs:
            temper.retry = chance.choice((0.1, 0.3))
        if "hold" in mischiefs:
            temper.hold = 0.1
        if "undo trouble" in mischiefs:
            temper.undo_retry = 0.3
        if "undo fail" in mischiefs:
            temper.undo_fail = 0.2
        if "slow" in mischiefs:
            temper.slow = chance.choice((0.1, 0.5))
        if "hang" in mischiefs:
            temper.hang = 0.05
        if "detached" in mischiefs:
            temper.detached = 0.5
        self._scene.world.temper = temper

    # ---- strikes

    def _note(self, what: str) -> None:
        self._scene.history.note("fault", what)
        self._scene.history.count(what.split(" ", 1)[0])

    def _live(self, hosts: list[Host]) -> Host | None:
        live = [host for host in hosts if host.up]
        return self._chance.choice(live) if live else None

    def _crash_sec(self) -> None:
        host = self._live(self._scene.secs)
        if host is not None:
            self._kill_sec(host)

    def _kill_sec(self, host: Host) -> None:
        self._note(f"kill {host.name}")
        host.kill()
        self._restart_later(host)

    def _restart_later(self, host: Host) -> None:
        seconds = self._chance.choice((0.1, 3.0, 30.0)) * self._chance.random()
        self._sim.after(seconds, lambda: self._scene.start_sec(host))

    def _plan_crash(self) -> None:
        host = self._live(self._scene.secs)
        if host is not None:
            self._plan(host, lambda: self._kill_sec(host))

    def _plan(self, host: Host, strike: Callable[[], None]) -> None:
        self._append_plans[host.name] = AppendPlan(
            strike,
            self._chance.choice((1, 1, 2, 4)),
            self._chance.choice(("before", "before", "after")),
            self._chance.choice((0, 1, 2, 3, 5)),
        )

    def _at_append(self, host: Host, phase: str) -> None:
        plan = self._append_plans.get(host.name)
        process = host.process
        if plan is None or plan.phase != phase or process is None:
            return
        plan.appends_left -= 1
        if plan.appends_left > 0:
            return
        del self._append_plans[host.name]
        if plan.rounds:
            process.loop.after_rounds(plan.rounds, plan.strike)
        else:
            plan.strike()

    def _crash_worker(self) -> None:
        host = self._live(self._scene.workers)
        if host is None:
            return
        self._note(f"kill {host.name}")
        host.kill()
        self._restart_worker_later(host)

    def _restart_worker_later(self, host: Host) -> None:
        seconds = self._chance.choice((0.1, 3.0, 30.0)) * self._chance.random()
        self._sim.after(seconds, lambda: self._scene.start_worker(host))

    def _drain_worker(self) -> None:
        host = self._live(self._scene.workers)
        if host is not None:
            self._note(f"drain {host.name}")
            self._scene.live_workers[host.name].drain(self._chance.choice((0.0, 5.0, 25.0)))
            process = host.process
            assert process is not None
            process.on_death.append(lambda: self._restart_worker_later(host))

    def _drain_sec(self) -> None:
        host = self._live(self._scene.secs)
        if host is not None:
            self._note(f"drain {host.name}")
            self._scene.live_secs[host.name].drain()
            process = host.process
            assert process is not None
            process.on_death.append(lambda: self._restart_later(host))

    def _pause(self) -> None:
        """Stop a process for a while: now, in the middle of whatever it does next, or of an append."""
        host = self._live([*self._scene.secs, *self._scene.secs, *self._scene.workers])
        if host is None or host.process is None:
            return
        loop = host.process.loop
        seconds = self._chance.choice((1.0, 12.0, 30.0, 60.0)) * self._chance.random()

        def stop() -> None:
            if not self._is_over and loop.alive:
                self._note(f"stop {host.name} for {seconds:.3f} s")
                loop.pause()
                self._sim.after(seconds, loop.resume)

        moment = self._chance.choice(("now", "soon", "at append"))
        if moment == "at append" and host in self._scene.secs:
            self._plan(host, stop)
        elif moment == "soon":
            loop.after_rounds(self._chance.randrange(20), stop)
        else:
            stop()

    def _partition(self) -> None:
        """Close ways: between two hosts or around one, in one direction or both."""
        chance = self._chance
        names = [host.name for host in (*self._scene.secs, *self._scene.workers)] + ["client"]
        one = chance.choice(names)
        etcds = [etcd.name for etcd in self._scene.etcds]
        others = [chance.choice([*names, *etcds, *etcds])] if chance.random() < 0.6 else [*names, *etcds]
        ways = [(one, other) for other in others if other != one]
        direction = chance.choice(("to", "from", "both"))
        if direction == "from":
            ways = [(target, source) for source, target in ways]
        elif direction == "both":
            ways += [(target, source) for source, target in ways]
        seconds = chance.choice((3.0, 20.0, 60.0)) * chance.random()
        self._note(f"close {', '.join(f'{source}>{target}' for source, target in ways)} for {seconds:.3f} s")
        network = self._scene.network
        for way in ways:
            network.close(*way)
            self._sim.after(seconds, lambda way=way: network.open(*way))  # type: ignore[misc]

    def _break_streams(self) -> None:
        """Break some connections; a side may not hear of it."""
        connections = list(self._scene.network.connections.values())
        for connection in connections:
            if self._chance.random() < 0.4:
                told = self._chance.choice(((True, True), (True, False), (False, True), (False, False)))
                self._note(f"reset {connection.client.name}-{connection.server.name} {told}")
                connection.reset(tell_client=told[0], tell_server=told[1])

    def _refuse_streams(self) -> None:
        """Break the streams of a worker to a SEC, and let none come about for a while; calls do."""
        network = self._scene.network
        way = (self._chance.choice(self._scene.workers).name, self._chance.choice(self._scene.secs).name)
        seconds = self._chance.choice((3.0, 30.0)) * self._chance.random()
        self._note(f"streamless {way[0]}-{way[1]} for {seconds:.3f} s")
        network.streamless.add(way)
        for connection in list(network.connections.values()):
            if (connection.client.host.name, connection.server.host.name) == way:
                connection.reset(tell_client=True, tell_server=True)
        self._sim.after(seconds, lambda: network.streamless.discard(way))

    def _take_store_away(self) -> None:
        etcd = self._some_etcd()
        if etcd.is_away:
            return
        seconds = self._chance.choice((1.0, 10.0, 90.0)) * self._chance.random()
        self._note(f"{etcd.name}-away for {seconds:.3f} s")
        etcd.go_away()

        def come_back() -> None:
            if etcd.is_away:
                etcd.come_back()

        self._sim.after(seconds, come_back)

    def _revoke_lease(self) -> None:
        host = self._chance.choice(self._scene.secs)
        etcd = self._some_etcd()
        if not etcd.is_away and etcd.revoke_of(host.name):
            self._note(f"revoke the lease of {host.name} at {etcd.name}")

    def _some_etcd(self) -> EtcdService:
        etcds = self._scene.etcds
        return etcds[0] if len(etcds) == 1 else self._chance.choice(etcds)

    def _starve_lease(self) -> None:
        """Let no keep-alive of a SEC get through for a while, though everything else does."""
        etcd, name = self._some_etcd(), self._chance.choice(self._scene.secs).name
        seconds = self._chance.uniform(5.0, 20.0)
        self._note(f"starve the lease of {name} at {etcd.name} for {seconds:.3f} s")
        etcd.starved.add(name)
        self._sim.after(seconds, lambda: etcd.starved.discard(name))

    def _step_wall(self) -> None:
        host = self._chance.choice([*self._scene.secs, *self._scene.workers])
        seconds = self._chance.choice((-WALL_STEP_SECONDS, -5.0, 5.0, WALL_STEP_SECONDS)) * self._chance.random()
        self._note(f"wall-clock of {host.name} steps by {seconds:.3f} s")
        host.clock.step_wall(seconds)
