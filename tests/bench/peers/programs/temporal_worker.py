"""Temporal's worker: a workflow of three activities, and the activities."""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import Worker

QUEUE = "bench"


@activity.defn
async def hand_on(value: str) -> str:
    """Return what came in."""
    return value


@workflow.defn
class Saga:
    """Three actions."""

    @workflow.run
    async def run(self, value: str) -> str:
        """Run them one after the other."""
        for _ in range(3):
            value = await workflow.execute_activity(hand_on, value, start_to_close_timeout=timedelta(seconds=60))
        return value


async def main(address: str) -> None:
    """Serve until stopped."""
    client = await Client.connect(address)
    worker = Worker(
        client,
        task_queue=QUEUE,
        workflows=[Saga],
        activities=[hand_on],
        activity_executor=ThreadPoolExecutor(4),
        max_concurrent_activities=1_000,
        max_concurrent_workflow_tasks=1_000,
    )
    await worker.run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
