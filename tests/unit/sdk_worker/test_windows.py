"""How slots are split over streams, and that what was granted never exceeds them: W58 to W61."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sagaline.v1 import worker_service_pb2 as pb
from sagaline.worker import limits
from sagaline.worker.windows import Windows, split
from tests.unit.sdk_worker.driving import invocation, ref
from tests.unit.sdk_worker.fleet_driving import FleetDriver, Peer, address_of, sec_set

NO_CAPACITY = pb.REJECTION_REASON_NO_CAPACITY


def demand(ready: int, pool: str = "") -> pb.Demand:
    return pb.Demand(slot_pool=pool, ready_count=ready)


def windows_of(peers: Iterable[Peer]) -> list[int | None]:
    return [peer.window() for peer in peers]


# ---- the split


@pytest.mark.parametrize(
    ("slots", "wants", "shares"),
    [
        (6, [(0, 0), (0, 0), (0, 0)], [2, 2, 2]),
        (7, [(0, 0), (0, 0), (0, 0)], [3, 2, 2]),
        (10, [(4, 0), (0, 0)], [7, 3]),
        (10, [(0, 4), (2, 0)], [6, 4]),
        (100, [(0, 300), (0, 100)], [75, 25]),
        (100, [(50, 1000), (0, 0), (0, 0)], [98, 1, 1]),
        (4, [(0, 1000), (0, 1), (0, 1)], [2, 1, 1]),
    ],
    ids=["even", "the rest", "held", "wanted and spare", "in proportion", "the idle keep one", "the least gets one"],
)
def test_each_gets_what_it_wants_or_its_share(slots: int, wants: list[tuple[int, int]], shares: list[int]) -> None:
    assert split(slots, wants, turn=0) == shares


def test_with_fewer_slots_than_streams_those_with_work_take_turns() -> None:
    wants = [(0, 9), (0, 0), (0, 9)]
    assert {tuple(split(1, wants, turn)) for turn in range(3)} == {(1, 0, 0), (0, 0, 1)}


@given(
    st.integers(1, 50),
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 300)), min_size=1, max_size=8),
    st.integers(0),
)
def test_all_slots_are_given_and_who_has_work_gets_one(slots: int, wants: list[tuple[int, int]], turn: int) -> None:
    shares = split(slots, wants, turn)
    assert sum(shares) == slots
    assert min(shares) >= 0
    if slots >= len(wants):
        assert all(share >= 1 for share, (_, ready) in zip(shares, wants, strict=True) if ready)


# ---- streams


def test_before_any_demand_slots_are_split_evenly_and_the_first_gives_before_others_get() -> None:
    driver = FleetDriver("a:7070", slots=6)
    first = driver.connect("a:7070", "a", sec_set("a", "b", "c"))
    assert first.window() == 6
    second = driver.dial(address_of("b"))
    assert second.window() == 0, "nothing is free"
    second.welcome("b")
    assert windows_of([first, second]) == [3, 3]
    third = driver.connect(address_of("c"), "c")
    assert windows_of([first, second, third]) == [2, 2, 2]


def test_a_stream_that_ends_leaves_its_slots_to_the_others() -> None:
    driver = FleetDriver("a:7070", slots=6)
    a, b, c = driver.connect_all("a", "b", "c")
    driver.break_stream(c)
    assert windows_of([a, b]) == [3, 3]


def test_windows_follow_demand_at_most_once_a_second() -> None:
    driver = FleetDriver("a:7070", slots=100)
    a, b = driver.connect_all("a", "b")
    driver.pass_time(10.0)
    a.send(demands=[demand(300)])
    assert windows_of([a, b]) == [99, 1]
    b.send(demands=[demand(100)])
    assert windows_of([a, b]) == [99, 1]
    driver.pass_time(limits.SPLIT_SECONDS)
    assert windows_of([a, b]) == [75, 25]
    a.send(demands=[demand(0)])
    b.send(demands=[demand(0)])
    driver.pass_time(limits.SPLIT_SECONDS)
    assert windows_of([a, b]) == [50, 50]


def test_what_is_in_use_counts_as_wanted() -> None:
    driver = FleetDriver("a:7070", slots=10)
    a, b = driver.connect_all("a", "b")
    a.invoke(*(invocation(ref(f"s{number}")) for number in range(5)))
    driver.pass_time(10.0)
    b.send(demands=[demand(3)])
    assert windows_of([a, b]) == [6, 4], "nothing that runs is taken away while all fits"


def test_an_idle_sec_keeps_a_slot_so_that_new_work_need_not_ask_first() -> None:
    driver = FleetDriver("a:7070", slots=10)
    a, b = driver.connect_all("a", "b")
    driver.pass_time(10.0)
    a.send(demands=[demand(10_000)])
    assert windows_of([a, b]) == [9, 1]


def test_pools_are_split_each_for_itself() -> None:
    served = {("charge", "1", 1): "", ("render", "1", 1): "gpu"}
    driver = FleetDriver("a:7070", slots={"": 10, "gpu": 4}, served=served)
    a, b = driver.connect_all("a", "b")
    driver.pass_time(10.0)
    a.send(demands=[demand(100, "gpu"), demand(100, "unknown")])
    capacities = [peer.frames[-1].capacity.max_in_flight_by_pool for peer in (a, b)]
    assert [dict(capacity) for capacity in capacities] == [{"": 5, "gpu": 3}, {"": 5, "gpu": 1}]


def test_a_shrunk_window_that_is_overdrawn_is_held_a_little_and_then_refused() -> None:
    driver = FleetDriver("a:7070", slots=4)
    a, b = driver.connect_all("a", "b")
    a.invoke(*(invocation(ref(f"a{number}")) for number in range(4)))
    b.invoke(*(invocation(ref(f"b{number}")) for number in range(4)))
    assert len(driver.started) == 4
    assert b.rejections() == [(ref("b2"), NO_CAPACITY), (ref("b3"), NO_CAPACITY)], "one more for each stream waits"
    driver.finish(ref("a0"))
    assert driver.started[-1] == ref("b0")


def test_too_many_unacknowledged_results_close_every_window() -> None:
    driver = FleetDriver("a:7070", slots=4)
    a, b = driver.connect_all("a", "b")
    driver.holdings.results._count_max = 0
    a.invoke(invocation(ref()))
    driver.finish(ref())
    assert windows_of([a, b]) == [0, 0]
    a.send(result_acks=[pb.ResultAck(ref=ref().message(), status=pb.RESULT_STATUS_RECORDED)])
    assert windows_of([a, b]) == [2, 2]


def test_draining_closes_every_window() -> None:
    driver = FleetDriver("a:7070", slots=4)
    a, b = driver.connect_all("a", "b")
    a.invoke(invocation(ref()))
    driver.drain()
    assert windows_of([a, b]) == [0, 0]


class Granting(RuleBasedStateMachine):
    """Streams come, are told their windows in any order or never, and go; demand changes as it likes."""

    SLOTS = 7

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.used: dict[tuple[str, str], int] = {}
        self.windows = Windows({"": self.SLOTS}, lambda: self.used)
        self.told: dict[str, int] = {}
        self.welcomed: set[str] = set()
        self.closed = False

    @rule(address=st.sampled_from("abcd"))
    def come(self, address: str) -> None:
        if address not in self.told:
            self.windows.opened(address)
            self.told[address] = self.windows.tell(address, closed=self.closed)[""]

    @rule(address=st.sampled_from("abcd"))
    def welcome(self, address: str) -> None:
        if address in self.told and address not in self.welcomed:
            self.welcomed.add(address)
            self.windows.welcomed(address, address, self.now)

    @rule(address=st.sampled_from("abcd"))
    def go(self, address: str) -> None:
        if self.told.pop(address, None) is not None:
            self.welcomed.discard(address)
            self.windows.ended(address, self.now)

    @rule(address=st.sampled_from("abcd"), ready=st.integers(0, 30))
    def want(self, address: str, ready: int) -> None:
        if address in self.welcomed:
            self.windows.demand(address, [demand(ready)], self.now)

    @rule(address=st.sampled_from("abcd"), used=st.integers(0, 9))
    def use(self, address: str, used: int) -> None:
        self.used[address, ""] = used

    @rule(span=st.sampled_from([0.1, 1.0]))
    def pass_time(self, span: float) -> None:
        self.now += span
        self.windows.tick(self.now)

    @rule(closed=st.booleans())
    def close(self, *, closed: bool) -> None:
        self.closed = closed

    @rule(address=st.sampled_from("abcd"))
    @precondition(lambda self: bool(self.told))
    def tell(self, address: str) -> None:
        if address in self.told and self.windows.has_news(address, closed=self.closed):
            self.told[address] = self.windows.tell(address, closed=self.closed)[""]

    @invariant()
    def never_more_than_there_are(self) -> None:
        assert sum(self.told.values()) <= self.SLOTS

    def teardown(self) -> None:
        """When every stream that has news is told, all slots are granted, to those that take part."""
        self.closed = False
        for address in [address for address in self.told if address not in self.welcomed]:
            self.go(address)
        for _ in range(3):
            for address in self.told:
                self.tell(address)
        assert not any(self.windows.has_news(address, closed=False) for address in self.told)
        assert sum(self.told.values()) == (self.SLOTS if self.told else 0)


TestGranting = Granting.TestCase
