"""The Python conformance worker with a fault planted in its session: `SAGALINE_DEFECT` names it. For the kit's tests.

Each fault is one that authors of SDKs make; the kit must find it by the behaviour that forbids it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import worker

from sagaline.v1 import failure_pb2
from sagaline.v1 import worker_service_pb2 as pb
from sagaline.worker import outcomes
from sagaline.worker.attempts import CancelReason, Ref
from sagaline.worker.effects import Reconnect
from sagaline.worker.epochs import Epochs
from sagaline.worker.holdings import Holdings
from sagaline.worker.pulse import Pulse
from sagaline.worker.rejections import Rejections
from sagaline.worker.reports import Reports
from sagaline.worker.results import Results
from sagaline.worker.session import Session
from sagaline.worker.slots import Slots
from sagaline.worker.windows import Windows


def replace(owner: Any, name: str, value: object) -> None:
    """Plant a fault: this process has no other purpose."""
    setattr(owner, name, value)


def results_forgotten() -> None:
    """What was written is forgotten, acknowledged or not."""
    take = Results.take

    def forgetful(self: Results, *arguments: Any) -> Any:
        taken = take(self, *arguments)
        for message in taken[0]:
            self._settle(Ref.of(message.ref))
        return taken

    replace(Results, "take", forgetful)


def every_stream_gets_all() -> None:
    """Each SEC is granted all slots."""
    replace(Windows, "tell", lambda self, _address, *, closed: dict.fromkeys(self._slots, 0) if closed else self._slots)


def slots_not_counted() -> None:
    """Whatever comes runs at once."""
    init = Slots.__init__
    replace(Slots, "__init__", lambda self, slots, *others: init(self, dict.fromkeys(slots, 1000), *others))


def runs_again() -> None:
    """An attempt that is sent again is not recognised once its result is there."""
    attach = Holdings._attach
    replace(Holdings, "_attach", lambda self, ref, *others: ref not in self.results and attach(self, ref, *others))


def no_epochs() -> None:
    """Lower epochs are taken."""
    replace(Epochs, "is_stale", lambda _self, _saga, _epoch: False)


def advice_interrupts() -> None:
    """That the saga unwinds tears user code down."""
    replace(CancelReason, "is_advice", property(lambda _self: False))


def rejections_forgotten() -> None:
    """A rejection is said once."""
    take = Rejections.take

    def forgetful(self: Rejections, *arguments: Any) -> Any:
        taken = take(self, *arguments)
        for message in taken[0]:
            self.held.pop(Ref.of(message.ref), None)
        return taken

    replace(Rejections, "take", forgetful)


def gives_up() -> None:
    """After three failures in a row nothing is dialled any more."""
    reconnect = Session._reconnect

    def last(self: Session, now: float, draw: float) -> None:
        if self._failures < 3:
            reconnect(self, now, draw)
        else:
            self._effects.add(Reconnect(self.address, now + 1e6, fresh_channel=False, failures=self._failures))

    replace(Session, "_reconnect", last)


def questions_unanswered() -> None:
    """Adoptions are heeded and not answered."""
    replace(Reports, "about", lambda _self, _refs: None)


def rounds_to_failed() -> None:
    """An error that the worker does not know counts as having had no effect."""
    unexpected = outcomes.unexpected

    def rounded(error: BaseException, *, stack_trace: bool) -> failure_pb2.Failure:
        failure = unexpected(error, stack_trace=stack_trace)
        failure.disposition = failure_pb2.FAILURE_DISPOSITION_FAIL
        return failure

    replace(outcomes, "unexpected", rounded)


def no_heartbeats() -> None:
    """None is ever due."""
    replace(Pulse, "tick", lambda _self, _now: None)


def leaves_early() -> None:
    """It does not wait for the SEC to say that nothing more will come."""
    drained = property(lambda _self: True, lambda _self, _value: None)
    replace(Session, "_drained", drained)


def moves_ignored() -> None:
    """Results go to whoever sent the attempt."""
    replace(Holdings, "move", lambda _self, _sec, _moves, _now: None)


def both_at_once() -> None:
    """The undo action does not wait for its action."""

    def impatient(self: Slots, attempt: Any, now: float) -> None:
        self.attempts[attempt.ref] = attempt
        self._held[attempt.pool] += 1
        self._start(attempt, now)

    replace(Slots, "take", impatient)


def hello_says_nothing() -> None:
    """The report of a hello is empty and complete."""

    def nothing(_self: Holdings, _sec: str | None) -> Iterator[tuple[Ref, pb.InFlightState.ValueType]]:
        return iter(())

    replace(Holdings, "report", nothing)


def outputs_unbounded() -> None:
    """An output of any size is sent."""
    replace(Holdings, "_fit", lambda _self: None)


DEFECTS: dict[str, Callable[[], None]] = {
    plant.__name__: plant
    for plant in (
        results_forgotten, every_stream_gets_all, slots_not_counted, runs_again, no_epochs, advice_interrupts,
        rejections_forgotten, gives_up, questions_unanswered, rounds_to_failed, no_heartbeats, leaves_early,
        moves_ignored, both_at_once, hello_says_nothing, outputs_unbounded,
    )
}  # fmt: skip

if __name__ == "__main__":
    DEFECTS[os.environ["SAGALINE_DEFECT"]]()
    worker.main()
