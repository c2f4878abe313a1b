"""Runs and watches over streams that break anywhere: nothing is lost and nothing comes twice."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

from sagaline.client.running import RunBook
from sagaline.client.watching import WatchCursor
from sagaline.v1 import saga_service_pb2
from tests.unit.client.samples import SUCCEEDED, Booking, end, frame, result, trip

Request = saga_service_pb2.RunSagasRequest
Response = saga_service_pb2.RunSagasResponse


class Server:
    """Creates sagas durably before it says so, and tells of the end of each whenever it is followed."""

    def __init__(self) -> None:
        self.durable: set[str] = set()

    def answer(self, request: Request, shuffle: st.DataObject) -> Iterator[Response]:
        results = []
        for spec in request.sagas:
            results.append(result(spec.saga_id, existed=spec.saga_id in self.durable))
            self.durable.add(spec.saga_id)
        assert self.durable.issuperset(request.follow_ids)
        ended = shuffle.draw(st.permutations([spec.saga_id for spec in request.sagas] + list(request.follow_ids)))
        yield Response(results=results)
        for saga_id in ended:
            yield Response(ends=[end(saga_id)])


@settings(max_examples=60, deadline=None)
@given(data=st.data(), count=st.integers(0, 12), window=st.integers(1, 5))
def test_every_saga_of_a_run_ends_once(data: st.DataObject, count: int, window: int) -> None:
    server, book = Server(), RunBook[Booking](window)
    source = iter([trip(str(number)) for number in range(count)])
    seen: list[str] = []
    book.fill(source)
    for _stream in range(100):
        # Late streams do not break, so that the run ends.
        frames_left = data.draw(st.integers(0, 4)) if _stream < 20 else 1_000
        while (request := book.next_frame()) is not None:
            for response in server.answer(request, data):
                if frames_left == 0:
                    break
                frames_left -= 1
                seen += [ended.saga_id for ended in book.receive(response)]
                assert book.trouble is None
            if frames_left == 0:
                break
            book.fill(source)
            assert book.room >= 0
        if book.is_idle():
            book.fill(source)
            if book.is_idle():
                break
        book.restart()
    assert sorted(seen, key=int) == [str(number) for number in range(count)]


@settings(max_examples=60, deadline=None)
@given(data=st.data(), length=st.integers(0, 20))
def test_every_entry_of_a_watch_comes_once(data: st.DataObject, length: int) -> None:
    cursor = WatchCursor("s")
    seen: list[int] = []
    while True:
        first = max(1, cursor.open().from_seq - data.draw(st.integers(0, 2)))
        seqs = list(range(first, length + 1))
        stop = data.draw(st.integers(0, len(seqs)))
        size = data.draw(st.integers(1, 5))
        for start in range(0, stop, size):
            chunk = seqs[start : min(start + size, stop)]
            seen += [entry.seq for entry in cursor.receive(frame(*chunk))]
        if stop == len(seqs):
            cursor.receive(frame(state=SUCCEEDED))
            break
    assert cursor.is_over()
    assert seen == list(range(1, length + 1))
