"""Limits hold over the whole cluster, as far as ARCHITECTURE.md promises that.

What is promised is about a steady time: every SEC that serves knows the same
limits and the same SECs as the store has. So whenever a SEC takes its shares
anew, everything is forgotten that began before: it may go on beside what the
new shares allow. So is what changes its owner, what its SEC counts as lost,
and what no limit holds, because its saga unwinds.
"""

from __future__ import annotations

import msgspec

from sagaline.v1 import admin_service_pb2
from sagaline.worker.attempts import Ref
from sagaline_server.core.entries import AttemptStarted, Kind
from sagaline_server.core.shares import BURST_SECONDS
from sagaline_server.ports.store import OwnedSaga
from sagaline_server.runtime.live import LiveSaga
from sagaline_server.wire.breakpoints import is_of_point
from tests.simulation.checkers.checker import Checker
from tests.simulation.history import Written
from tests.simulation.processes import Process
from tests.simulation.scene import Scene

ROUNDING = 1e-6

NO_LIMIT = admin_service_pb2.Limit()


class Place(msgspec.Struct, frozen=True):
    """A saga that runs in its scopes since the time is steady."""

    sec: str
    saga_id: str
    scopes: tuple[str, ...]


class Limiting(Checker):
    name = "limits"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._reserved: dict[tuple[str, str, str], str] = {}
        """Actions of attempts that are about to start, by process, saga and node."""
        self._started: dict[Ref, str] = {}
        """Actions of attempts that have started."""
        self._running: dict[str, dict[Ref, None]] = {}
        """What user code runs of each action."""
        self._starts: dict[tuple[str, str], list[float]] = {}
        """When attempts of an action began to start at a SEC, by its own clock."""
        self._places: dict[Place, None] = {}

    def shares_changed(self, sec: Process) -> None:
        for forgotten in (self._reserved, self._started, self._running, self._starts, self._places):
            forgotten.clear()

    def owned(self, owner: OwnedSaga) -> None:
        if owner.epoch > 1:
            self._forget(owner.saga_id, "")

    def let_go(self, sec: Process, saga_id: str, node: str) -> None:
        self._forget(saga_id, node)

    def _forget(self, saga_id: str, node: str) -> None:
        for ref in [ref for ref in self._started if ref.saga_id == saga_id and node in ("", ref.node)]:
            self._end(ref)
        if not node:
            for place in [place for place in self._places if place.saga_id == saga_id]:
                del self._places[place]

    # ---- what is limited

    def _limit(self, subject: str) -> admin_service_pb2.Limit:
        """Return a limit as it is stored; one that limits nothing where there is none, or not every SEC knows of it."""
        stored = [one for one in self.scene.conditions() if not is_of_point(one.subject)]
        limits = {one.subject: admin_service_pb2.Limit.FromString(one.value) for one in stored}
        if subject not in limits:
            return NO_LIMIT
        is_steady = all(sec.knows(self.scene.members(), limits) for sec in self.scene.live_secs.values())
        return limits[subject] if is_steady else NO_LIMIT

    # ---- actions

    def reserved(self, sec: Process, live: LiveSaga, node: int, kind: Kind) -> None:
        flat = live.ahead.topology.nodes[node]
        if kind is not Kind.ACTION or flat.action is None or live.ahead.unwinds(node):
            return
        action = flat.action.action
        self._reserved[sec.name, live.saga_id, flat.name] = action
        limit = self._limit(f"action:{action}")
        starts = self._starts.setdefault((sec.name, action), [])
        if not limit.HasField("starts_per_second"):
            starts.clear()
            return
        rate = limit.starts_per_second / len(self.scene.members())
        now = sec.host.clock.boottime()
        starts.append(now)
        for number, began in enumerate(starts):
            allowed = max(1.0, rate * BURST_SECONDS) + rate * (now - began)
            count = len(starts) - number
            told = f"{sec.name} starts {count} of {action} in {now - began:.3f} s, and its share is {rate:g} a second"
            self.check(count <= allowed + ROUNDING, told)

    def written(self, written: Written) -> None:
        process = self.scene.live_secs[written.sec_id].process.name
        for stamped in written.entries:
            entry = stamped.entry
            if isinstance(entry, AttemptStarted):
                action = self._reserved.pop((process, written.saga_id, entry.node), None)
                saga = self.ledger.pages[written.saga_id].saga
                if action is not None and not saga.unwinds(saga.topology.index[entry.node]):
                    self._started[Ref(written.saga_id, entry.node, int(Kind.ACTION), entry.attempt)] = action

    def run_began(self, worker: Process, ref: Ref, epoch: int) -> None:
        action = self._started.get(ref)
        if action is None:
            return
        running = self._running.setdefault(action, {})
        running[ref] = None
        limit = self._limit(f"action:{action}")
        if limit.HasField("max_in_flight"):
            told = f"{len(running)} of {action} run at once, and the limit is {limit.max_in_flight}: {list(running)}"
            self.check(len(running) <= limit.max_in_flight, told)

    def run_ended(self, worker: Process, ref: Ref) -> None:
        self._end(ref)

    def _end(self, ref: Ref) -> None:
        self._started.pop(ref, None)
        for running in self._running.values():
            running.pop(ref, None)

    def died(self, process: Process) -> None:
        worker_id = process.name.replace("#", "-")
        for ref in list(self._started):
            if self.ledger.pages[ref.saga_id].started.get(ref) == worker_id:
                self._end(ref)

    # ---- scopes

    def admitted(self, sec: Process, live: LiveSaga) -> None:
        if live.state.has_started or live.state.unwinding or not live.about.scopes:
            return  # it has its places wherever it is taken over
        place = Place(sec.host.name, live.saga_id, tuple(live.about.scopes))
        self._places[place] = None
        for scope in place.scopes:
            limit = self._limit(f"scope:{scope}")
            if limit.HasField("max_running"):
                there = [other.saga_id for other in self._places if scope in other.scopes and self._is_there(other)]
                told = f"{sec.name} lets {live.saga_id} run in {scope}, and {there} do: {limit.max_running} may"
                self.check(len(there) <= limit.max_running, told)
            if limit.HasField("max_failing"):
                self._check_failing(sec, live, scope, limit.max_failing)

    def _is_there(self, place: Place) -> bool:
        page = self.ledger.pages.get(place.saga_id)
        if page is None:
            return True  # it is being created
        return page.saga.finished is None and page.owners[-1].sec_id == place.sec

    def _check_failing(self, sec: Process, live: LiveSaga, scope: str, limit: int) -> None:
        names = sorted(self.scene.members())
        if sec.host.name not in names:
            return
        share = limit // len(names) + (names.index(sec.host.name) < limit % len(names))
        engine = self.scene.live_secs[sec.host.name].engine
        assert engine is not None
        others = [other for other in engine.sagas.values() if other is not live and scope in other.about.scopes]
        failing = [other.saga_id for other in others if other.state.unwinding or other.state.needs_operator]
        told = f"{sec.name} lets {live.saga_id} begin in {scope}, where {failing} fail, and its share is {share}"
        self.check(len(failing) < max(share, 1), told)
