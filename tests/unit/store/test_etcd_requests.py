"""etcd's requests as they are built: keys that sort, and transactions within limits."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sagaline_server.ports.store import Append, Claim, ListedSaga, NewSaga, Write
from sagaline_server.store.checks import CONSUMES_MAX, WRITE_BYTES_MAX
from sagaline_server.store.etcd.keys import Keys, after_all
from sagaline_server.store.etcd.transactions import OPERATIONS_MAX, fence, split_writes, write_request

KEYS = Keys("sagaline")
FENCE = fence(KEYS, "sec-a", 7)
REQUEST_BYTES = 1536 * 1024
WRITER = b"w" * 16

ids = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="/"), min_size=1, max_size=128)
sizes = st.one_of(st.integers(1, 2000), st.integers(1, WRITE_BYTES_MAX - 100))


@st.composite
def writes(draw: st.DrawFn) -> Write:
    saga_id, size = draw(ids), draw(sizes)
    if draw(st.booleans()):
        return NewSaga(saga_id, b"r" * size, b"batch", ListedSaga("g", 0.0), WRITER)
    consumes = tuple(f"{number:026}" for number in range(draw(st.sampled_from([0, 0, 0, 1, CONSUMES_MAX]))))
    done = draw(st.sampled_from([None, b"done"]))
    return Append(Claim(saga_id, 1, 2**60), 1, b"b" * size, WRITER, consumes, done)


@given(st.lists(writes(), min_size=1, max_size=150))
def test_writes_are_divided_in_order_into_transactions_that_etcd_takes(given_writes: list[Write]) -> None:
    parts = split_writes(given_writes)

    assert [write for part in parts for write in part] == given_writes
    for part in parts:
        request = write_request(KEYS, FENCE, part, explain=True)
        assert len(part) > 0
        assert max(len(request.compare), len(request.success), len(request.failure)) <= OPERATIONS_MAX
        assert request.ByteSize() < REQUEST_BYTES


def test_small_writes_are_divided_evenly() -> None:
    claims = [Claim(f"s-{number}", 1, 5) for number in range(200)]
    appends: list[Write] = [Append(claim, 2, b"b", WRITER) for claim in claims]

    assert [len(part) for part in split_writes(appends[:63])] == [63]
    assert [len(part) for part in split_writes(appends[:64])] == [32, 32]
    assert [len(part) for part in split_writes(appends)] == [50, 50, 50, 50]


@given(ids, ids, st.integers(1, 200_000), st.integers(1, 200_000))
def test_no_saga_reaches_into_the_keys_of_another(one: str, other: str, first: int, second: int) -> None:
    start = KEYS.log(one)
    inside = start <= KEYS.batch(other, first) < after_all(start)
    assert inside == (one == other)
    assert (KEYS.batch(one, first) < KEYS.batch(one, second)) == (first < second)
    assert (KEYS.record(one) < KEYS.record(other)) == (one.encode() < other.encode())
    assert KEYS.record(one) < after_all(KEYS.records)
