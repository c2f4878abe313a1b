"""Slots of attempts that were taken over, or whose saga was lost: free as soon as the attempt is over."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from sagaline.v1 import worker_service_pb2 as pb
from sagaline_server.core.entries import Kind
from tests.unit.dispatch.conftest import World
from tests.unit.dispatch.messages import ACT, hello, key, ref, report
from tests.unit.dispatch.serving import Site, served

EPOCH = 2


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with served() as site:
        yield site


def result(node: str) -> pb.InvocationResult:
    message = pb.InvocationResult(ref=ref(key(node)))
    message.output.json = "1"
    return message


async def test_a_result_that_comes_before_the_answer_to_an_adoption_leaves_its_slot_free(site: Site) -> None:
    """A worker sends what it has finished first, and then says that it still holds it: until it is acknowledged."""
    talk = await site.connect(hello(window=1))
    site.dispatcher.expect("w", key("a"), ACT, EPOCH)
    await talk.hear_until(lambda frame: frame.adoptions)
    await talk.say(results=[result("a")], in_flight=report([key("a")], complete=False))
    await site.until(lambda: site.sagas.results)
    session = site.session()
    assert not session.in_flight
    assert session.has_room(ACT)
    assert not site.sagas.ends


async def test_a_result_without_a_session_answers_for_an_attempt_that_was_taken_over(site: Site) -> None:
    talk = await site.connect(hello(window=1))
    site.dispatcher.expect("w", key("a"), ACT, EPOCH)
    call = site.stub.ReportResults(pb.ReportResultsRequest(worker_id="w", results=[result("a")]))
    await site.until(lambda: site.sagas.results)
    await talk.say(in_flight=report([key("a")], complete=False))
    await talk.say(heartbeat=pb.Heartbeat(nonce=7))
    await talk.hear_until(lambda frame: frame.heartbeat_nonce == 7)
    assert site.session().has_room(ACT)
    call.cancel()


def test_a_saga_that_is_lost_frees_the_slots_of_its_attempts(world: World) -> None:
    """Another SEC owns it: what its workers say of it, they say there."""
    session = world.connect(window=2)
    world.start(session, "a", "b")
    world.deliver(session)
    world.dispatcher.expect("elsewhere", key("c"), ACT, EPOCH)
    world.dispatcher.wait("s", 3, ACT)
    world.dispatcher.forget("s")
    assert not session.in_flight
    assert world.sagas.offers == [("s", 3, Kind.ACTION, "w")]
    assert not world.sagas.ends
    world.clock.now += 100.0
    world.dispatcher.end_graces()
    assert not world.sagas.ends
