"""The endpoints of etcd, each with a channel that reconnects by itself."""

from __future__ import annotations

import asyncio

import grpc
import grpc.aio
from aetcd import rpc

from sagaline_server.store.etcd.options import EtcdTls

RESPONSE_BYTES_MAX = 128 * 1024 * 1024
"""Pages are kept far below this. It only has to be more than the largest that one request can bring back."""

CHANNEL_OPTIONS: list[tuple[str, int | str]] = [
    ("grpc.max_receive_message_length", RESPONSE_BYTES_MAX),
    ("grpc.max_send_message_length", -1),  # etcd says what is too large, and then it is known that it was refused
    ("grpc.keepalive_time_ms", 10_000),  # etcd takes pings less than 5 s apart for an attack
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.enable_retries", 0),
    ("grpc.lb_policy_name", "pick_first"),
    ("grpc.use_local_subchannel_pool", 1),  # else somebody else's channel could reconnect ours, unseen and unrecognised
]


class Member:
    """One endpoint."""

    def __init__(self, endpoint: str, tls: EtcdTls | None) -> None:
        self.endpoint = endpoint
        self.channel = _connect(endpoint, tls)
        self.kv = rpc.KVStub(self.channel)
        self.lease = rpc.LeaseStub(self.channel)
        self.watch = rpc.WatchStub(self.channel)
        self.auth = rpc.AuthStub(self.channel)
        self.is_recognised = False
        """True: what answers on this connection is known to be the cluster that it was."""
        self.recognising = asyncio.Lock()

    async def connected(self, seconds: float) -> bool:
        """Wait until the channel is connected; tell whether it is."""
        state = self.channel.get_state(try_to_connect=True)
        if state is grpc.ChannelConnectivity.READY:
            return True
        self.is_recognised = False  # somebody else may answer there now
        try:
            async with asyncio.timeout(seconds):
                while state is not grpc.ChannelConnectivity.READY:
                    await self.channel.wait_for_state_change(state)
                    state = self.channel.get_state(try_to_connect=True)
        except TimeoutError:
            return False
        return True


def _connect(endpoint: str, tls: EtcdTls | None) -> grpc.aio.Channel:
    if tls is None:
        return grpc.aio.insecure_channel(endpoint, options=CHANNEL_OPTIONS)
    credentials = grpc.ssl_channel_credentials(tls.ca, tls.key, tls.certificate)
    name = [("grpc.ssl_target_name_override", tls.server_name)] if tls.server_name else []
    return grpc.aio.secure_channel(endpoint, credentials, options=[*CHANNEL_OPTIONS, *name])
