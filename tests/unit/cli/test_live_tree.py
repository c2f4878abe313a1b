"""watch on a terminal: the tree is drawn while the saga goes on."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from rich.console import Console

from sagaline.cli.watch import watch_tree
from sagaline.errors import SagaNotFound
from sagaline.sync import Client
from sagaline.v1 import saga_pb2, saga_service_pb2
from tests.unit.cli.fake_service import FakeService
from tests.unit.cli.samples import log, running, succeeded


class LiveService(FakeService):
    """A saga that succeeds, or is removed, as soon as it is watched."""

    def __init__(self) -> None:
        super().__init__()
        self.removes = False

    def WatchSaga(self, request: object, context: object) -> Iterator[saga_service_pb2.WatchSagaResponse]:
        self.sagas["t"].CopyFrom(succeeded("t"))
        frames = list(super().WatchSaga(request, context))
        if self.removes:
            del self.sagas["t"]
        yield from frames


@pytest.fixture
def service() -> LiveService:
    service = LiveService()
    service.add(running("t"))
    service.logs["t"] = log()
    return service


def terminal() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=80, height=20, markup=False, no_color=True)


def text_of(screen: Console) -> str:
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


def test_the_tree_is_drawn_until_the_end(address: str) -> None:
    screen = terminal()
    with Client(address) as client:
        saga = watch_tree(client, "t", screen)
    assert saga.state == saga_pb2.SAGA_STATE_SUCCEEDED
    assert text_of(screen).rindex("succeeded") > text_of(screen).rindex("running")


def test_what_goes_wrong_while_drawing_is_raised(address: str, service: LiveService) -> None:
    service.removes = True
    with Client(address) as client, pytest.raises(SagaNotFound):
        watch_tree(client, "t", terminal())


def test_a_saga_that_is_not_there_is_not_drawn(address: str) -> None:
    screen = terminal()
    with Client(address) as client, pytest.raises(SagaNotFound):
        watch_tree(client, "nope", screen)
    assert text_of(screen) == ""
