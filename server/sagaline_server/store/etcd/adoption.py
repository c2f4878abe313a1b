"""Taking sagas whose owner is dead: the transaction, and what a refusal means.

No I/O: requests are built here and answers are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aetcd import rpc

from sagaline_server.ports.store import Claim, OwnedSaga
from sagaline_server.store.etcd.keys import Keys
from sagaline_server.store.etcd.transactions import CREATE, EQUAL, MOD, NOT_EQUAL, OPERATIONS_MAX, Fence, found_keys

SAGAS_PER_TRANSACTION = OPERATIONS_MAX // 2 - 1
"""Each may demand that another incarnation is dead, beside what it demands of its owner."""


def adopt_request(keys: Keys, fence: Fence, sagas: Sequence[OwnedSaga]) -> Any:
    """Build the transaction that claims sagas. A refusal brings back why."""
    request = rpc.TxnRequest()
    fence.demand(request)
    request.failure.add(request_range=rpc.RangeRequest(key=fence.key, keys_only=True))
    for saga in sagas:
        owner = keys.owner(saga.saga_id)
        request.compare.add(result=EQUAL, target=MOD, key=owner, mod_revision=saga.revision)
        put = request.success.add().request_put
        put.key, put.value = owner, fence.owner
        request.failure.add(request_range=rpc.RangeRequest(key=owner, keys_only=True))
    for sec_id, incarnation in _old_owners(sagas):
        old = keys.sec(sec_id)
        # True of a missing key too: its create revision is 0.
        request.compare.add(result=NOT_EQUAL, target=CREATE, key=old, create_revision=incarnation)
        request.failure.add(request_range=rpc.RangeRequest(key=old, keys_only=True))
    return request


def claims(sagas: Sequence[OwnedSaga], response: Any) -> list[Claim]:
    """Return the claims that a transaction made."""
    revision = response.header.revision
    return [Claim(saga.saga_id, saga.epoch + 1, revision) for saga in sagas]


def still_to_have(fence: Fence, sagas: Sequence[OwnedSaga], response: Any) -> list[OwnedSaga]:
    """Return those sagas of a refused transaction against which nothing speaks."""
    answers = found_keys(response)
    me = next(answers)
    if me is None or me.create_revision != fence.incarnation:
        return []
    owners = [next(answers) for _ in sagas]
    alive = {
        (sec_id, incarnation)
        for (sec_id, incarnation), sec in zip(_old_owners(sagas), answers, strict=True)
        if sec is not None and sec.create_revision == incarnation
    }
    return [
        saga
        for saga, owner in zip(sagas, owners, strict=True)
        if owner is not None and owner.mod_revision == saga.revision and (saga.sec_id, saga.incarnation) not in alive
    ]


def _old_owners(sagas: Sequence[OwnedSaga]) -> list[tuple[str, int]]:
    """Return each old incarnation once, in an order that depends on the sagas alone."""
    return list(dict.fromkeys((saga.sec_id, saga.incarnation) for saga in sagas))
