"""Spans are made from the log alone: one for the saga, one for each attempt, and nothing of what was sent in them."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from sagaline_server.core.entries import (
    AttemptStarted,
    Kind,
    NodeSucceeded,
    SagaCreated,
    SagaFinished,
    SagaState,
    Stamped,
    UndoAttemptStarted,
)
from sagaline_server.core.graph import Graph
from sagaline_server.core.spans import Attempts, Span, TracedSaga
from sagaline_server.core.traces import TraceParent, saga_span_id, span_id
from sagaline_server.core.values import NULL, Disposition, Failure
from tests.unit.core.graphs import ONCE, action, beside, chain, flat, flatten_valid
from tests.unit.core.scene import UNDO, Scene, failure
from tests.unit.core.strategies import GRAPHS, PARAMS, SEEDS, TEMPERS
from tests.unit.core.world import Temper, World

PARENT = TraceParent(b"t" * 16, b"c" * 8, 1)
SAGA = TracedSaga("s-1", "trip", PARENT)


def told(span: Span) -> dict[str, str | int]:
    return dict(span.attributes)


def spans_of(saga: TracedSaga, log: Iterable[Stamped]) -> list[Span]:
    """Return the spans of a saga that has ended, from its whole log."""
    read = Attempts()
    read.read(log)
    return list(read.spans(saga))


def attempts(scene: Scene) -> dict[str, Span]:
    """Return the spans of a finished scene's attempts, by name and attempt."""
    first, *rest = spans_of(SAGA, scene.log)
    assert (first.span_id, first.parent_id, first.is_attempt) == (saga_span_id("s-1"), PARENT.span_id, False)
    assert all(span.parent_id == first.span_id and span.is_attempt for span in rest)
    return {f"{span.name} {told(span)['sagaline.attempt']}": span for span in rest}


def outcomes(scene: Scene) -> dict[str, str | int]:
    return {name: told(span)["sagaline.outcome"] for name, span in attempts(scene).items()}


def test_a_saga_that_succeeds() -> None:
    scene = Scene(chain("a", "b"))
    scene.advance(2.0)
    scene.succeed("a")
    scene.advance(3.0)
    scene.succeed("b")
    saga, a, b = spans_of(SAGA, scene.log)
    assert (saga.name, saga.start, saga.end, saga.is_error) == ("saga trip", 1_000.0, 1_005.0, False)
    assert told(saga) == {"sagaline.saga.id": "s-1", "sagaline.graph": "trip", "sagaline.saga.state": "succeeded"}
    assert (a.name, a.start, a.end, a.is_error) == ("action a", 1_000.0, 1_002.0, False)
    assert (b.name, b.start, b.end, b.is_error) == ("action b", 1_002.0, 1_005.0, False)
    assert a.span_id == span_id("s-1", "a", Kind.ACTION, 1)
    assert told(a) == {
        "sagaline.saga.id": "s-1",
        "sagaline.node": "a",
        "sagaline.kind": "action",
        "sagaline.attempt": 1,
        "sagaline.outcome": "succeeded",
        "sagaline.worker.id": "worker-1",
    }


def test_a_saga_that_unwinds_after_retries() -> None:
    scene = Scene(chain("a", "b"))
    scene.succeed("a")
    scene.retry("b", failed=failure(Disposition.RETRY, "Busy"))
    scene.wait()
    scene.fail("b")
    scene.retry("a", UNDO, failed=failure(Disposition.RETRY, "Away"))
    scene.wait()
    scene.undo("a")
    assert outcomes(scene) == {
        "action a 1": "succeeded",
        "action b 1": "unknown",
        "action b 2": "failed",
        "undo a 1": "unknown",
        "undo a 2": "succeeded",
    }
    spans = attempts(scene)
    assert [name for name, span in spans.items() if span.is_error] == ["action b 1", "action b 2", "undo a 1"]
    assert told(spans["action b 1"])["error.type"] == "Busy"
    assert told(spans["action b 2"])["error.type"] == "test.Trouble"
    assert told(spans["undo a 1"])["error.type"] == "Away"
    saga, *_ = spans_of(msgspec.structs.replace(SAGA, error_type="test.Trouble"), scene.log)
    assert (saga.is_error, told(saga)["sagaline.saga.state"]) == (True, "unwound")
    assert told(saga)["error.type"] == "test.Trouble"


def test_a_rejection_is_no_error() -> None:
    scene = Scene(beside("a"))
    scene.reject("a")
    scene.wait()
    scene.succeed("a")
    assert outcomes(scene) == {"action a 1": "rejected", "action a 2": "succeeded"}
    assert not any(span.is_error for span in spans_of(SAGA, scene.log))


def test_the_last_word_of_an_attempt_counts() -> None:
    """Its worker was thought lost and has done the work after all."""
    scene = Scene(beside("a"))
    scene.lose("a")
    scene.advance(0.5)
    scene.succeed("a", attempt=1)
    (span,) = attempts(scene).values()
    assert (told(span)["sagaline.outcome"], span.end - span.start, span.is_error) == ("succeeded", 0.5, False)
    assert "error.type" not in told(span)


