"""The conditions of the gate that are the whole cluster's: limits, and breakpoints on actions.

Every SEC reads all of them. Of limits it computes its own share from the live
SECs, so nobody is asked before a start. A SEC whose share is nothing gives what would
wait there for ever to the SEC of the first rank, which has a share of all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog
from google.protobuf.message import DecodeError

from sagaline.v1 import admin_service_pb2
from sagaline_server.core.gate import ActionPoint
from sagaline_server.core.shares import ActionLimit, ScopeLimit, action_share, rank_of, scope_share
from sagaline_server.ownership.handoffs import HandOffs
from sagaline_server.ownership.membership import Membership
from sagaline_server.ports.cluster import ClusterStore, StoredCondition
from sagaline_server.ports.store import SecRecord
from sagaline_server.runtime.engine import SagaEngine
from sagaline_server.runtime.live import Wake
from sagaline_server.wire.breakpoints import action_point_from, is_of_point
from sagaline_server.wire.limits import action_limit, scope_limit

log = structlog.get_logger("sagaline.conditions")

MOVE_SECONDS = 1.0
MOVED_AT_ONCE = 40


class Conditions:
    """Keeps an engine's shares of the limits, and its breakpoints on actions, up to date."""

    def __init__(self, store: ClusterStore, engine: SagaEngine, membership: Membership) -> None:
        """Begin without any."""
        self._store = store
        self._engine = engine
        self._membership = membership
        self._actions: dict[str, ActionLimit] = {}
        self._scopes: dict[str, ScopeLimit] = {}
        self._reading = asyncio.Lock()
        membership.on_change.append(self._share)

    async def refresh(self) -> None:
        """Read them.

        Raises:
            StoreError: The store can't be reached.
        """
        async with self._reading:  # or what was read first might be taken last
            self._take(await self._store.list_conditions())

    def _take(self, conditions: Sequence[StoredCondition]) -> None:
        self._actions, self._scopes = {}, {}
        points: dict[str, ActionPoint] = {}
        for stored in conditions:
            try:
                if is_of_point(stored.subject):
                    point = admin_service_pb2.ActionBreakpoint.FromString(stored.value)
                    points[point.action] = action_point_from(point)
                else:
                    self._take_limit(admin_service_pb2.Limit.FromString(stored.value))
            except DecodeError:
                log.warning("condition_unreadable", subject=stored.subject)
        self._share()
        self._engine.breakpoints.set(points)

    def _take_limit(self, limit: admin_service_pb2.Limit) -> None:
        if limit.HasField("scope"):
            self._scopes[limit.scope] = scope_limit(limit)
        else:
            self._actions[limit.action] = action_limit(limit)

    def _share(self) -> None:
        rank, count = rank_of(self._membership.me, self._membership.secs)
        actions = {name: action_share(limit, rank, count) for name, limit in self._actions.items()}
        scopes = {name: scope_share(limit, rank, count) for name, limit in self._scopes.items()}
        if actions != self._engine.dispatcher.permits.shares:
            self._engine.dispatcher.set_limits(actions)
        if scopes != self._engine.admissions.shares:
            self._engine.admissions.set(scopes)

    # ---- no share at all

    def _first(self) -> SecRecord | None:
        """Return the SEC that has a share of every limit, if it is another one and takes sagas."""
        secs = self._membership.secs
        name = min({self._membership.me, *secs})
        return None if name == self._membership.me or secs[name].draining else secs[name]

    async def move_stranded(self, hand_offs: HandOffs) -> None:
        """Give away for ever what has no share of a limit here. The owner runs and cancels it."""
        while True:
            await asyncio.sleep(MOVE_SECONDS)
            await self.move_some(hand_offs)

    async def move_some(self, hand_offs: HandOffs) -> None:
        """Give away some of what has no share of a limit here."""
        dispatcher, admissions = self._engine.dispatcher, self._engine.admissions
        actions = {name for name, one in dispatcher.permits.shares.items() if one.max_in_flight == 0}
        scopes = {name for name, one in admissions.shares.items() if one.max_running == 0}
        actions = {name for name in actions if self._actions[name].max_in_flight}
        scopes = {name for name in scopes if self._scopes[name].max_running}
        to = self._first() if actions or scopes else None
        if to is None:
            return
        nodes = dispatcher.take_stranded(actions, MOVED_AT_ONCE)
        saga_ids = [saga_id for saga_id, _ in nodes]
        saga_ids += [live.saga_id for live in admissions.stranded(scopes, MOVED_AT_ONCE)]
        try:
            if saga_ids:
                moved = await hand_offs.hand_off(list(dict.fromkeys(saga_ids)), to)
                log.info("stranded_sagas_moved", moved=moved, to=to.sec_id)
        finally:
            for saga_id, node in nodes:
                live = self._engine.sagas.get(saga_id)
                if live is not None:
                    self._engine.post(live, Wake(node))
