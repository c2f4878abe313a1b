"""A runtime in memory, for tests of the api: sagas are core state, workers are a function that says how actions end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence

from sagaline.v1 import admin_service_pb2, log_pb2, saga_pb2, saga_service_pb2, worker_service_pb2
from sagaline_server.core.decide import Input, Order, Result
from sagaline_server.core.entries import Entry, Kind, SagaCreated, SagaState, Stamped
from sagaline_server.core.state import Saga
from sagaline_server.core.turn import Turn
from sagaline_server.core.values import Disposition, Failure, Payload
from sagaline_server.ports.cluster import StoredCondition
from sagaline_server.ports.store import ListQuery
from sagaline_server.runtime.requests import (
    CreateFate,
    Creation,
    Overloaded,
    RequestRefused,
    RuntimeRefusal,
    SagaNotFound,
)
from sagaline_server.wire.views import Ownership, about, add_details, end_of, summary

OWNER = Ownership("sec-test", 1)
DONE = Payload(json='"done"')
NO_EFFECT = Failure("NoRoom", "there is no room", Disposition.FAIL)

Ending = Callable[[str, Kind], Payload | Failure | None]
"""Says how an attempt of a node's side ends; None: not until `finish` is called."""


def everything_succeeds(node: str, kind: Kind) -> Payload | Failure | None:
    return DONE


def nothing_ends(node: str, kind: Kind) -> Payload | Failure | None:
    return None


def only_pay_succeeds(node: str, kind: Kind) -> Payload | Failure:
    """The second action fails, and so does what would undo the first."""
    return DONE if (node, kind) == ("pay", Kind.ACTION) else NO_EFFECT


class KeptSaga:
    """One saga."""

    def __init__(self, creation: Creation) -> None:
        self.id = creation.spec.saga_id
        self.record = log_pb2.SagaRecord.FromString(creation.record)
        self.saga = Saga(creation.topology, creation.spec.params, creation.digest)
        self.entries: list[Stamped] = []
        self.changed = asyncio.Event()
        self.followers: list[tuple[Callable[[saga_service_pb2.SagaEnd], None], bool]] = []
        """Who is told of the end, and whether the need of an operator is one for them."""

    def is_over(self, or_needs_operator: bool) -> bool:
        return self.saga.finished is not None or (or_needs_operator and self.saga.needs_operator)

    def tell(self) -> None:
        """Wake everybody who waits for a change."""
        self.changed.set()
        self.changed = asyncio.Event()


