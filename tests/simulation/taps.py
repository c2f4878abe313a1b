"""Seams of a SEC at which the history hears what it decides, at the moment at which it does."""

from __future__ import annotations

from typing import Any

from sagaline.v1 import worker_service_pb2 as pb
from sagaline_server.app import sec as app
from sagaline_server.core.entries import Kind
from sagaline_server.core.invocation import Invocation
from sagaline_server.core.turn import Turn
from sagaline_server.dispatch.session import AttemptKey
from sagaline_server.runtime.live import LiveSaga
from tests.simulation.history import History
from tests.simulation.processes import Process


def tap(sec: app.Sec, process: Process, history: History) -> None:
    """Tell a history what a SEC decides."""
    _tap_sending(sec, process, history)
    _tap_starts(sec, process, history)
    _tap_losses(sec, process, history)
    _tap_limits(sec, process, history)


def _tap_sending(sec: app.Sec, process: Process, history: History) -> None:
    """See what is dispatched at the moment at which that is decided: a frame may leave later."""
    send = sec._dispatcher.send

    def see_and_send(saga_id: str, invocation: Invocation, encoded: bytes) -> None:
        history.dispatched(process, pb.Invocation.FromString(encoded))
        send(saga_id, invocation, encoded)

    vars(sec._dispatcher)["send"] = see_and_send


def _tap_starts(sec: app.Sec, process: Process, history: History) -> None:
    """See both ways in which an attempt comes to its slot, and each turn that is to be written."""
    engine = sec._engine
    place, offer, write = engine.place, engine.offer, engine._write

    def see_place(live: LiveSaga, node: int, kind: Kind) -> str | None:
        worker_id = place(live, node, kind)
        if worker_id is not None:
            history.reserved(process, live, node, kind)
        return worker_id

    def see_offer(saga_id: str, node: int, kind: Kind, worker_id: str) -> bool:
        is_taken = offer(saga_id, node, kind, worker_id)
        if is_taken:
            history.reserved(process, engine.sagas[saga_id], node, kind)
        return is_taken

    def see_write(live: LiveSaga, turn: Turn, *args: Any) -> None:
        history.decided(process, live, turn)
        write(live, turn, *args)

    vars(engine).update(place=see_place, offer=see_offer, _write=see_write)


def _tap_losses(sec: app.Sec, process: Process, history: History) -> None:
    dispatcher = sec._dispatcher
    lose, forget = dispatcher._lose, dispatcher._forget_attempts

    def see_loss(key: AttemptKey, message: str, *, uncounted: bool = False) -> None:
        history.let_go(process, key[0], key[1])
        lose(key, message, uncounted=uncounted)

    def see_forget(saga_id: str, moved: Any) -> None:
        history.let_go(process, saga_id, "")
        forget(saga_id, moved)

    vars(dispatcher).update(_lose=see_loss, _forget_attempts=see_forget)


def _tap_limits(sec: app.Sec, process: Process, history: History) -> None:
    """See what lets a saga run in its scopes, and when this SEC's shares change; who is let in by that, after it."""
    limits, engine = sec._keeper.conditions, sec._engine
    permits, admissions = engine.dispatcher.permits, engine.admissions
    share, admits, gone = limits._share, admissions.admits, admissions.gone
    admitted: set[LiveSaga] = set()
    let_in: list[LiveSaga] = []
    is_sharing = False

    def see_admits(live: LiveSaga) -> bool:
        is_admitted = admits(live)
        if is_admitted and live not in admitted:
            admitted.add(live)
            if is_sharing:
                let_in.append(live)
            else:
                history.admitted(process, live)
        return is_admitted

    def see_gone(live: LiveSaga) -> None:
        if live.claim is None or live.is_gone:  # another SEC has created it, or this one runs it no longer
            history.let_go(process, live.saga_id, "")
        gone(live)

    def see_share() -> None:
        nonlocal is_sharing
        before, is_sharing = (permits.shares, admissions.shares), True
        share()
        is_sharing = False
        if before != (permits.shares, admissions.shares):
            history.shares_changed(process)
        for live in let_in:
            history.admitted(process, live)
        let_in.clear()

    vars(admissions).update(admits=see_admits, gone=see_gone)
    vars(limits)["_share"] = see_share
    sec._membership.on_change.append(lambda: history.shares_changed(process))
