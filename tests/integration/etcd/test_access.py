"""etcd that wants to know who asks: TLS, certificates, users and passwords, and its limits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import grpc
import msgspec
import pytest
import trustme
from aetcd import rpc

from sagaline_server.ports.cluster import ControlPut, HandOff, HandOffFate, StoredControl
from sagaline_server.ports.store import Status, StoreError, WriteRefused
from sagaline_server.store.etcd.channel import EtcdOptions, EtcdTls
from tests.contracts.sagas import (
    append,
    batches,
    create,
    create_many,
    finish,
    insist,
    new_saga,
    settled,
    write,
    write_all,
)
from tests.contracts.watching import watching
from tests.etcd_server import EtcdServer
from tests.integration.etcd.conftest import OpenStore

pytestmark = pytest.mark.etcd

StartEtcd = Callable[..., EtcdServer]


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls_etcd(own_etcd: StartEtcd, authority: trustme.CA, tmp_path: Path) -> EtcdServer:
    """An etcd that talks TLS and demands a certificate of its clients."""
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    chain, key, ca = (tmp_path / name for name in ("server.pem", "server.key", "ca.pem"))
    certificate.private_key_pem.write_to_path(key)
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(chain, append=True)
    authority.cert_pem.write_to_path(ca)
    return own_etcd(
        *("--cert-file", str(chain), "--key-file", str(key)),
        *("--trusted-ca-file", str(ca), "--client-cert-auth"),
        scheme="https",
    )


def client_tls(authority: trustme.CA, trusted: trustme.CA | None = None) -> EtcdTls:
    certificate = authority.issue_cert("sec@sagaline.test")
    return EtcdTls(
        ca=(trusted or authority).cert_pem.bytes(),
        certificate=b"".join(blob.bytes() for blob in certificate.cert_chain_pems),
        key=certificate.private_key_pem.bytes(),
    )


async def test_a_store_over_tls(open_store: OpenStore, tls_etcd: EtcdServer, authority: trustme.CA) -> None:
    store = await open_store(endpoints=(tls_etcd.endpoint,), tls=client_tls(authority))
    await write_all(store, [new_saga("s-1")])


async def test_a_client_without_the_right_certificate_is_refused(
    open_store: OpenStore, tls_etcd: EtcdServer, authority: trustme.CA
) -> None:
    for tls in (client_tls(trustme.CA(), authority), client_tls(authority, trustme.CA()), None):
        with pytest.raises(StoreError):
            await open_store(endpoints=(tls_etcd.endpoint,), tls=tls, call_seconds=0.2)


@pytest.fixture
def guarded_etcd(own_etcd: StartEtcd, prefix: str) -> EtcdServer:
    """An etcd in which a user may do everything under the test's prefix, and nothing else."""
    server = own_etcd()
    with grpc.insecure_channel(server.endpoint) as channel:
        auth = rpc.AuthStub(channel)
        auth.UserAdd(rpc.AuthUserAddRequest(name="root", password="root-secret"))
        auth.UserGrantRole(rpc.AuthUserGrantRoleRequest(user="root", role="root"))
        auth.RoleAdd(rpc.AuthRoleAddRequest(name="sec"))
        permission = rpc.Permission(
            permType=rpc.Permission.READWRITE, key=f"{prefix}/".encode(), range_end=f"{prefix}0".encode()
        )
        auth.RoleGrantPermission(rpc.AuthRoleGrantPermissionRequest(name="sec", perm=permission))
        auth.UserAdd(rpc.AuthUserAddRequest(name="sec", password="sec-secret"))
        auth.UserGrantRole(rpc.AuthUserGrantRoleRequest(user="sec", role="sec"))
        auth.AuthEnable(rpc.AuthEnableRequest())
    return server


async def test_a_store_with_a_user_and_a_password(open_store: OpenStore, guarded_etcd: EtcdServer) -> None:
    store = await open_store(endpoints=(guarded_etcd.endpoint,), user="sec", password="sec-secret")
    claim = await create(store, "s-1")
    await write_all(store, [append(claim, 2)])
    await write_all(store, [finish(claim, 3)])
    await store.remove_finished(["s-1"], keep_summary=False)


async def test_a_wrong_password_or_none_is_an_error(open_store: OpenStore, guarded_etcd: EtcdServer) -> None:
    for user, password in (("sec", "guess"), (None, None)):
        with pytest.raises(StoreError):
            await open_store(endpoints=(guarded_etcd.endpoint,), user=user, password=password)


