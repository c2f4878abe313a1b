"""Channelz, where the setting asks for it: what sockets there are, and who is at their other end."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from grpc_channelz.v1 import channelz_pb2, channelz_pb2_grpc

from tests.integration.secs import ANY_PORT, SERVER, started


async def servers(address: str) -> list[channelz_pb2.Server]:
    async with grpc.aio.insecure_channel(address) as channel:
        stub = channelz_pb2_grpc.ChannelzStub(channel)
        return list((await stub.GetServers(channelz_pb2.GetServersRequest(), timeout=30)).server)


async def test_channelz_is_served_where_it_is_asked_for(tmp_path: Path) -> None:
    server = (*SERVER, "--listen", ANY_PORT, "--data-dir", str(tmp_path / "data"))
    async with started(*server, "--channelz", "true") as sec:
        (found,) = await servers(await sec.address())
        assert found.listen_socket
    async with started(*server) as sec:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await servers(await sec.address())
        assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
