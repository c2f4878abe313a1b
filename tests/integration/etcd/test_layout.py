"""What ours wrote, read by a client that is not ours: keys, values, versions and leases."""

from __future__ import annotations

from typing import Any

import pytest

from sagaline.v1 import log_pb2
from sagaline_server.ports.cluster import ControlPut, HandOff, HandOffFate, StoredControl, hand_off_id
from sagaline_server.ports.store import Status
from tests.contracts.sagas import append, create, finish, new_saga, owned, write, write_all
from tests.contracts.watching import watching
from tests.integration.etcd.conftest import OpenStore

pytestmark = pytest.mark.etcd


def dump(client: Any, prefix: str) -> dict[str, tuple[bytes, Any]]:
    """Return all keys under the prefix, without it, with value and metadata."""
    start = f"{prefix}/"
    return {
        metadata.key.decode().removeprefix(start): (value, metadata) for value, metadata in client.get_prefix(start)
    }


async def test_a_sec_is_one_leased_key_and_its_incarnation_is_its_create_revision(
    open_store: OpenStore, independent: Any, prefix: str
) -> None:
    store = await open_store(sec_id="sec-a", lease_seconds=60)

    ((name, (value, metadata)),) = dump(independent, prefix).items()

    assert name == "sec/sec-a"
    expected = log_pb2.SecRegistration(address="host:7433", version="1")
    assert log_pb2.SecRegistration.FromString(value) == expected
    assert metadata.create_revision == store.incarnation
    lease = independent.get_lease_info(metadata.lease_id)
    assert lease.grantedTTL == 60
    assert list(lease.keys) == [metadata.key]


async def test_a_changed_registration_keeps_the_lease_and_the_create_revision(
    open_store: OpenStore, independent: Any, prefix: str
) -> None:
    store = await open_store(sec_id="sec-a", lease_seconds=60)
    _, before = independent.get(f"{prefix}/sec/sec-a")

    await store.register(draining=True)

    value, metadata = independent.get(f"{prefix}/sec/sec-a")
    expected = log_pb2.SecRegistration(address="host:7433", version="1", draining=True)
    assert log_pb2.SecRegistration.FromString(value) == expected
    assert (metadata.create_revision, metadata.lease_id) == (store.incarnation, before.lease_id)
    assert metadata.mod_revision > before.mod_revision
    await store.close()
    assert dump(independent, prefix) == {}


async def test_a_hand_off_is_an_owner_and_a_request_of_one_revision(
    open_store: OpenStore, independent: Any, prefix: str
) -> None:
    first, second = await open_store(sec_id="sec-a"), await open_store(sec_id="sec-b")
    claim = await create(first, "s-1")
    target = next(sec for sec in await first.list_secs() if sec.sec_id == "sec-b")

    assert list(await first.hand_off([HandOff(claim, b"run")], target)) == [HandOffFate.DONE]

    found = dump(independent, prefix)
    value, owner = found["owner/s-1"]
    expected = log_pb2.OwnerRecord(sec_id="sec-b", incarnation=second.incarnation)
    assert log_pb2.OwnerRecord.FromString(value) == expected
    value, control = found[f"control/s-1/{hand_off_id(claim)}"]
    assert (value, control.version, control.lease_id) == (b"run", 1, 0)
    assert owner.mod_revision == control.mod_revision
    assert owner.version == claim.epoch + 1


async def test_what_somebody_else_put_among_the_requests_is_left_alone(
    open_store: OpenStore, independent: Any, prefix: str
) -> None:
    store = await open_store(relist_seconds=600)
    await create(store, "s-1")
    async with watching(store) as watch:
        for name in ("s-1", "s-1/", "/x", "/", ""):
            independent.put(f"{prefix}/control/{name}", b"stray")
        client: Any = independent
        client.put(f"{prefix}/control/".encode() + b"\xff\xfe/1", b"stray")
        await store.put_control("s-1", "01", b"x")
        assert await watch.next() == ControlPut(StoredControl("s-1", "01", b"x"))
    assert [control.control_id for control in await store.list_controls()] == ["01"]


