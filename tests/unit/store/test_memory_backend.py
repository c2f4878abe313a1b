"""What the store in memory can do beyond the contract: be put back to an earlier state, for those who must notice."""

from __future__ import annotations

import pytest

from sagaline_server.ports.cluster import Resync
from sagaline_server.ports.store import SecRecord, Status, StoreRolledBack
from sagaline_server.store.memory import Fault, MemoryBackend, MemoryStore
from tests.contracts.sagas import adopted, append, batches, create, new_saga, write, write_all
from tests.contracts.watching import watching, watching_log


async def opened(backend: MemoryBackend, sec_id: str = "sec-a") -> MemoryStore:
    store = MemoryStore(backend, relist_seconds=600)
    await store.open(sec_id=sec_id, address="host:7433", version="1")
    return store


async def test_a_running_sec_refuses_a_backend_that_went_back() -> None:
    backend = MemoryBackend()
    store = await opened(backend)
    claim = await create(store, "s-1")
    snapshot = backend.snapshot()
    await write_all(store, [append(claim, 2)])
    async with watching(store) as watch, watching_log(store, "s-1") as log:
        await log.next()
        backend.restore(snapshot)

        assert (await write(store, append(claim, 3))).status is Status.UNKNOWN
        assert store.serving_until == 0.0
        for call in (store.read("s-1"), store.list_secs(), log.next(), store.register(draining=True)):
            with pytest.raises(StoreRolledBack):
                await call
        with pytest.raises(StoreRolledBack):
            await store.open(sec_id="sec-a", address="host:7433", version="1")
        assert await watch.next() == Resync()


async def test_what_went_back_is_not_believed_when_it_has_come_as_far_again() -> None:
    backend = MemoryBackend()
    store = await opened(backend)
    claim = await create(store, "s-1")
    snapshot = backend.snapshot()
    await write_all(store, [append(claim, 2)])
    backend.restore(snapshot)
    with pytest.raises(StoreRolledBack):
        await store.list_owned()
    other = await opened(backend, "sec-b")
    for number in range(10):
        await write_all(other, [new_saga(f"new-{number}")])

    assert other.revision > store.revision
    assert (await write(store, append(claim, 3))).status is Status.UNKNOWN
    await store.close()
    assert [sec.sec_id for sec in await other.list_secs()] == ["sec-a", "sec-b"]  # it touches nothing any more


async def test_a_new_process_takes_what_was_put_back_as_it_is() -> None:
    backend = MemoryBackend()
    store = await opened(backend)
    claim = await create(store, "s-1")
    snapshot = backend.snapshot()
    await write_all(store, [append(claim, 2)])
    backend.restore(snapshot)

    again = await opened(backend)
    taken = await adopted(again, "s-1")

    assert len(await batches(again, "s-1")) == 1
    await write_all(again, [append(taken, 2)])
    assert snapshot.revision < again.revision


async def test_faults_are_asked_for_with_the_name_of_the_method() -> None:
    asked: list[str] = []

    def fault(method: str) -> Fault:
        asked.append(method)
        return Fault.NONE

    store = await opened(MemoryBackend(fault))
    await create(store, "s-1")
    await store.register(draining=False)
    await store.put_control("s-1", "01", b"x")
    await store.put_condition("action:a", b"x")
    await store.adopt([])
    await store.hand_off([], SecRecord("sec-b", store.incarnation + 1, "", ""))
    await store.remove_finished([], keep_summary=True)

    assert asked == ["commit", "register", "put_control", "put_condition", "adopt", "hand_off", "remove_finished"]
