"""One worker's session: its windows, what it has in flight, and what is to be sent to it.

A plain object without I/O, tasks or clock. It outlives its streams: when one
breaks, the session is detached and keeps what is in flight until its grace
time is over. Each stream has a number; frames and receipts count from 1 on
every stream.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping

import msgspec

from sagaline.v1 import saga_pb2, worker_service_pb2
from sagaline_server.core import limits
from sagaline_server.core.entries import Kind
from sagaline_server.wire.encoded import field

INVOCATIONS, RESULT_ACKS = b"\x1a", b"\x2a"
"""Tags of the fields of a ConnectResponse."""
ITEM_BYTES = 8
"""What an item takes in a frame beside itself, at most: its tag and its length."""
FRAME_ROOM = limits.FRAME_BYTES - 1024

ActionKey = tuple[str, str, Kind]
"""Action, version, side."""
AttemptKey = tuple[str, str, Kind, int]
"""Saga, node, side, attempt: what a result is matched by."""


class Served(msgspec.Struct, frozen=True):
    """How a worker serves one action."""

    pool: str
    max_in_flight: int
    """0: no limit of its own."""


class InFlight(msgspec.Struct, gc=False):
    """An attempt that is with the worker, as far as this SEC knows."""

    action: ActionKey
    payload_bytes: int = 0
    sequence: int = 0
    """Frame of the present stream that carried it; 0: none yet, or one of an earlier stream."""
    received: bool = False
    """True once the worker has acknowledged its receipt."""


class _Pool:
    """A pool of slots."""

    __slots__ = ("used", "window")

    def __init__(self) -> None:
        self.window = 0
        self.used = 0


class _Use:
    """What is used of one action."""

    __slots__ = ("is_served", "limit", "pool", "reserved", "used")

    def __init__(self, pool: _Pool, limit: int, is_served: bool) -> None:  # noqa: FBT001 - made in one place
        self.pool = pool
        self.limit = limit
        self.is_served = is_served
        self.used = 0
        """With those reserved."""
        self.reserved = 0
        """Slots taken for invocations that are being logged."""


class Session:
    """One worker as this SEC knows it."""

    def __init__(self, hello: worker_service_pb2.Hello, connect_time: float) -> None:
        """Make the session of a worker's first hello; nothing is granted before `attach`."""
        self.worker_id = hello.worker_id
        self.connect_time = connect_time
        self.hello = hello
        self.served: dict[ActionKey, Served] = {}
        self.in_flight: dict[AttemptKey, InFlight] = {}
        self.stream_epoch = 0
        self.attached = False
        self.draining = False
        self.is_closing = False
        """True when this SEC leaves, and sends nothing more on the stream."""
        self.rejecting: set[ActionKey] = set()
        """Actions that the worker said it does not serve after all, until its next hello."""
        self.question: dict[AttemptKey, None] | None = None
        """Attempts that the worker has yet to name, or they are not with it: what was in flight when it was asked, in
        order. What is sent while its answer is under way is in no question. None: it has answered in full."""
        self.demand: dict[str, int] = {}
        """Waiting work by pool, as it was last told."""
        self._pools: dict[str, _Pool] = {}
        self._uses: dict[ActionKey, _Use] = {}
        self._bytes_window = 0
        self._used_bytes = 0
        self._sequence = 0
        self._received = 0
        self._unreceived: deque[InFlight] = deque()
        """What was sent on this stream and is not known to be received, in order."""
        self._waiting_frames: list[worker_service_pb2.ConnectResponse] = []
        self._frame = worker_service_pb2.ConnectResponse()
        """What the next frame has beside the following two."""
        self._invocations: list[bytes] = []
        self._acks: list[bytes] = []
        self._frame_bytes = 0
        self._frame_items = 0
        self._wake: Callable[[], None] | None = None

    # ---- streams

    def attach(self, hello: worker_service_pb2.Hello, wake: Callable[[], None]) -> None:
        """Begin a stream. `wake` is called whenever there is something to send on it."""
        self.hello = hello
        self.stream_epoch = hello.stream_epoch
        self.attached = True
        self.draining = self.is_closing = False
        self.rejecting.clear()
        self.demand = {}
        self.question = None
        self._wake = wake
        self._sequence = self._received = 0
        self._drop_output()
        self.served = dict(_served(hello))
        self._count({action: use.reserved for action, use in self._uses.items()})
        self._bytes_window = 0
        if hello.HasField("capacity"):
            self.grant(hello.capacity)

    def detach(self) -> None:
        """End the stream. What was not yet sent is dropped; what is in flight stays."""
        self.attached = False
        self._wake = None
        self._drop_output()

    def _drop_output(self) -> None:
        self._waiting_frames.clear()
        self._frame = worker_service_pb2.ConnectResponse()
        self._invocations.clear()
        self._acks.clear()
        self._frame_bytes = self._frame_items = 0
        self._unreceived.clear()
        for attempt in self.in_flight.values():
            attempt.sequence = 0

    # ---- windows

    def grant(self, capacity: worker_service_pb2.Capacity) -> None:
        """Replace the windows."""
        windows = capacity.max_in_flight_by_pool
        for name in {*self._pools, *windows}:
            self._pool(name).window = min(max(windows[name], 0), limits.WINDOW_MAX) if name in windows else 0
        self._bytes_window = max(capacity.max_in_flight_bytes, 0)

    def capacity(self) -> worker_service_pb2.Capacity:
        """Return the windows as they are."""
        windows = {name: pool.window for name, pool in self._pools.items() if pool.window}
        return worker_service_pb2.Capacity(max_in_flight_by_pool=windows, max_in_flight_bytes=self._bytes_window)

    def has_room(self, action: ActionKey) -> bool:
        """True when one more invocation of the action may be sent."""
        use = self._uses.get(action)
        if use is None or not use.is_served or not self._is_open or action in self.rejecting:
            return False
        if use.pool.used >= use.pool.window or (use.limit and use.used >= use.limit):
            return False
        return not self._bytes_window or self._used_bytes < self._bytes_window

    def used(self, name: str) -> int:
        """Return how many slots invocations of an action have, of all its versions; undo does not count."""
        return sum(use.used for action, use in self._uses.items() if action[0] == name and action[2] is Kind.ACTION)

    def load(self, action: ActionKey) -> float:
        """Return the used share of the window of an action's pool."""
        pool = self._uses[action].pool
        return pool.used / max(pool.window, 1)

    def reserve(self, action: ActionKey) -> None:
        """Take a slot for an invocation that is being logged."""
        use = self._use(action)
        use.reserved += 1
        use.used += 1
        use.pool.used += 1

    def release(self, action: ActionKey) -> None:
        """Give a reserved slot back."""
        use = self._use(action)
        if use.reserved:
            use.reserved -= 1
            use.used -= 1
            use.pool.used -= 1

    def _count(self, reserved: Mapping[ActionKey, int]) -> None:
        """Count what is used anew: the worker may serve an action from another pool than before."""
        self._pools, self._uses = {}, {}
        for action in self.served:
            self._use(action)
        for attempt in self.in_flight.values():
            use = self._use(attempt.action)
            use.used += 1
            use.pool.used += 1
        for action, count in reserved.items():
            for _ in range(count):
                self.reserve(action)

    def _use(self, action: ActionKey) -> _Use:
        use = self._uses.get(action)
        if use is None:
            served = self.served.get(action)
            pool = self._pool("" if served is None else served.pool)
            use = _Use(pool, 0 if served is None else served.max_in_flight, served is not None)
            self._uses[action] = use
        return use

    def _pool(self, name: str) -> _Pool:
        pool = self._pools.get(name)
        if pool is None:
            pool = self._pools[name] = _Pool()
        return pool

    # ---- attempts

    def send(self, key: AttemptKey, action: ActionKey, invocation: bytes) -> None:
        """Send an encoded invocation whose start is durable, in the slot reserved for it, on the stream there is."""
        size = len(invocation)
        if self._frame_items and self._frame_bytes + size > FRAME_ROOM:
            self._close_frame()
        sequence = self._sequence + len(self._waiting_frames) + 1
        attempt = self.in_flight[key] = InFlight(action, size, sequence)
        self._unreceived.append(attempt)
        self._used_bytes += size
        use = self._uses.get(action) or self._use(action)
        if use.reserved:
            use.reserved -= 1
        else:
            use.used += 1
            use.pool.used += 1
        self._invocations.append(invocation)
        self._added(size + ITEM_BYTES)

    def adopt(self, key: AttemptKey, action: ActionKey) -> None:
        """Note an attempt that the worker says it holds, though this SEC did not send it."""
        if key not in self.in_flight:
            self.in_flight[key] = InFlight(action, received=True)
            use = self._use(action)
            use.used += 1
            use.pool.used += 1

    def finish(self, key: AttemptKey) -> ActionKey | None:
        """Note that an attempt is no longer with the worker; returns its action, None if it was not."""
        attempt = self.in_flight.pop(key, None)
        if attempt is None:
            return None
        use = self._use(attempt.action)
        use.used -= 1
        use.pool.used -= 1
        self._used_bytes -= attempt.payload_bytes
        return attempt.action

    def forget_work(self) -> None:
        """Forget every attempt and every reserved slot; what was not sent yet will not be."""
        self.in_flight.clear()
        self._used_bytes = 0
        self.question = None
        for use in self._uses.values():
            use.reserved = use.used = use.pool.used = 0
        self._invocations.clear()
        for frame in self._waiting_frames:
            del frame.invocations[:]

    @property
    def _is_open(self) -> bool:
        return self.attached and not self.draining and not self.is_closing

    @property
    def is_idle(self) -> bool:
        """True when nothing is with the worker, or about to be."""
        return not self.in_flight and not any(use.reserved for use in self._uses.values())

    def received(self, sequence: int) -> None:
        """Note the worker's receipt of every frame up to `sequence`."""
        if sequence <= self._received:
            return
        self._received = sequence
        unreceived = self._unreceived
        while unreceived and unreceived[0].sequence <= sequence:
            attempt = unreceived.popleft()
            attempt.received = True
            attempt.sequence = 0

    @property
    def oldest_unreceived(self) -> int:
        """Number of the oldest frame sent and not acknowledged; 0: none."""
        return self._received + 1 if self._received < self._sequence else 0

    @property
    def last_sequence(self) -> int:
        """Number of the last frame of this stream that was sent; 0: none."""
        return self._sequence

    def ask(self) -> None:
        """Ask the worker what it holds, unless it has yet to answer."""
        if self.attached and self.question is None:
            self.question = dict.fromkeys(key for key, attempt in self.in_flight.items() if attempt.received)
            self.say(worker_service_pb2.ConnectResponse(reconcile=worker_service_pb2.Reconcile()))

    # ---- output

    def ack(self, ack: bytes) -> None:
        """Send the fate of a result, an encoded ResultAck. Without a stream it is dropped: the worker asks again."""
        if self.attached:
            size = len(ack) + ITEM_BYTES
            self._room_for(size)
            self._acks.append(ack)
            self._added(size)

    def cancel(self, cancellation: worker_service_pb2.Cancellation) -> None:
        """Send the wish to stop an attempt."""
        if self.attached:
            self._room_for(256)
            self._frame.cancellations.append(cancellation)
            self._added(256)

    def say(self, part: worker_service_pb2.ConnectResponse) -> None:
        """Send any other part of a frame."""
        if self.attached:
            size = part.ByteSize()
            self._room_for(size)
            self._frame.MergeFrom(part)
            self._added(size)

    def _room_for(self, size: int) -> None:
        if self._frame_items and self._frame_bytes + size > FRAME_ROOM:
            self._close_frame()

    def _close_frame(self) -> None:
        self._waiting_frames.append(self._take_open())

    def _take_open(self) -> worker_service_pb2.ConnectResponse:
        """Return the frame that is being filled, and begin another."""
        frame = self._frame
        fields = [field(INVOCATIONS, invocation) for invocation in self._invocations]
        fields += [field(RESULT_ACKS, ack) for ack in self._acks]
        # Read back in one go: setting so many fields one by one takes ten times as long.
        frame.MergeFromString(b"".join(fields))
        self._frame = worker_service_pb2.ConnectResponse()
        self._invocations, self._acks = [], []
        self._frame_bytes = self._frame_items = 0
        return frame

    def _added(self, size: int) -> None:
        self._frame_bytes += size
        self._frame_items += 1
        if self._frame_items == 1 and self._wake is not None:  # else whoever writes knows already
            self._wake()

    def take_frame(self) -> worker_service_pb2.ConnectResponse | None:
        """Return the next frame with everything that waits, up to the limit; None: nothing waits."""
        if self._waiting_frames:
            frame = self._waiting_frames.pop(0)
        elif self._frame_items:
            frame = self._take_open()
        else:
            return None
        self._sequence += 1
        frame.sequence = self._sequence
        return frame


def _served(hello: worker_service_pb2.Hello) -> Iterator[tuple[ActionKey, Served]]:
    for spec in hello.actions:
        kinds = [Kind(kind) for kind in spec.kinds if kind != saga_pb2.INVOCATION_KIND_UNSPECIFIED] or list(Kind)
        for version in spec.versions or ("1",):
            for kind in kinds:
                yield (spec.action, version, kind), Served(spec.slot_pool, max(spec.max_in_flight, 0))
