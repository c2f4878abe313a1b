"""Becoming an incarnation: the leased key, and an older incarnation of the same name that it replaces."""

from __future__ import annotations

from typing import Any

from aetcd import rpc

from sagaline_server.ports.store import StoreError
from sagaline_server.store.etcd.channel import ELSEWHERE, EtcdChannel, EtcdError
from sagaline_server.store.etcd.transactions import CREATE, EQUAL, VERSION, Fence, found_keys

OPEN_TRIES = 5
"""How often a new incarnation may find that another one of its name came between."""


async def become_incarnation(channel: EtcdChannel, lease_id: int, key: bytes, value: bytes) -> int:
    """Put the leased key, and first remove that of an older incarnation; returns the number of the new one.

    Raises:
        StoreError: It is not known whether that was done. The lease decides.
    """
    for _ in range(OPEN_TRIES):
        request = rpc.TxnRequest()
        request.compare.add(result=EQUAL, target=VERSION, key=key, version=0)
        request.success.add(request_put=rpc.PutRequest(key=key, value=value, lease=lease_id))
        request.failure.add(request_range=rpc.RangeRequest(key=key))
        # Sent twice if need be: the lease in the key tells whether the first one was carried out.
        response = await _twice(channel, request)
        if response.succeeded:
            return int(response.header.revision)
        there = next(found_keys(response))
        if there is not None and there.lease == lease_id:
            return int(there.create_revision)
        if there is not None:
            await _twice(channel, _delete_incarnation(key, there.create_revision))
    raise StoreError("other processes of the same name keep registering; give each SEC a name of its own")


async def change_registration(channel: EtcdChannel, fence: Fence, lease_id: int, value: bytes) -> bool:
    """Put another value under the leased key; False when the incarnation is dead. The create revision stays."""
    request = rpc.TxnRequest()
    fence.demand(request)
    request.success.add(request_put=rpc.PutRequest(key=fence.key, value=value, lease=lease_id))
    return bool((await channel.txn(request)).succeeded)


async def _twice(channel: EtcdChannel, request: Any) -> Any:
    """Send a transaction that does no harm if it is carried out twice, and once more if its outcome is unknown."""
    try:
        return await channel.txn(request)
    except EtcdError as error:
        if error.code not in ELSEWHERE:
            raise
    return await channel.txn(request)


def _delete_incarnation(key: bytes, incarnation: int) -> Any:
    request = rpc.TxnRequest()
    request.compare.add(result=EQUAL, target=CREATE, key=key, create_revision=incarnation)
    request.success.add(request_delete_range=rpc.DeleteRangeRequest(key=key))
    return request