class ManualClock:
    """A clock that stands until it is moved."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def wall(self) -> float:
        return self.now

    def boottime(self) -> float:
        return self.now - 1_000_000_000.0


class FakeRuntime:
    """Keeps the contract of `SagaRuntime`."""

    def __init__(self, clock: ManualClock, ending: Ending = nothing_ends) -> None:
        self.clock = clock
        self.ending = ending
        self.sagas: dict[str, KeptSaga] = {}
        self.trouble: BaseException | None = None
        """What every method raises."""
        self.turned_away: RuntimeRefusal | None = None
        """What `create` answers for each saga."""
        self.overloads = 0
        """How many more calls of `create_one` are refused with OVERLOADED."""
        self.hangs = False
        """True: reading a saga takes for ever."""
        self.slow: asyncio.Event | None = None
        """Set: creations are durable only once this event is."""
        self.creations = 0
        self.vanished: set[str] = set()
        """Sagas that lists still show and that are there no more."""
        self.not_live: set[str] = set()
        """Sagas that `follow_live` does not know."""
        self.follow_calls: list[list[str]] = []
        self.followers_stopped = 0
        self.watching = 0
        self.waits: list[float] = []
        self.worker_statuses: list[admin_service_pb2.WorkerStatus] = []
        self.other_secs: list[worker_service_pb2.Sec] = []
        """SECs beside this one, whose name is OWNER's."""
        self.kept_conditions: dict[str, bytes] = {}
        self.drains: list[tuple[str, float]] = []
        self._waiting: set[asyncio.Task[None]] = set()

    # ---- what tests do

    def finish(self, saga_id: str, node: str, ending: Payload | Failure = DONE, kind: Kind = Kind.ACTION) -> None:
        """End the attempt of a node that is in flight."""
        kept = self.sagas[saga_id]
        run = kept.saga.run(kept.saga.topology.index[node], kind)
        assert run.in_flight, f"node {node} has no attempt in flight"
        self._turn(kept, self._result(node, kind, run.in_flight, ending))

    def run_on(self, ending: Ending = everything_succeeds) -> None:
        """End every attempt in flight, and those that follow."""
        self.ending = ending
        for kept in list(self.sagas.values()):
            for node, kind, run in list(kept.saga.in_flight()):
                name = kept.saga.topology.nodes[node].name
                result = ending(name, kind)
                if result is not None:
                    self._turn(kept, self._result(name, kind, run.in_flight, result))

    def write(self, saga_id: str, entry: Entry) -> None:
        """Add an entry to a log that the saga's state knows nothing of."""
        kept = self.sagas[saga_id]
        kept.entries.append(Stamped(len(kept.entries) + 1, 1, self.clock.wall(), entry))
        kept.tell()

    def log(self, saga_id: str) -> list[Stamped]:
        return self.sagas[saga_id].entries

    # ---- the machine

    def _result(self, node: str, kind: Kind, attempt: int, ending: Payload | Failure) -> Result:
        if isinstance(ending, Failure):
            return Result(node, kind, attempt, failure=ending)
        return Result(node, kind, attempt, output=ending)

    def _turn(self, kept: KeptSaga, *inputs: Input) -> None:
        turn = Turn(kept.saga, 1, self.clock.wall(), lambda: 0.5)
        for given in inputs:
            turn.take(given)
        if not kept.entries:
            turn.write(SagaCreated(kept.saga.digest, kept.record.spec.start_paused))
        turn.go_on(lambda *_: "worker-1")
        kept.saga = turn.saga
        kept.entries += turn.entries
        kept.tell()
        for node, kind in turn.starts:
            name = kept.saga.topology.nodes[node].name
            ending = self.ending(name, kind)
            if ending is not None:
                self._turn(kept, self._result(name, kind, kept.saga.run(node, kind).in_flight, ending))
        over = [each for each in kept.followers if kept.is_over(each[1])]
        kept.followers = [each for each in kept.followers if each not in over]
        for on_end, _ in over:
            on_end(end_of(self._view(kept, full=False)))

    def _view(self, kept: KeptSaga, *, full: bool) -> saga_pb2.Saga:
        view = summary(kept.id, about(kept.record), kept.saga, OWNER)
        if full:
            add_details(view, kept.record, kept.saga)
        return view

    def _kept(self, saga_id: str) -> KeptSaga:
        self._check()
        if saga_id not in self.sagas:
            raise SagaNotFound(saga_id)
        return self.sagas[saga_id]

    def _check(self) -> None:
        if self.trouble is not None:
            raise self.trouble

    # ---- the contract

    async def create(self, creations: Sequence[Creation]) -> Sequence[CreateFate | RuntimeRefusal]:
        self._check()
        if self.turned_away is not None:
            return [self.turned_away] * len(creations)
        return [self._create(creation) for creation in creations]

    def _create(self, creation: Creation) -> CreateFate:
        self.creations += 1
        known = self.sagas.get(creation.spec.saga_id)
        if known is not None:
            return CreateFate.EXISTED if known.saga.digest == creation.digest else CreateFate.CONFLICT
        kept = self.sagas[creation.spec.saga_id] = KeptSaga(creation)
        self._turn(kept)
        return CreateFate.CREATED

    def create_one(self, creation: Creation, on_created: Callable[[CreateFate | RuntimeRefusal], None]) -> None:
        self._check()
        if self.overloads:
            self.overloads -= 1
            raise Overloaded
        if self.slow is None:
            on_created(self._create(creation))
            return
        task = asyncio.create_task(self._create_later(self.slow, creation, on_created))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def _create_later(
        self, moment: asyncio.Event, creation: Creation, on_created: Callable[[CreateFate | RuntimeRefusal], None]
    ) -> None:
        await moment.wait()
        on_created(self._create(creation))

    async def get(self, saga_id: str, *, full: bool) -> saga_pb2.Saga:
        if self.hangs:
            await asyncio.Event().wait()
        if saga_id in self.vanished:
            raise SagaNotFound(saga_id)
        return self._view(self._kept(saga_id), full=full)

    async def request(self, saga_id: str, given: Order) -> saga_pb2.Saga:
        kept = self._kept(saga_id)
        refusal = Turn(kept.saga, 1, self.clock.wall(), lambda: 0.5).take(given).refusal
        if refusal is not None:
            raise RequestRefused(refusal.code, refusal.message)
        self._turn(kept, given)
        return self._view(kept, full=False)

    async def read_log(self, saga_id: str, from_seq: int, limit: int) -> tuple[list[Stamped], int]:
        entries = self._kept(saga_id).entries
        page = entries[from_seq - 1 : from_seq - 1 + limit]
        following = from_seq + len(page)
        return page, following if page and following <= len(entries) else 0

    async def record(self, saga_id: str) -> bytes:
        return self._kept(saga_id).record.SerializeToString()

    async def watch(self, saga_id: str, from_seq: int) -> AsyncGenerator[tuple[list[Stamped], SagaState], None]:
        kept = self._kept(saga_id)
        following = from_seq
        self.watching += 1
        try:
            while True:
                changed = kept.changed
                entries = kept.entries[following - 1 :]
                if entries:
                    following = entries[-1].seq + 1
                    yield entries, kept.saga.state
                if kept.saga.finished is not None and following > len(kept.entries):
                    return
                if changed is kept.changed and following > len(kept.entries):
                    await changed.wait()
        finally:
            self.watching -= 1

    async def wait(self, saga_id: str, *, timeout: float, or_needs_operator: bool) -> saga_pb2.Saga:
        kept = self._kept(saga_id)
        self.waits.append(timeout)
        try:
            async with asyncio.timeout(timeout):
                while kept.saga.finished is None and not (or_needs_operator and kept.saga.needs_operator):
                    await kept.changed.wait()
        except TimeoutError:
            pass
        return self._view(kept, full=False)

    async def follow(
        self,
        saga_ids: Sequence[str],
        on_end: Callable[[saga_service_pb2.SagaEnd], None],
        *,
        or_needs_operator: bool = False,
    ) -> Callable[[], None]:
        self._check()
        self.follow_calls.append(list(saga_ids))
        for saga_id in saga_ids:
            kept = self.sagas.get(saga_id)
            if kept is None:
                error = saga_service_pb2.BatchError(code=5, reason="SAGA_NOT_FOUND")
                on_end(saga_service_pb2.SagaEnd(saga_id=saga_id, error=error))
            elif kept.is_over(or_needs_operator):
                on_end(end_of(self._view(kept, full=False)))
            else:
                kept.followers.append((on_end, or_needs_operator))

        def stop() -> None:
            self.followers_stopped += 1
            for kept in self.sagas.values():
                kept.followers = [each for each in kept.followers if each[0] is not on_end]

        return stop

    def follow_live(
        self, saga_id: str, on_end: Callable[[saga_service_pb2.SagaEnd], None], *, or_needs_operator: bool = False
    ) -> bool:
        kept = self.sagas.get(saga_id)
        if kept is None or kept.saga.finished is not None or saga_id in self.not_live:
            return False
        if kept.is_over(or_needs_operator):
            on_end(end_of(self._view(kept, full=False)))
        else:
            kept.followers.append((on_end, or_needs_operator))
        return True

    async def list_page(self, query: ListQuery, *, full: bool) -> list[saga_pb2.Saga]:
        self._check()
        selected = [
            kept
            for saga_id, kept in sorted(self.sagas.items())
            if saga_id > query.after_id
            and query.unfinished in (None, kept.saga.finished is None)
            and query.graph_name in (None, kept.saga.topology.graph_name)
        ]
        return [self._view(kept, full=full) for kept in selected[: query.limit]]

    async def explain(self, saga_id: str) -> admin_service_pb2.ExplainSagaResponse:
        kept = self._kept(saga_id)
        waits = [
            admin_service_pb2.NodeWait(
                node=kept.saga.topology.nodes[node].name,
                kind=saga_pb2.InvocationKind.ValueType(kind),
                reason=admin_service_pb2.WAIT_REASON_IN_FLIGHT,
            )
            for node, kind, _ in kept.saga.in_flight()
        ]
        return admin_service_pb2.ExplainSagaResponse(waits=waits)

    def workers(self) -> list[admin_service_pb2.WorkerStatus]:
        self._check()
        return self.worker_statuses

    def secs(self) -> list[admin_service_pb2.SecStatus]:
        self._check()
        me = worker_service_pb2.Sec(sec_id=OWNER.sec_id, address="sec-test:7070")
        owned = sum(kept.saga.finished is None for kept in self.sagas.values())
        statuses = [admin_service_pb2.SecStatus(sec=me, incarnation=1, owned_sagas=owned)]
        return statuses + [admin_service_pb2.SecStatus(sec=sec, incarnation=2) for sec in self.other_secs]

    async def hand_off(self, saga_id: str, to_sec_id: str) -> tuple[worker_service_pb2.Sec, int]:
        kept = self._kept(saga_id)
        if kept.saga.finished is not None:
            raise RequestRefused("SAGA_FINISHED", "the saga has ended")
        if not self.other_secs:
            raise RequestRefused("NO_OTHER_SEC", "there is no other SEC to hand the saga to")
        for sec in self.other_secs:
            if to_sec_id in ("", sec.sec_id):
                return sec, 2
        raise RequestRefused("SEC_NOT_FOUND", f"there is no live SEC {to_sec_id!r}")

    async def set_condition(self, subject: str, value: bytes) -> None:
        self._check()
        if value:
            self.kept_conditions[subject] = value
        else:
            self.kept_conditions.pop(subject, None)

    async def conditions(self) -> list[StoredCondition]:
        self._check()
        return [StoredCondition(*one) for one in sorted(self.kept_conditions.items())]

    async def drain(self, sec_id: str, timeout: float) -> None:
        self._check()
        if sec_id not in ("", OWNER.sec_id, *(sec.sec_id for sec in self.other_secs)):
            raise RequestRefused("SEC_NOT_FOUND", f"there is no live SEC {sec_id!r}")
        self.drains.append((sec_id, timeout))
