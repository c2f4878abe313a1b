"""How channels to a SEC are made; the same for both faces of the client."""

from __future__ import annotations

import grpc

UNREACHED = "no SEC serves at {}; nothing was sent"

TARGET_DEFAULT = "localhost:7070"
TIMEOUT_DEFAULT_S = 30.0
PATIENCE_DEFAULT_S = 60.0
WINDOW_DEFAULT = 1_000

RESPONSE_BYTES_MAX = 64 * 1024 * 1024
"""Largest answer taken: a saga in the FULL view holds the output of every node."""

HEALTH = "/grpc.health.v1.Health/Check"
HEALTH_TIMEOUT_S = 3.0
"""How long a SEC has to say that it serves. It is asked before a call that is not safe to repeat, where another could
be asked instead: so a call that would be lost at a SEC that is gone or leaves is not sent there."""

_NOT_REACHED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
_SERVING = b"\x08\x01"


def as_is(data: bytes) -> bytes:
    """Stand in for a serializer: the health messages are too small to need any."""
    return data


def is_serving(answer: bytes) -> bool:
    """Say what a SEC answered about its health."""
    return answer == _SERVING


def may_serve(code: grpc.StatusCode) -> bool:
    """Say whether one that failed to tell its health may serve all the same: it is there, and tells nobody."""
    return code not in _NOT_REACHED


CHANNEL_OPTIONS: tuple[tuple[str, int], ...] = (
    # A SEC that stopped is soon started again, or another one answers at the same address.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 3_000),
    # A peer that vanished without a word is found out within 40 s, while calls are under way.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.max_receive_message_length", RESPONSE_BYTES_MAX),
)


def open_channel(target: str, credentials: grpc.ChannelCredentials | None) -> grpc.Channel:
    """Return a channel for calls that block, with the options that both faces use."""
    if credentials is None:
        return grpc.insecure_channel(target, CHANNEL_OPTIONS)
    return grpc.secure_channel(target, credentials, CHANNEL_OPTIONS)
