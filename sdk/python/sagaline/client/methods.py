"""The RPCs that the client uses: their paths, their message types, and whether repeating them is safe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from google.protobuf.message import Message

from sagaline.v1 import admin_service_pb2, saga_service_pb2

Req = TypeVar("Req", bound=Message)
Res = TypeVar("Res", bound=Message)

_SAGAS = "/sagaline.v1.SagaService"
_ADMIN = "/sagaline.v1.AdminService"


@dataclass(frozen=True, slots=True)
class Method(Generic[Req, Res]):
    """One RPC."""

    path: str
    request: type[Req]
    response: type[Res]
    repeatable: bool = True
    """Whether a call whose fate is not known may be sent again. The protos say which are."""


CREATE_SAGA = Method(
    # Safe to repeat because the client always gives an id.
    f"{_SAGAS}/CreateSaga",
    saga_service_pb2.CreateSagaRequest,
    saga_service_pb2.CreateSagaResponse,
)
CREATE_SAGAS = Method(
    f"{_SAGAS}/CreateSagas",
    saga_service_pb2.CreateSagasRequest,
    saga_service_pb2.CreateSagasResponse,
)
RUN_SAGA = Method(
    # Safe to repeat because the client always gives an id.
    f"{_SAGAS}/RunSaga",
    saga_service_pb2.RunSagaRequest,
    saga_service_pb2.RunSagaResponse,
)
RUN_SAGAS = Method(
    f"{_SAGAS}/RunSagas",
    saga_service_pb2.RunSagasRequest,
    saga_service_pb2.RunSagasResponse,
)
GET_SAGA = Method(
    f"{_SAGAS}/GetSaga",
    saga_service_pb2.GetSagaRequest,
    saga_service_pb2.GetSagaResponse,
)
LIST_SAGAS = Method(
    f"{_SAGAS}/ListSagas",
    saga_service_pb2.ListSagasRequest,
    saga_service_pb2.ListSagasResponse,
)
COUNT_SAGAS = Method(
    f"{_SAGAS}/CountSagas",
    saga_service_pb2.CountSagasRequest,
    saga_service_pb2.CountSagasResponse,
)
BATCH_CONTROL_SAGAS = Method(
    # Safe to repeat: what is paused stays paused, and so on.
    f"{_SAGAS}/BatchControlSagas",
    saga_service_pb2.BatchControlSagasRequest,
    saga_service_pb2.BatchControlSagasResponse,
)
WATCH_SAGA = Method(
    f"{_SAGAS}/WatchSaga",
    saga_service_pb2.WatchSagaRequest,
    saga_service_pb2.WatchSagaResponse,
)
WAIT_SAGA = Method(
    f"{_SAGAS}/WaitSaga",
    saga_service_pb2.WaitSagaRequest,
    saga_service_pb2.WaitSagaResponse,
)
GET_SAGA_LOG = Method(
    f"{_SAGAS}/GetSagaLog",
    saga_service_pb2.GetSagaLogRequest,
    saga_service_pb2.GetSagaLogResponse,
)
PAUSE_SAGA = Method(
    f"{_SAGAS}/PauseSaga",
    saga_service_pb2.PauseSagaRequest,
    saga_service_pb2.PauseSagaResponse,
)
RESUME_SAGA = Method(
    f"{_SAGAS}/ResumeSaga",
    saga_service_pb2.ResumeSagaRequest,
    saga_service_pb2.ResumeSagaResponse,
)
STEP_SAGA = Method(
    f"{_SAGAS}/StepSaga",
    saga_service_pb2.StepSagaRequest,
    saga_service_pb2.StepSagaResponse,
    repeatable=False,  # steps add up
)
SET_BREAKPOINTS = Method(
    f"{_SAGAS}/SetBreakpoints",
    saga_service_pb2.SetBreakpointsRequest,
    saga_service_pb2.SetBreakpointsResponse,
)
UNWIND_SAGA = Method(
    f"{_SAGAS}/UnwindSaga",
    saga_service_pb2.UnwindSagaRequest,
    saga_service_pb2.UnwindSagaResponse,
)
SIGNAL_SAGA = Method(
    # Safe to repeat because the client always gives a request id.
    f"{_SAGAS}/SignalSaga",
    saga_service_pb2.SignalSagaRequest,
    saga_service_pb2.SignalSagaResponse,
)
RESOLVE_NODE = Method(
    f"{_SAGAS}/ResolveNode",
    saga_service_pb2.ResolveNodeRequest,
    saga_service_pb2.ResolveNodeResponse,
    # A decision that arrives twice would be taken twice: it may meet the node after its next failure.
    repeatable=False,
)
INJECT_FAULT = Method(
    f"{_SAGAS}/InjectFault",
    saga_service_pb2.InjectFaultRequest,
    saga_service_pb2.InjectFaultResponse,
    repeatable=False,  # faults add up
)
QUARANTINE_SAGA = Method(
    f"{_ADMIN}/QuarantineSaga",
    admin_service_pb2.QuarantineSagaRequest,
    admin_service_pb2.QuarantineSagaResponse,
)
RELEASE_SAGA = Method(
    f"{_ADMIN}/ReleaseSaga",
    admin_service_pb2.ReleaseSagaRequest,
    admin_service_pb2.ReleaseSagaResponse,
)
LIST_WORKERS = Method(
    f"{_ADMIN}/ListWorkers",
    admin_service_pb2.ListWorkersRequest,
    admin_service_pb2.ListWorkersResponse,
)
EXPLAIN_SAGA = Method(
    f"{_ADMIN}/ExplainSaga",
    admin_service_pb2.ExplainSagaRequest,
    admin_service_pb2.ExplainSagaResponse,
)
LIST_SECS = Method(
    f"{_ADMIN}/ListSecs",
    admin_service_pb2.ListSecsRequest,
    admin_service_pb2.ListSecsResponse,
)
SET_LIMIT = Method(
    f"{_ADMIN}/SetLimit",
    admin_service_pb2.SetLimitRequest,
    admin_service_pb2.SetLimitResponse,
)
SET_ACTION_BREAKPOINT = Method(
    f"{_ADMIN}/SetActionBreakpoint",
    admin_service_pb2.SetActionBreakpointRequest,
    admin_service_pb2.SetActionBreakpointResponse,
)
CLEAR_ACTION_BREAKPOINT = Method(
    f"{_ADMIN}/ClearActionBreakpoint",
    admin_service_pb2.ClearActionBreakpointRequest,
    admin_service_pb2.ClearActionBreakpointResponse,
)
LIST_ACTION_BREAKPOINTS = Method(
    f"{_ADMIN}/ListActionBreakpoints",
    admin_service_pb2.ListActionBreakpointsRequest,
    admin_service_pb2.ListActionBreakpointsResponse,
)
LIST_LIMITS = Method(
    f"{_ADMIN}/ListLimits",
    admin_service_pb2.ListLimitsRequest,
    admin_service_pb2.ListLimitsResponse,
)
HAND_OFF = Method(
    f"{_ADMIN}/HandOff",
    admin_service_pb2.HandOffRequest,
    admin_service_pb2.HandOffResponse,
    # Where the first call went well, a second one would hand the saga on.
    repeatable=False,
)
DRAIN_SEC = Method(
    f"{_ADMIN}/DrainSec",
    admin_service_pb2.DrainSecRequest,
    admin_service_pb2.DrainSecResponse,
    # A SEC that has stopped may have been started again, and is not to be stopped twice.
    repeatable=False,
)
