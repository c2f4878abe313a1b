"""How channels to a SEC are made; the same for both faces of the client."""

from __future__ import annotations

TARGET_DEFAULT = "localhost:7070"
TIMEOUT_DEFAULT_S = 30.0
PATIENCE_DEFAULT_S = 60.0
WINDOW_DEFAULT = 1_000

RESPONSE_BYTES_MAX = 64 * 1024 * 1024
"""Largest answer taken: a saga in the FULL view holds the output of every node."""

CHANNEL_OPTIONS: tuple[tuple[str, int], ...] = (
    # A SEC that stopped is soon started again, or another one answers at the same address.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 3_000),
    # A peer that vanished without a word is found out within 40 s, while calls are under way.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.max_receive_message_length", RESPONSE_BYTES_MAX),
)
