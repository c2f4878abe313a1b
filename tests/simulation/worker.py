"""One life of a worker process: the SDK's engine, links, fleet and holdings, with user code that is the world's.

Only the two ends are simulated: the channel that is dialled, and the executor.
The engine's thread is the process's loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import cast

from grpc import aio

from sagaline.v1 import failure_pb2, payload_pb2
from sagaline.v1 import worker_service_pb2 as pb
from sagaline.worker.attempts import ACTION, UNDO, Attempt, CancelReason, Ref
from sagaline.worker.effects import Welcomed
from sagaline.worker.engine import Engine
from sagaline.worker.executor import Executor
from sagaline.worker.fleet import Fleet
from sagaline.worker.holdings import Holdings
from sagaline.worker.inbox import Inbox
from sagaline.worker.results import Outcome
from tests.simulation.calls import Caller, SimChannel
from tests.simulation.history import History
from tests.simulation.network import Network
from tests.simulation.processes import Host, Process
from tests.simulation.variety import DRIFTED_SCHEMA, OUTPUT_SCHEMA
from tests.simulation.workload import ACTIONS
from tests.simulation.world import Plan, World

TYPES = (OUTPUT_SCHEMA, DRIFTED_SCHEMA, "")
"""What a worker says of each action's output: what graphs say, something else, nothing."""
ACTION_SPECS = tuple(
    pb.ActionSpec(action=action, output_type=payload_pb2.TypeSpec(json_schema=schema) if schema else None)
    for action, schema in zip(ACTIONS, TYPES, strict=True)
)
STOP_SECONDS = 0.1
"""How soon an obedient attempt ends when it is told to."""


class SimExecutor:
    """Runs attempts as the world has them go; has what the engine uses of an executor."""

    def __init__(self, process: Process, world: World, history: History, inbox: Inbox) -> None:
        """Run attempts in a process."""
        self._process = process
        self._world = world
        self._history = history
        self._inbox = inbox
        self._runs: dict[Ref, _Run] = {}

    def start(self, attempts: Iterable[Attempt]) -> None:
        """Run attempts."""
        for attempt in attempts:
            self._history.run_began(self._process, attempt.ref, attempt.epoch)
            self._runs[attempt.ref] = _Run(self, attempt, self._world.plan(attempt.ref))

    def stop(self, ref: Ref, reason: CancelReason) -> None:
        """Tell an attempt to stop."""
        run = self._runs.get(ref)
        if run is not None and not reason.is_advice:
            run.stop()

    def ended(self, ref: Ref) -> None:
        """The engine has taken the end of an attempt."""
        self._runs.pop(ref, None)

    def close(self, timeout: float) -> int:
        """Let go of what runs."""
        return len(self._runs)

    def release(self) -> None:
        """Let everything that hangs go on."""
        for run in list(self._runs.values()):
            run.release()

    def end(self, ref: Ref, outcome: Outcome) -> None:
        """Report the end of an attempt."""
        self._history.run_ended(self._process, ref)
        result = pb.InvocationResult(ref=ref.message())
        if isinstance(outcome, failure_pb2.Failure):
            result.failure.CopyFrom(outcome)
        else:
            result.output.CopyFrom(outcome)
        self._history.results.append((self._process.name.replace("#", "-"), result))
        self._inbox.put_ends([(ref, outcome)])

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Where attempts run."""
        return self._process.loop

    @property
    def world(self) -> World:
        """What attempts change."""
        return self._world


class _Run:
    """One attempt in its course: some time, its effect, some time, its answer."""

    def __init__(self, executor: SimExecutor, attempt: Attempt, plan: Plan) -> None:
        self._executor = executor
        self._ref = attempt.ref
        self._plan = plan
        self._is_over = False
        self._had_effect = False
        self._timer: asyncio.TimerHandle | None = None
        self._later(plan.seconds * plan.effect_share, self._have_effect)

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        self._timer = self._executor.loop.call_later(seconds, call)

    def _have_effect(self) -> None:
        self._had_effect = True
        self._executor.world.begin_effect(self._ref, self._plan)
        if self._plan.hangs:
            self._timer = None
        else:
            self._later(self._plan.seconds * (1.0 - self._plan.effect_share), self._end)

    def _end(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._executor.end(self._ref, self._executor.world.answer(self._ref, self._plan))

    def release(self) -> None:
        """Go on, if it hangs."""
        if self._had_effect and self._timer is None:
            self._end()
        self._plan.hangs = False

    def stop(self) -> None:
        """End soon, if it is so inclined; before its effect it says that it does not know."""
        if not self._plan.obedient or self._is_over:
            return
        if self._timer is not None:
            self._timer.cancel()
        if not self._had_effect:
            self._plan.answer = "retry"
        self._later(STOP_SECONDS, self._end)


class SimWorker:
    """One life of a worker."""

    def __init__(
        self,
        process: Process,
        network: Network,
        world: World,
        history: History,
        secs: Sequence[Host],
        seeds: Sequence[Host],
        slots: int,
    ) -> None:
        """Make a worker that serves every action of `ACTIONS`, and learns of all SECs from those that are its seeds."""
        self.process = process
        self.worker_id = process.name.replace("#", "-")
        self._caller = Caller(network, process)
        self._world = world
        self._history = history
        self._hosts = {host.name: host for host in secs}
        self._seeds = [f"{host.name}:7070" for host in seeds]
        self._slots = slots
        self.executor: SimExecutor | None = None
        self._engine: Engine | None = None

    async def main(self) -> None:
        """Work until drained."""
        served = {(action, "1", kind): "" for action in ACTIONS for kind in (ACTION, UNDO)}
        holdings = Holdings(served, {"": self._slots})
        hello = pb.Hello(protocol_version=1, worker_id=self.worker_id, actions=ACTION_SPECS)
        fleet = Fleet(hello, holdings, self._seeds)
        self._engine = engine = Engine(fleet, self._dial, self._welcomed, self._ended)
        self.executor = SimExecutor(self.process, self._world, self._history, engine.inbox)
        engine._executor = cast("Executor", self.executor)
        await engine._run()
        self._history.note(self.process.name, "has drained")
        self.process.kill()

    def _dial(self, address: str) -> aio.Channel:
        return cast("aio.Channel", SimChannel(self._caller, self._hosts[address.partition(":")[0]]))

    def _welcomed(self, welcome: Welcomed) -> None:
        self._history.note(self.process.name, f"welcomed by {welcome.sec_id}")

    def _ended(self, error: str | None) -> None:
        pass

    def drain(self, seconds: float) -> None:
        """Begin to leave."""
        if self._engine is not None and self.process.alive:
            self.process.loop.call_soon(self._engine._drain, seconds)
