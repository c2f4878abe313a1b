"""The worker service of a SEC that is to die at a named point: the points around a frame that leaves.

A class of its own, so that the stream of a SEC that is not to die has nothing of it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import grpc

from sagaline.v1 import worker_service_pb2
from sagaline_server.dispatch.worker_service import WorkerService
from sagaline_server.runtime.crashpoints import reach


class CrashingWorkerService(WorkerService):
    """Serves worker streams, up to a point."""

    async def Connect(  # noqa: N802 - gRPC's name
        self,
        request_iterator: AsyncIterator[worker_service_pb2.ConnectRequest],
        context: grpc.aio.ServicerContext,  # type: ignore[type-arg]
    ) -> AsyncIterator[worker_service_pb2.ConnectResponse]:
        """Serve one worker stream."""
        frames = super().Connect(request_iterator, context)
        assert isinstance(frames, AsyncGenerator)
        async with aclosing(frames):
            async for frame in frames:
                if frame.invocations:
                    reach("send.before")
                if frame.result_acks:
                    reach("ack.before")
                yield frame
                # gRPC asks for the next frame when it has written this one.
                if frame.invocations:
                    reach("send.after")
                if frame.result_acks:
                    reach("ack.after")