async def test_keys_that_the_user_may_not_touch_are_an_error(open_store: OpenStore, guarded_etcd: EtcdServer) -> None:
    with pytest.raises(StoreError, match="PERMISSION_DENIED"):
        await open_store(endpoints=(guarded_etcd.endpoint,), user="sec", password="sec-secret", prefix="elsewhere")


async def test_a_token_that_etcd_forgot_is_renewed(open_store: OpenStore, guarded_etcd: EtcdServer) -> None:
    """Its tokens do not survive a restart, nor five minutes of silence."""
    store = await open_store(endpoints=(guarded_etcd.endpoint,), user="sec", password="sec-secret", lease_seconds=60)
    claim = await create(store, "s-1")
    guarded_etcd.kill()
    guarded_etcd.start()

    assert [result.status for result in await settled(store, [append(claim, 2)])] == [Status.DONE]
    assert len(await batches(store, "s-1")) == 2


async def test_a_watch_goes_on_with_a_new_token(open_store: OpenStore, guarded_etcd: EtcdServer) -> None:
    store = await open_store(
        endpoints=(guarded_etcd.endpoint,), user="sec", password="sec-secret", lease_seconds=60, relist_seconds=600
    )
    await create(store, "s-1")
    async with watching(store) as watch:
        await store.put_control("s-1", "01", b"x")
        assert await watch.next() == ControlPut(StoredControl("s-1", "01", b"x"))
        guarded_etcd.kill()
        guarded_etcd.start()
        await insist(lambda: store.put_control("s-1", "02", b"x"))
        assert await watch.next() == ControlPut(StoredControl("s-1", "02", b"x"))


async def test_a_token_is_renewed_when_permissions_changed(open_store: OpenStore, guarded_etcd: EtcdServer) -> None:
    store = await open_store(endpoints=(guarded_etcd.endpoint,), user="sec", password="sec-secret", lease_seconds=60)
    claim = await create(store, "s-1")
    with grpc.insecure_channel(guarded_etcd.endpoint) as channel:
        auth = rpc.AuthStub(channel)
        login = rpc.AuthenticateRequest(name="root", password="root-secret")
        token = auth.Authenticate(login).token
        auth.RoleAdd(rpc.AuthRoleAddRequest(name="another"), metadata=(("token", token),))

    assert (await write(store, append(claim, 2))).status is Status.DONE


def test_secrets_are_not_shown() -> None:
    tls = EtcdTls(key=b"private")
    options = EtcdOptions(("127.0.0.1:2379",), user="sec", password="sec-secret", tls=tls)
    assert "secret" not in repr(options)
    assert "private" not in repr(options)


@pytest.mark.parametrize("options", [{"endpoints": ()}, {"user": "sec"}, {"password": "sec-secret"}])
def test_options_that_cannot_work_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="etcd"):
        EtcdOptions(**{"endpoints": ("127.0.0.1:2379",), **options})  # type: ignore[arg-type]


async def test_an_etcd_with_narrower_limits_gets_smaller_transactions(
    open_store: OpenStore, own_etcd: StartEtcd
) -> None:
    server = own_etcd("--max-txn-ops", "16", "--max-request-bytes", "65536")
    store = await open_store(endpoints=(server.endpoint,))
    claims = await create_many(store, [f"s-{number:03}" for number in range(60)])
    fenced = msgspec.structs.replace(claims[7], revision=claims[7].revision + 1)

    results = await store.commit([append(claim, 2, filler=5000) for claim in (*claims[:7], fenced, *claims[8:])])

    expected = [Status.DONE] * 60
    expected[7] = Status.FENCED
    assert [result.status for result in results] == expected
    await open_store(sec_id="sec-b", endpoints=(server.endpoint,))
    target = next(sec for sec in await store.list_secs() if sec.sec_id == "sec-b")
    fates = await store.hand_off([HandOff(claim, b"run") for claim in (*claims[:7], fenced, *claims[8:])], target)
    assert [fate is HandOffFate.DONE for fate in fates] == [status is Status.DONE for status in expected]


async def test_what_a_narrower_etcd_cannot_store_is_refused_by_name(open_store: OpenStore, own_etcd: StartEtcd) -> None:
    server = own_etcd("--max-request-bytes", "65536")
    store = await open_store(endpoints=(server.endpoint,))
    claim, other = await create_many(store, ["s-1", "s-2"])
    for filler in (100_000, 1_000_000):
        with pytest.raises(WriteRefused, match=r"'s-1'.*too large") as refused:
            await store.commit([append(claim, 2, filler=filler), new_saga(f"beside-{filler}")])
        assert refused.value.saga_ids == ("s-1",)
        assert await store.read(f"beside-{filler}") is not None

    assert len(await batches(store, "s-1")) == 1
    await write_all(store, [append(claim, 2), append(other, 2)])