async def test_every_key_of_a_running_saga(open_store: OpenStore, independent: Any, prefix: str) -> None:
    store = await open_store()
    saga = new_saga("s-1")
    result = await write(store, saga)
    assert result.claim is not None
    appended = append(result.claim, 2)
    second = await write(store, appended)

    found = dump(independent, prefix)

    assert found.keys() == {
        "sec/sec-a",
        "record/s-1",
        "owner/s-1",
        "log/s-1/000000000001",
        "log/s-1/000000000002",
    }
    record, metadata = found["record/s-1"]
    assert log_pb2.SagaRecord.FromString(record).spec.saga_id == "s-1"
    assert (metadata.version, metadata.mod_revision) == (1, result.revision)
    owner, metadata = found["owner/s-1"]
    assert log_pb2.OwnerRecord.FromString(owner) == log_pb2.OwnerRecord(sec_id="sec-a", incarnation=store.incarnation)
    assert (metadata.version, metadata.mod_revision) == (result.claim.epoch, result.claim.revision)
    batch, metadata = found["log/s-1/000000000002"]
    assert log_pb2.LogBatch.FromString(batch).writer_id == appended.writer_id
    assert (metadata.version, metadata.mod_revision) == (1, second.revision)
    leased = {name for name, (_, metadata) in found.items() if metadata.lease_id}
    assert leased == {"sec/sec-a"}


async def test_a_finished_saga_has_a_summary_and_no_owner(open_store: OpenStore, independent: Any, prefix: str) -> None:
    store = await open_store()
    claim = await create(store, "s-1")
    last = await write(store, finish(claim, 2))

    found = dump(independent, prefix)

    assert "owner/s-1" not in found
    done, metadata = found["done/s-1"]
    assert log_pb2.DoneRecord.FromString(done).saga.saga_id == "s-1"
    assert metadata.mod_revision == found["log/s-1/000000000002"][1].mod_revision == last.revision

    await store.remove_finished(["s-1"], keep_summary=True)
    assert dump(independent, prefix).keys() == {"sec/sec-a", "record/s-1", "done/s-1"}
    await store.remove_finished(["s-1"], keep_summary=False)
    assert dump(independent, prefix).keys() == {"sec/sec-a"}


async def test_the_version_of_the_owner_is_the_epoch(open_store: OpenStore, independent: Any, prefix: str) -> None:
    first = await open_store(sec_id="sec-a")
    await create(first, "s-1")
    await first.close()
    second = await open_store(sec_id="sec-b")

    (claim,) = await second.adopt(await second.list_owned())

    assert claim is not None
    value, metadata = independent.get(f"{prefix}/owner/s-1")
    assert (metadata.version, metadata.mod_revision) == (claim.epoch, claim.revision) == (2, claim.revision)
    assert log_pb2.OwnerRecord.FromString(value).sec_id == "sec-b"


async def test_an_owner_that_somebody_else_wrote_fences(open_store: OpenStore, independent: Any, prefix: str) -> None:
    store = await open_store()
    claim = await create(store, "s-1")
    theirs = log_pb2.OwnerRecord(sec_id="sec-x", incarnation=7)
    independent.put(f"{prefix}/owner/s-1", theirs.SerializeToString())

    assert (await write(store, append(claim, 2))).status is Status.FENCED
    saga = await owned(store, "s-1")
    assert (saga.sec_id, saga.incarnation, saga.epoch) == ("sec-x", 7, 2)


async def test_a_closed_store_leaves_neither_key_nor_lease(
    open_store: OpenStore, independent: Any, prefix: str
) -> None:
    store = await open_store()
    _, metadata = independent.get(f"{prefix}/sec/sec-a")
    await store.close()

    assert dump(independent, prefix) == {}
    assert independent.get_lease_info(metadata.lease_id).TTL == -1


async def test_prefixes_keep_apart(open_store: OpenStore, independent: Any, prefix: str) -> None:
    one = await open_store(prefix=f"{prefix}/one")
    other = await open_store(prefix=f"{prefix}/one2/")
    await write_all(one, [new_saga("s-1")])

    assert await other.read("s-1") is None
    assert await other.list_owned() == []
    assert [sec.incarnation for sec in await one.list_secs()] == [one.incarnation]
    assert [sec.incarnation for sec in await other.list_secs()] == [other.incarnation]


async def test_what_cannot_be_read_is_an_error_that_names_it(
    open_store: OpenStore, independent: Any, prefix: str
) -> None:
    store = await open_store()
    await create(store, "s-1")
    independent.put(f"{prefix}/owner/s-1", b"\xff\xff")

    with pytest.raises(Exception, match="'s-1'"):
        await store.list_owned()
