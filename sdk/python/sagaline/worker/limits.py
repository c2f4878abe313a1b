"""Every bound and time of the worker, with its unit, and what happens there.

Sizes and times that the SEC's Welcome sets are defaults, in force until it comes.
"""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.duration_pb2 import Duration

from sagaline.v1 import worker_service_pb2 as pb
from sagaline.worker.durations import seconds_of

PROTOCOL_VERSION = 1

SLOTS_MAX = 100_000
"""What Capacity may grant; more is refused when the worker is made."""
ACTIONS_MAX = 1_000
"""What Hello may list; more is refused when the worker is made."""
IDENTITY_BYTES = 256
BUILD_ID_BYTES = 128
LABELS_MAX = 32
LABEL_BYTES = 128
THREADS_MAX = 256
"""Synchronous actions that run at the same time. More wait for a thread, inside their slot."""
EXCESS_MAX = 1
"""Invocations held beyond the slots, for each stream, before the answer is NO_CAPACITY: a window that shrinks is
overdrawn a little."""
SPLIT_SECONDS = 1.0
"""Windows follow demand at most once in this time."""

UNACKED_BYTES_MAX = 64 * 1024 * 1024
"""Bytes of results without a final acknowledgement at which the worker grants 0, so that a slow log slows dispatch."""
UNACKED_RESULTS_MAX = 10_000
"""The same as a count; it also bounds the report that every Hello carries."""
RESUME_SHARE = 0.75
"""Grants are restored when both are below this share of their bound, so that they do not flap."""
OUTSTANDING_BYTES_MAX = 64 * 1024 * 1024
"""Payload bytes that the worker lets one SEC have outstanding."""
UNCONFIRMED_REJECTIONS_MAX = 10_000
"""Rejections kept until the SEC has surely read them. The oldest beyond this are forgotten: if just then the stream
breaks, the SEC counts them as lost instead of rejected, which is safe and costs an attempt."""
HEARTBEAT_EARLY_REJECTIONS = 1_000
"""So many unconfirmed rejections ask for a heartbeat at once, because its echo is what confirms them."""
EPOCHS_MAX = 65_536
"""Sagas whose highest epoch is remembered; the least recently seen are forgotten."""

ADDRESSES_MAX = 1_000
"""SECs whose address is remembered; what was learnt first goes first."""
CALLS_MAX = 4
"""Calls with results under way at the same time, to owners without a stream."""
CALL_RESULTS_MAX = 1_000
"""Results in one call; the protocol allows no more."""
CALL_SECONDS = 10.0
"""How long a call with results may take."""
ASTRAY_SECONDS = 2.0
"""How long a result waits for the stream of its SEC before it is told to others."""
SEARCH_SECONDS_MIN = 0.1
SEARCH_SECONDS_MAX = 10.0
"""A search for a result's owner slows down from the one to the other."""

ITEM_OVERHEAD_BYTES = 8
"""Tag and length of an item inside a frame, generously."""
FRAME_BYTES = 1024 * 1024
FRAME_BYTES_MIN = 16 * 1024
HELLO_BYTES_MAX = FRAME_BYTES // 2
"""What a worker may say of itself; the rest of the first frame is for the report of what it holds."""
FRAME_RESERVE_BYTES = 2 * 1024
"""Room that a frame keeps for its fields of fixed size."""
PAYLOAD_BYTES = 256 * 1024
PAYLOAD_MARGIN_BYTES = 4 * 1024
"""What a frame holds beside its largest payload at least, so that a result always fits into one: names and limits."""

HEARTBEAT_SECONDS_MIN = 0.001
HEARTBEAT_SECONDS_MAX = 300.0

FAILURE_TYPE_BYTES = 128
FAILURE_MESSAGE_BYTES = 4 * 1024
FAILURE_STACK_BYTES = 16 * 1024
FAILURE_DETAILS_MAX = 4
FAILURE_DETAILS_BYTES = 16 * 1024
"""All details of a failure together; those beyond it are left out."""
FAILURE_DEPTH_MAX = 4
RETRY_DELAY_SECONDS_MAX = 30 * 86_400.0

HANDSHAKE_SECONDS = 10.0
"""From opening a stream to its Welcome."""
HALF_CLOSE_SECONDS = 5.0
"""From having said everything to the SEC's end of the stream."""
CANCEL_GRACE_SECONDS = 5.0
"""From the cancellation of what still runs at the end of a drain to leaving it behind."""
STEADY_SECONDS = 1.0
"""A stream that was open so long and then ends is no failure: the next is tried at once."""
RECONNECT_SECONDS_MIN = 0.1
RECONNECT_SECONDS_MAX = 10.0
FRESH_CHANNEL_FAILURES = 3
"""After each so many failures in a row the channel is thrown away: its name lookups or its connection may be stale."""
PROGRESS_SECONDS = 0.1
"""At most one progress of an attempt in this time; later ones replace the one that waits."""
RETRY_SECONDS = 1.0
"""Before a result is sent again where the SEC asks for that and names no delay."""
RETRY_SECONDS_MIN = 0.05
RETRY_SECONDS_MAX = 60.0


def search_seconds(failures: int) -> float:
    """How long a search for a SEC that can take something rests after so many failures in a row."""
    return min(SEARCH_SECONDS_MAX, SEARCH_SECONDS_MIN * 2.0 ** min(failures - 1, 16))


@dataclass(frozen=True, slots=True)
class Terms:
    """What a Welcome sets for one stream. Times in seconds, sizes in bytes."""

    heartbeat_interval: float = 5.0
    heartbeat_timeout: float = 15.0
    frame_bytes: int = FRAME_BYTES
    payload_bytes: int = PAYLOAD_BYTES

    @classmethod
    def of(cls, welcome: pb.Welcome) -> Terms:
        """What a SEC says, with the default for what it leaves out and bounds against what could not work."""
        default = cls()
        interval = _seconds(welcome.heartbeat_interval, default.heartbeat_interval)
        frame_bytes = min(max(welcome.max_frame_bytes or FRAME_BYTES, FRAME_BYTES_MIN), FRAME_BYTES)
        payload_bytes = min(welcome.max_payload_bytes or PAYLOAD_BYTES, PAYLOAD_BYTES)
        return cls(
            heartbeat_interval=interval,
            heartbeat_timeout=max(_seconds(welcome.heartbeat_timeout, default.heartbeat_timeout), 2 * interval),
            frame_bytes=frame_bytes,
            payload_bytes=max(1, min(payload_bytes, frame_bytes - PAYLOAD_MARGIN_BYTES)),
        )


def _seconds(duration: Duration, default: float) -> float:
    seconds = seconds_of(duration)
    return min(max(seconds, HEARTBEAT_SECONDS_MIN), HEARTBEAT_SECONDS_MAX) if seconds > 0 else default
