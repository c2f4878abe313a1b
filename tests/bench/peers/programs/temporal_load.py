"""Load on Temporal: one workflow for each saga, executed and awaited."""

from __future__ import annotations

import asyncio
import sys
import time
import uuid
from datetime import timedelta

from google.protobuf.duration_pb2 import Duration
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError

from tests.bench.peers.programs.closed_loop import PAYLOAD, measure, pause
from tests.bench.peers.programs.temporal_worker import QUEUE, Saga

READY_SECONDS = 60.0
POLL_SECONDS = 0.5


async def ready_client(address: str) -> Client:
    """Return a client once the server serves its namespace."""
    give_up = time.monotonic() + READY_SECONDS
    client: Client | None = None
    while True:
        try:
            client = client or await Client.connect(address)
            await client.count_workflows()
        except (RPCError, RuntimeError):
            if time.monotonic() > give_up:
                raise
            await pause(POLL_SECONDS)
        else:
            return client


async def main(address: str, in_flight: int, seconds: float) -> None:
    """Register the namespace where no figure is asked for; else measure."""
    if not in_flight:
        client = await Client.connect(address)
        retention = Duration()
        retention.FromTimedelta(timedelta(days=1))
        request = RegisterNamespaceRequest(namespace="default", workflow_execution_retention_period=retention)
        await client.workflow_service.register_namespace(request)
        return
    client = await ready_client(address)

    async def run() -> None:
        if await client.execute_workflow(Saga.run, PAYLOAD, id=uuid.uuid4().hex, task_queue=QUEUE) != PAYLOAD:
            raise RuntimeError("a saga went wrong")

    await measure(run, in_flight, seconds)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
