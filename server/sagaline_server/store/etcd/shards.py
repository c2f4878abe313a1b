"""What says in each etcd cluster which shard of which cell it is, so that no wrong list of clusters is ever used.

With the clusters in another order, or one more or less of them, sagas would be
looked for where they are not, and created twice. So the list is written into
every cluster when it is first used, under `<prefix>/shard`, and compared ever
after. It is written twice: as incomplete until all clusters have it, so that a
SEC that died meanwhile does no harm; once it is complete in one of them, a
cluster without it is a wrong one, or has lost its data.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import structlog
from aetcd import rpc

from sagaline_server.core.sharding import HASH
from sagaline_server.ports.store import StoreError, WrongShards
from sagaline_server.store.etcd.channel import EtcdChannel
from sagaline_server.store.etcd.keys import Keys, after_all
from sagaline_server.store.etcd.options import EtcdOptions
from sagaline_server.store.etcd.transactions import EQUAL, VERSION, found_keys

log = structlog.get_logger(__name__)


class ShardRecord(msgspec.Struct, frozen=True):
    """What one cluster says of itself. Kept as JSON, for people to read."""

    cell: str
    """Name that all clusters of one list share."""
    index: int
    """Place in the list, from 0."""
    shards: int
    """Length of the list."""
    hash: str = HASH
    """How the id of a saga names its shard."""
    is_complete: bool = False
    """True: every cluster of the list has been given its record."""


class _Cluster:
    """One cluster of the list while it is compared."""

    def __init__(self, options: EtcdOptions, index: int, shards: int) -> None:
        self.name = f"cluster {index + 1} of etcd_endpoints ({','.join(options.endpoints)})"
        self.index = index
        self.shards = shards
        self.channel = EtcdChannel(options)
        self.keys = Keys(options.prefix)
        self.record: ShardRecord | None = None

    async def read(self) -> None:
        """Read what it says of itself."""
        found = (await self.channel.read(rpc.RangeRequest(key=self.keys.shard))).kvs
        self._take(found[0] if found else None)

    async def claim(self, cell: str) -> ShardRecord:
        """Give it its record, if it has none and nothing else is there; returns what it has then."""
        new = ShardRecord(cell, self.index, self.shards)
        request = rpc.TxnRequest()
        root = self.keys.root
        # Nothing is there at all: no key of the range has a version.
        request.compare.add(result=EQUAL, target=VERSION, key=root, range_end=after_all(root), version=0)
        request.success.add(request_put=rpc.PutRequest(key=self.keys.shard, value=msgspec.json.encode(new)))
        request.failure.add(request_range=rpc.RangeRequest(key=self.keys.shard))
        response = await self.channel.txn(request)
        if response.succeeded:
            self.record = new
            return new
        self._take(next(found_keys(response)))
        if self.record is None:
            raise WrongShards(
                f"{self.name} has sagas that were stored without shards, which can't be divided afterwards: "
                f"give the sharded cell an etcd_prefix of its own, or clusters that are empty"
            )
        return self.record

    async def complete(self) -> None:
        """Write that every cluster has its record."""
        assert self.record is not None
        request = rpc.TxnRequest()
        before, after = self.record, msgspec.structs.replace(self.record, is_complete=True)
        key, encode = self.keys.shard, msgspec.json.encode
        request.compare.add(result=EQUAL, target=rpc.Compare.VALUE, key=key, value=encode(before))
        request.success.add(request_put=rpc.PutRequest(key=key, value=encode(after)))
        await self.channel.txn(request)  # else somebody else has done it

    def demand(self, cell: str) -> None:
        """Refuse a record that is not what the list says.

        Raises:
            WrongShards: It is another one.
        """
        record = self.record
        if record is None:
            return
        if record.hash != HASH:
            raise WrongShards(f"{self.name} spreads sagas by {record.hash!r}, which this release does not know")
        if record.shards != self.shards:
            raise WrongShards(
                f"{self.name} is one of {record.shards} shards of cell {record.cell}, and etcd_endpoints has "
                f"{self.shards} clusters: their number can't be changed, as the ids of sagas decide which has them"
            )
        if record.index != self.index:
            raise WrongShards(
                f"{self.name} is shard {record.index + 1} of {record.shards} of cell {record.cell}: list every "
                f"cluster once, in the order in which they were listed first"
            )
        if record.cell != cell:
            raise WrongShards(f"{self.name} is of cell {record.cell}, and others in etcd_endpoints are of cell {cell}")

    def _take(self, kv: Any) -> None:
        try:
            self.record = None if kv is None else msgspec.json.decode(kv.value, type=ShardRecord)
        except msgspec.DecodeError as error:
            raise StoreError(f"{self.name}: its shard record can't be read: {error}") from error


async def agree(options: Sequence[EtcdOptions], new_cell: str) -> None:
    """Make sure that a list of clusters is the one that they were first used with; write it down if they are new.

    Args:
        options: The clusters, in order.
        new_cell: Name of the cell if there is none yet.

    Raises:
        WrongShards: It is another list.
        StoreError: A cluster can't be reached.
    """
    clusters = [_Cluster(each, index, len(options)) for index, each in enumerate(options)]
    try:
        await _agree(clusters, new_cell)
    finally:
        for cluster in clusters:
            await cluster.channel.close()


async def _agree(clusters: Sequence[_Cluster], new_cell: str) -> None:
    await _read(clusters)
    known = [cluster.record for cluster in clusters if cluster.record is not None]
    cell = known[0].cell if known else new_cell
    for cluster in clusters:
        cluster.demand(cell)
    if any(record.is_complete for record in known):
        missing = [cluster for cluster in clusters if cluster.record is None]
        await _read(missing)  # again: another SEC may have gone through all of them while they were read
        for cluster in missing:
            cluster.demand(cell)
            if cluster.record is None:
                raise WrongShards(
                    f"{cluster.name} has no shard of cell {cell}, though the others say that it was given one: it is "
                    f"another cluster or etcd_prefix, or it has lost its data"
                )
    for cluster in clusters:
        if cluster.record is None:
            record = await cluster.claim(cell)
            if cluster.index == 0:
                cell = record.cell  # another SEC may have been first
            cluster.demand(cell)
    for cluster in clusters:
        if cluster.record is not None and not cluster.record.is_complete:
            await cluster.complete()
            log.info("shard_claimed", cell=cell, shard=cluster.index + 1, shards=len(clusters))


async def _read(clusters: Sequence[_Cluster]) -> None:
    outcomes = await asyncio.gather(*(cluster.read() for cluster in clusters), return_exceptions=True)
    errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    if errors:
        raise errors[0]


async def demand_whole(channel: EtcdChannel, keys: Keys) -> None:
    """Refuse to use a cluster alone that is one of several shards.

    Raises:
        WrongShards: It is.
    """
    found = (await channel.read(rpc.RangeRequest(key=keys.shard))).kvs
    if found:
        raise WrongShards(
            f"etcd has a shard of a cell under this prefix ({found[0].value.decode(errors='replace')}): list all of "
            f"the cell's clusters in etcd_endpoints, in order, separated by ';'"
        )
