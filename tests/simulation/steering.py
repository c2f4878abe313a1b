"""What operators do to more than one saga: limits, breakpoints on actions, and batches, drawn beforehand."""

from __future__ import annotations

import random

import msgspec

from sagaline.v1 import admin_service_pb2, saga_pb2, saga_service_pb2
from tests.simulation.options import BATCHES, HELD_ACTIONS, LIMITED, Options
from tests.simulation.plans import TEAMS
from tests.simulation.workload import ACTIONS, draw_limits

Request = admin_service_pb2.Limit | admin_service_pb2.ActionBreakpoint | str | saga_service_pb2.BatchControlSagasRequest


CONTROLS = (
    saga_service_pb2.BATCH_CONTROL_PAUSE,
    saga_service_pb2.BATCH_CONTROL_PAUSE,
    saga_service_pb2.BATCH_CONTROL_UNWIND,
)
SIDES = (
    saga_pb2.INVOCATION_KIND_UNSPECIFIED,
    saga_pb2.INVOCATION_KIND_ACTION,
    saga_pb2.INVOCATION_KIND_UNDO,
)


class Deed(msgspec.Struct, frozen=True):
    """Something that is asked of any SEC, again until one has done it."""

    at: float
    """Seconds from the start."""
    method: str
    request: Request


def draw_deeds(options: Options) -> list[Deed]:
    """Draw what is done in a run."""
    deeds: list[Deed] = []
    if LIMITED in options.features:
        chance = random.Random(f"limits {options.seed}")
        deeds += [Deed(at, "SetLimit", limit) for at, limit in draw_limits(chance, options.seconds)]
    if HELD_ACTIONS in options.features:
        deeds += _breakpoints(random.Random(f"held {options.seed}"), options.seconds)
    if BATCHES in options.features:
        deeds += _batches(random.Random(f"batches {options.seed}"), options.seconds)
    return deeds


def _breakpoints(chance: random.Random, length: float) -> list[Deed]:
    """Draw breakpoints on actions, and when each is cleared."""
    deeds = []
    for action in chance.sample(ACTIONS, chance.randint(1, 2)):
        point = admin_service_pb2.ActionBreakpoint(action=action, actor="client", reason="drawn")
        point.kind = chance.choice(SIDES)
        at = length * chance.random() ** 2
        deeds.append(Deed(at, "SetPoint", point))
        deeds.append(Deed(at + chance.uniform(1.0, 20.0), "ClearPoint", action))
    return deeds


def _batches(chance: random.Random, length: float) -> list[Deed]:
    """Draw batches; what one pauses, another one resumes."""
    deeds = []
    for _ in range(chance.randint(1, 3)):
        request = saga_service_pb2.BatchControlSagasRequest()
        request.filter.labels["team"] = chance.choice(TEAMS)
        request.by.actor, request.by.reason = "client", "drawn"
        request.control = chance.choice(CONTROLS)
        at = length * chance.random()
        deeds.append(Deed(at, "Batch", request))
        if request.control == saga_service_pb2.BATCH_CONTROL_PAUSE:
            resumed = saga_service_pb2.BatchControlSagasRequest()
            resumed.CopyFrom(request)
            resumed.control = saga_service_pb2.BATCH_CONTROL_RESUME
            deeds.append(Deed(at + chance.uniform(0.5, 15.0), "Batch", resumed))
    return deeds
