"""Ctrl-C ends every command at once, in order."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from sagaline.v1 import saga_service_pb2
from tests.unit.cli.fake_service import FakeService
from tests.unit.cli.samples import log, running

PROGRAM = [sys.executable, "-c", "import sys; from sagaline.cli.main import main; sys.exit(main())"]


class EndlessService(FakeService):
    """A saga that never ends."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = threading.Event()
        self.over = threading.Event()

    def WaitSaga(self, request: object, context: object) -> saga_service_pb2.WaitSagaResponse:
        self.asked.set()
        self.over.wait(60)
        return super().WaitSaga(request, context)

    def WatchSaga(self, request: object, context: object) -> Iterator[saga_service_pb2.WatchSagaResponse]:
        yield from super().WatchSaga(request, context)
        self.asked.set()
        self.over.wait(60)


@pytest.fixture
def service() -> Iterator[EndlessService]:
    service = EndlessService()
    service.add(running("t"), log()[:2])
    yield service
    service.over.set()


@pytest.mark.parametrize("command", ["wait", "watch"])
def test_ctrl_c_while_a_command_waits(service: EndlessService, address: str, command: str) -> None:
    process = subprocess.Popen(
        [*PROGRAM, "--address", address, command, "t"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert service.asked.wait(30)
    process.send_signal(signal.SIGINT)
    _output, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (130, "")


def test_ctrl_c_while_the_tree_is_drawn(service: EndlessService, address: str) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*PROGRAM, "--address", address, "watch", "t"], stdout=theirs, stderr=subprocess.PIPE, stdin=theirs, text=True
    )
    os.close(theirs)
    screen = b""
    interrupted = False
    while select.select([ours], [], [], 30)[0]:
        try:
            screen += os.read(ours, 65_536)
        except OSError:  # the other end is closed
            break
        if b"payments.charge" in screen and not interrupted:
            process.send_signal(signal.SIGINT)
            interrupted = True
    assert process.wait(30) == 130
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()
    os.close(ours)
    assert screen.rstrip().endswith(b"\x1b[?25h")  # the cursor is shown again
