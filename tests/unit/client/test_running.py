"""A run of many sagas over streams that break."""

from __future__ import annotations

import pytest

from sagaline import errors
from sagaline.client.running import RunBook
from sagaline.v1 import failure_pb2, saga_service_pb2
from tests.unit.client.samples import SUCCEEDED, UNWOUND, Booking, end, result, trip, trip_graph

Frame = saga_service_pb2.RunSagasResponse


def book_of(*saga_ids: str, window: int = 10) -> RunBook[Booking]:
    book: RunBook[Booking] = RunBook(window)
    for saga_id in saga_ids:
        book.add(trip(saga_id))
    return book


def sent(book: RunBook[Booking]) -> list[str]:
    frame = book.next_frame()
    return [spec.saga_id for spec in frame.sagas] if frame is not None else []


def trouble_of(book: RunBook[Booking]) -> errors.RpcError | None:
    return book.trouble


def error(code: int, reason: str) -> saga_service_pb2.BatchError:
    return saga_service_pb2.BatchError(code=code, reason=reason, message="no")


def test_the_graph_is_sent_once_a_stream() -> None:
    book = book_of("a")
    first = book.next_frame()
    assert first is not None
    assert [spec.graph_key for spec in first.sagas] == list(first.graphs)
    book.add(trip("b"))
    second = book.next_frame()
    assert second is not None
    assert [spec.graph_key for spec in second.sagas] == list(first.graphs)
    assert not second.graphs
    book.restart()
    again = book.next_frame()
    assert again is not None
    assert len(again.graphs) == 1


def test_each_end_is_told_once_with_its_result() -> None:
    book = book_of("a", "b")
    assert sent(book) == ["a", "b"]
    assert book.next_frame() is None
    assert book.receive(Frame(results=[result("a"), result("b")])) == []
    [ended] = book.receive(Frame(ends=[end("b", 3)]))
    assert (ended.saga_id, ended.state, ended.result()) == ("b", SUCCEEDED, Booking(3))
    assert book.receive(Frame(ends=[end("b", 3), end("unheard-of")])) == []
    assert not book.is_idle()
    assert [each.saga_id for each in book.receive(Frame(ends=[end("a")]))] == ["a"]
    assert book.is_idle()


def test_an_unwound_saga_says_why() -> None:
    book = book_of("a")
    sent(book)
    failure = failure_pb2.Failure(type="Full", message="no room")
    unwound = saga_service_pb2.SagaEnd(saga_id="a", state=UNWOUND, failure=failure)
    [ended] = book.receive(Frame(results=[result("a")], ends=[unwound]))
    with pytest.raises(errors.SagaUnwound, match="Full: no room") as raised:
        ended.result()
    assert raised.value.saga_id == "a"


def test_a_refused_saga_ends_with_the_error_and_the_others_go_on() -> None:
    book = book_of("a", "b")
    sent(book)
    problem = saga_service_pb2.FieldProblem(field="saga.labels", reason="TOO_MANY", message="33 labels")
    refused = saga_service_pb2.BatchError(code=3, reason="BAD_SPEC", message="no", problems=[problem])
    [ended] = book.receive(Frame(results=[result("a", error=refused), result("b")]))
    assert ended.saga_id == "a"
    with pytest.raises(errors.InvalidRequest, match="33 labels"):
        ended.result()
    assert book.trouble is None
    assert not book.is_idle()


def test_a_new_stream_follows_what_is_durable_and_sends_the_rest_again() -> None:
    book = book_of("a", "b", "c", "d")
    sent(book)
    book.receive(Frame(results=[result("a"), result("b")], ends=[end("a")]))
    book.restart()
    follow = book.next_frame()
    assert follow is not None
    assert list(follow.follow_ids) == ["b"]
    assert sent(book) == ["c", "d"]
    assert book.next_frame() is None
    ends = book.receive(Frame(results=[result("c"), result("d", existed=True)], ends=[end("d"), end("b"), end("c")]))
    assert [each.saga_id for each in ends] == ["d", "b", "c"]
    assert book.is_idle()


def test_an_end_may_come_before_the_result_of_the_creation() -> None:
    book = book_of("a", "b")
    sent(book)
    assert len(book.receive(Frame(ends=[end("a")]))) == 1
    assert book.receive(Frame(results=[result("a", existed=True), result("b")])) == []
    assert book.trouble is None
    book.restart()
    follow = book.next_frame()
    assert follow is not None
    assert list(follow.follow_ids) == ["b"]


def test_a_saga_that_cannot_be_created_just_now_is_trouble_for_the_stream_and_not_its_end() -> None:
    book = book_of("a", "b")
    sent(book)
    ends = book.receive(Frame(results=[result("a", error=error(14, "STORE_AWAY")), result("b")], ends=[end("b")]))
    assert [each.saga_id for each in ends] == ["b"]
    assert isinstance(book.trouble, errors.Unavailable)
    book.restart()
    assert sent(book) == ["a"]
    assert trouble_of(book) is None


def test_a_saga_that_cannot_be_followed_ends_with_the_error() -> None:
    book = book_of("a")
    sent(book)
    book.receive(Frame(results=[result("a")]))
    gone = saga_service_pb2.SagaEnd(saga_id="a", error=error(5, "SAGA_NOT_FOUND"))
    [ended] = book.receive(Frame(ends=[gone]))
    with pytest.raises(errors.SagaNotFound):
        ended.result()


def test_a_result_out_of_order_is_trouble() -> None:
    book = book_of("a", "b")
    sent(book)
    book.receive(Frame(results=[result("b")]))
    assert isinstance(book.trouble, errors.UnexpectedAnswer)


def test_a_result_that_nobody_asked_for_is_trouble() -> None:
    book = book_of()
    book.receive(Frame(results=[result("x")]))
    assert isinstance(book.trouble, errors.UnexpectedAnswer)


def test_the_window_bounds_what_is_outstanding() -> None:
    book: RunBook[Booking] = RunBook(2)
    source = iter([trip(str(number)) for number in range(3)])
    book.fill(source)
    assert sent(book) == ["0", "1"]
    assert book.room == 0
    book.receive(Frame(results=[result("0"), result("1")], ends=[end("1")]))
    book.fill(source)
    assert sent(book) == ["2"]
    book.fill(source)
    assert next(source, None) is None


def test_progress_grows_only_when_a_saga_comes_further() -> None:
    book = book_of("a")
    sent(book)
    book.receive(Frame(results=[result("a", error=error(14, "STORE_AWAY"))]))
    assert book.progress == 0
    book.restart()
    sent(book)
    book.receive(Frame(results=[result("a")]))
    book.receive(Frame(ends=[end("a")]))
    assert book.progress == 2


def test_two_sagas_of_one_id_are_refused() -> None:
    book = book_of("a")
    with pytest.raises(ValueError, match="'a'"):
        book.add(trip("a", trip_graph("other")))


def test_many_sagas_to_follow_go_in_frames_that_the_protocol_allows() -> None:
    book: RunBook[Booking] = RunBook(2_500)
    for number in range(2_500):
        book.add(trip(f"{number:04}"))
    while frame := book.next_frame():
        book.receive(Frame(results=[result(spec.saga_id) for spec in frame.sagas]))
    book.restart()
    sizes = []
    while frame := book.next_frame():
        sizes.append(len(frame.follow_ids))
    assert sizes == [1_000, 1_000, 500]


def test_a_window_has_room_for_one_at_least() -> None:
    with pytest.raises(ValueError, match="window"):
        RunBook(0)
