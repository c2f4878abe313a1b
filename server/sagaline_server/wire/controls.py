"""Requests for the owner of a saga, to and from their messages."""

from __future__ import annotations

from sagaline.v1 import log_pb2
from sagaline_server.core.decide import (
    Close,
    InjectFault,
    Input,
    Order,
    Resolve,
    SetBreakpoints,
    SetPaused,
    SetQuarantined,
    Signal,
    Step,
    Unwind,
)
from sagaline_server.core.entries import FaultKind, Resolution, UnwindCause
from sagaline_server.wire.breakpoints import breakpoints_from, fill_breakpoints
from sagaline_server.wire.payloads import fill_payload, payload_from
from sagaline_server.wire.times import timestamp


def control_record(given: Order, now: float) -> log_pb2.ControlRecord:
    """Return the message of an order, accepted at a time in seconds since 1970."""
    record = log_pb2.ControlRecord(time=timestamp(now), actor=given.actor, reason=given.reason)
    match given:
        case Unwind():
            record.unwind.SetInParent()
        case SetPaused():
            record.gate.paused = given.paused
        case Step():
            record.gate.steps = given.steps
        case SetBreakpoints():
            record.gate.breakpoints.SetInParent()
            fill_breakpoints(record.gate.breakpoints.breakpoints, given.breakpoints)
        case Signal():
            record.signal.signal, record.signal.request_id = given.signal, given.request_id
            fill_payload(record.signal.payload, given.payload)
        case InjectFault():
            record.inject.node, record.inject.times = given.node, given.times
            record.inject.fault = log_pb2.FaultKind.ValueType(given.fault)
        case SetQuarantined():
            record.quarantine.quarantined = given.quarantined
        case Resolve():
            record.resolve.node = given.node
            record.resolve.resolution = log_pb2.Resolution.ValueType(given.resolution)
            record.resolve.expected_log_length = given.expected_log_length
            if given.output is not None:
                fill_payload(record.resolve.output, given.output)
    return record


def input_from(record: log_pb2.ControlRecord) -> Input | None:
    """Return what a request asks of the machine; None when this release does not know it."""
    kind = record.WhichOneof("request")
    if kind == "unwind":
        return Unwind(UnwindCause.REQUESTED, record.actor, record.reason)
    if kind == "gate":
        return _gate_input(record)
    if kind == "signal":
        sent = record.signal
        return Signal(sent.signal, payload_from(sent.payload), sent.request_id, record.actor, record.reason)
    if kind == "resolve":
        order = record.resolve
        output = payload_from(order.output) if order.HasField("output") else None
        resolution, expected = Resolution(order.resolution), order.expected_log_length
        return Resolve(order.node, resolution, record.actor, record.reason, output, expected)
    if kind == "inject":
        asked = record.inject
        return InjectFault(asked.node, FaultKind(asked.fault), asked.times, record.actor, record.reason)
    if kind == "quarantine":
        return SetQuarantined(record.quarantine.quarantined, record.actor, record.reason)
    if kind in ("run", "hand_off"):
        # What it asks for has happened.
        return Close()
    return None


def _gate_input(record: log_pb2.ControlRecord) -> Input | None:
    """Return what an order for the gate asks: one thing each."""
    order = record.gate
    if order.HasField("steps"):
        return Step(order.steps, record.actor, record.reason)
    if order.HasField("breakpoints"):
        return SetBreakpoints(breakpoints_from(order.breakpoints.breakpoints), record.actor, record.reason)
    if order.HasField("paused"):
        return SetPaused(order.paused, record.actor, record.reason)
    return None