def test_an_attempt_that_nobody_waits_for_ends_with_the_saga() -> None:
    """The first attempt undoes the node while the second is under way."""
    scene = Scene(chain("a", "b"))
    scene.succeed("a")
    scene.fail("b")
    scene.lose("a", UNDO)
    scene.wait()
    scene.undo("a", attempt=1)
    assert (outcomes(scene)["undo a 1"], outcomes(scene)["undo a 2"]) == ("succeeded", "unanswered")
    second = attempts(scene)["undo a 2"]
    assert (second.end, second.is_error) == (spans_of(SAGA, scene.log)[0].end, False)


def test_that_a_node_is_given_up_is_no_word_of_its_last_attempt() -> None:
    """The attempt ended when its worker asked for another; that there is none was decided after the backoff."""
    scene = Scene(flat(action("a", retry=ONCE)))
    scene.retry("a", failed=failure(Disposition.RETRY, "Busy"))
    scene.advance(100.0)
    scene.undo("a")
    given_up = attempts(scene)["action a 1"]
    assert (told(given_up)["sagaline.outcome"], told(given_up)["error.type"]) == ("unknown", "Busy")
    assert given_up.end == 1_000.0


def test_two_clocks_make_no_span_that_ends_before_it_starts() -> None:
    """The owner that started the attempt was ahead of the one that ended it."""
    log = [
        Stamped(1, 1, 100.0, SagaCreated(b"")),
        Stamped(2, 1, 100.0, AttemptStarted("a", 1, "w")),
        Stamped(3, 2, 90.0, NodeSucceeded("a", 1, NULL)),
        Stamped(4, 2, 90.0, SagaFinished(SagaState.SUCCEEDED)),
    ]
    assert [(span.start, span.end) for span in spans_of(SAGA, log)] == [(100.0, 100.0), (100.0, 100.0)]


def test_elements_of_a_map_have_one_name() -> None:
    """What is said of spans by name is said of all elements; the node is in the attributes."""
    log = [
        Stamped(1, 1, 1.0, SagaCreated(b"")),
        Stamped(2, 1, 1.0, AttemptStarted("guests[12]/rooms[0]/book", 1, "")),
        Stamped(3, 1, 2.0, NodeSucceeded("guests[12]/rooms[0]/book", 1, NULL)),
        Stamped(4, 1, 2.0, SagaFinished(SagaState.SUCCEEDED)),
    ]
    span = spans_of(SAGA, log)[1]
    assert span.name == "action guests[]/rooms[]/book"
    assert told(span)["sagaline.node"] == "guests[12]/rooms[0]/book"
    assert "sagaline.worker.id" not in told(span)


def test_nothing_of_a_failure_but_its_type() -> None:
    scene = Scene(beside("a"))
    scene.take(scene.result("a", given=Failure("Declined", "card 4711", Disposition.FAIL, stack_trace="4711")))
    assert "4711" not in repr(spans_of(SAGA, scene.log))


@given(GRAPHS, TEMPERS, SEEDS, st.randoms(use_true_random=False))
def test_whatever_happens_each_attempt_has_its_span(graph: Graph, temper: Temper, seed: int, chance: Random) -> None:
    world = World(flatten_valid(graph), temper, PARAMS, seed=seed)
    world.rage(40)
    world.calm()
    world.calm(operator=True)
    first, *rest = spans_of(SAGA, world.log)
    started = [s.entry for s in world.log if isinstance(s.entry, AttemptStarted | UndoAttemptStarted)]
    kinds = {AttemptStarted: "action", UndoAttemptStarted: "undo"}
    assert [(entry.node, kinds[type(entry)], entry.attempt) for entry in started] == [
        (told(span)["sagaline.node"], told(span)["sagaline.kind"], told(span)["sagaline.attempt"]) for span in rest
    ]
    assert len({first.span_id, *(span.span_id for span in rest)}) == 1 + len(rest)
    assert all(span.parent_id == first.span_id for span in rest)
    assert all(first.start <= span.start <= span.end <= first.end for span in rest)
    for span in rest:
        assert span.is_error is ("error.type" in told(span) and told(span)["sagaline.outcome"] != "rejected")
    told_of_payloads = [text for text in ('"of"', "trouble", "binary/raw") if text in repr((first, rest))]
    assert told_of_payloads == []
    assert in_parts(world.log, chance) == [first, *rest]


def in_parts(log: list[Stamped], chance: Random) -> list[Span]:
    """Return the spans of a log that is read page by page."""
    attempts, at = Attempts(), 0
    while at < len(log):
        size = chance.randint(1, 5)
        attempts.read(log[at : at + size])
        at += size
    assert attempts.is_whole
    return list(attempts.spans(SAGA))
