"""Many writes at once: each still stands alone, whatever is wrong with one of them."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from sagaline_server.ports.store import Claim, Status, Write
from tests.contracts.clusters import Cluster
from tests.contracts.sagas import append, batches, create, create_many, finish, new_saga, write_all

MANY = 70
"""More than one statement of any store holds."""


Odd = Callable[[Claim], Write]
ODD: dict[str, tuple[Odd, Status]] = {
    "another claim": (
        lambda claim: append(msgspec.structs.replace(claim, revision=claim.revision + 10_000), 2),
        Status.FENCED,
    ),
    "a taken id": (lambda claim: new_saga(claim.saga_id), Status.EXISTS),
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("place", ["first", "last"])
async def test_one_odd_write_among_many_hinders_none_of_them(cluster: Cluster, odd: str, place: str) -> None:
    store = await cluster.open()
    ids = [f"s-{i}" for i in range(MANY)]
    claims = await create_many(store, ids)
    other = await create(store, "odd")
    make, status = ODD[odd]
    writes: list[Write] = [append(claim, 2) if i % 2 else finish(claim, 2) for i, claim in enumerate(claims)]
    writes += [new_saga(f"new-{i}") for i in range(MANY)]
    index = 0 if place == "first" else len(writes)
    writes.insert(index, make(other))

    results = list(await store.commit(writes))

    assert results.pop(index).status is status
    assert all(result.status is Status.DONE for result in results)
    for i, saga_id in enumerate(ids):
        stored = await store.read(saga_id)
        assert stored is not None
        assert len(stored.batches) == 2
        assert (stored.owner is None) is (stored.done is not None) is (i % 2 == 0)
    assert len(await batches(store, "odd")) == 1
    assert {owned.saga_id for owned in await store.list_owned()} >= {f"new-{i}" for i in range(MANY)}


async def test_many_writes_sent_again_are_done_once(cluster: Cluster) -> None:
    store = await cluster.open()
    claims = await create_many(store, [f"s-{i}" for i in range(MANY)])
    writes: list[Write] = [append(claim, 2) if i % 2 else finish(claim, 2) for i, claim in enumerate(claims)]
    writes += [new_saga(f"new-{i}") for i in range(MANY)]

    first = list(await store.commit(writes))
    again = list(await store.commit(writes))

    assert [result.status for result in (*first, *again)] == [Status.DONE] * 2 * len(writes)
    assert [result.revision for result in first] == [result.revision for result in again]
    assert [result.claim for result in first] == [result.claim for result in again]


async def test_requests_for_sagas_that_end_go_with_them(cluster: Cluster) -> None:
    store = await cluster.open()
    claims = await create_many(store, [f"s-{i}" for i in range(MANY)])
    assert all([await store.put_control(claim.saga_id, "c", b"x") for claim in claims])

    await write_all(store, [finish(claim, 2) for claim in claims[1:]])

    assert [control.saga_id for control in await store.list_controls()] == ["s-0"]
