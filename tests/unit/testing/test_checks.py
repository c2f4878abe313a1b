"""The checks let good actions pass, and each planted fault is caught, with a message that says where it is."""

from __future__ import annotations

from itertools import count

import pytest

from sagaline import Action, Failed, GraphBuilder, UndoPolicy, action
from sagaline.testing import InProcessSec, NotIdempotent, NotReached, NotUndone, SecMaker, WrongEnd
from tests.unit.testing import bank
from tests.unit.testing.bank import World

CHECKS = ("assert_idempotent", "assert_unwinds", "assert_survives_crashes", "assert_undo_wins")


@pytest.fixture
def world() -> World:
    return bank.renew()


def sec_of(sagaline_sec: SecMaker, world: World, book: Action[tuple[int], str] = bank.book) -> InProcessSec:
    return sagaline_sec(bank.actions(book), snapshot=world.rows)


def card() -> str:
    return "card-1"


@pytest.mark.parametrize("check", CHECKS)
def test_good_actions_pass(sagaline_sec: SecMaker, world: World, check: str) -> None:
    getattr(sec_of(sagaline_sec, world), check)(bank.trip(), card)


def test_an_action_that_does_more_each_time_is_caught(sagaline_sec: SecMaker, world: World) -> None:
    sec = sec_of(sagaline_sec, world, bank.book_twice)
    with pytest.raises(NotIdempotent, match=r"node hotel \(action book\) came again") as caught:
        sec.assert_idempotent(bank.trip(bank.book_twice), card)
    assert (caught.value.node, caught.value.action) == ("hotel", "book")
    assert "['rooms']" in str(caught.value)
    assert "room 7" in str(caught.value)


def test_an_action_that_answers_otherwise_is_caught(sagaline_sec: SecMaker, world: World) -> None:
    sec = sec_of(sagaline_sec, world, bank.book_any)
    with pytest.raises(NotIdempotent, match=r"answered otherwise:\n  \"room \d+\" -> \"room \d+\""):
        sec.assert_idempotent(bank.trip(bank.book_any), card)
    sec.assert_idempotent(bank.trip(bank.book_any), card, outputs_may_differ=["hotel", "look"])


def test_an_undo_that_does_more_each_time_is_caught(sagaline_sec: SecMaker, world: World) -> None:
    sec = sec_of(sagaline_sec, world, bank.book_with_letter)
    with pytest.raises(NotIdempotent, match=r"undo of node hotel \(action book\) came again"):
        sec.assert_idempotent(bank.trip(bank.book_with_letter), card)


def test_a_wrong_undo_is_caught(sagaline_sec: SecMaker, world: World) -> None:
    sec = sec_of(sagaline_sec, world, bank.book_for_good)
    with pytest.raises(NotUndone, match=r"node look \(action look\) was made to fail") as caught:
        sec.assert_unwinds(bank.trip(bank.book_for_good), card)
    assert (caught.value.node, caught.value.action) == ("hotel", "book")
    assert "Undone here, and in no earlier round: undo of node hotel (action book)" in str(caught.value)
    assert "['rooms']" in str(caught.value)


def test_the_undo_of_the_last_node_is_checked_too(sagaline_sec: SecMaker, world: World) -> None:
    """No failure of a node undoes it: the saga is asked to unwind."""
    g = GraphBuilder("trip", params=str)
    cents = g.add("pay", bank.charge, g.params)
    graph = g.build(result=g.add("hotel", bank.book_for_good, cents))
    sec = sec_of(sagaline_sec, world, bank.book_for_good)
    with pytest.raises(NotUndone, match="had run when the saga was asked to unwind") as caught:
        sec.assert_unwinds(graph, card)
    assert caught.value.node == "hotel"


def test_an_undo_that_fails_is_told_with_its_reason(sagaline_sec: SecMaker, world: World) -> None:
    sec = sec_of(sagaline_sec, world, bank.book_by_output)
    with pytest.raises(WrongEnd, match="NoOutput: which room"):
        sec.assert_undo_wins(bank.trip(bank.book_by_output), card)


def test_an_injection_that_is_not_reached_is_caught(sagaline_sec: SecMaker, world: World) -> None:
    """The second time, another node fails before; so nothing is proved, and which one failed is said."""
    numbers = count()

    @action("pay")
    async def pay_once(card: str) -> int:
        if next(numbers) > 1:
            raise Failed("Declined", "one was enough")
        return 100

    @pay_once.undo
    async def refund(card: str) -> None: ...

    g = GraphBuilder("trip", params=str)
    cents = g.add("pay", pay_once, g.params)
    graph = g.build(result=g.add("hotel", bank.book, cents))
    sec = sagaline_sec([pay_once, bank.book], snapshot=world.rows)
    with pytest.raises(NotReached, match=r"node hotel \(action book\) was to be undone by request.*Declined.*is pay"):
        sec.assert_unwinds(graph, card)


def test_each_round_has_new_parameters(sagaline_sec: SecMaker, world: World) -> None:
    numbers = count()
    cards: list[str] = []

    def new_card() -> str:
        cards.append(f"card-{next(numbers)}")
        return cards[-1]

    sec_of(sagaline_sec, world).assert_unwinds(bank.trip(), new_card)
    assert len(cards) == len(set(cards)) == 4  # as it goes, and a failure of each node


def test_what_a_crash_makes_happen_twice_is_caught(sagaline_sec: SecMaker, world: World) -> None:
    sec = sec_of(sagaline_sec, world, bank.book_twice)
    with pytest.raises(NotIdempotent, match=r"node hotel \(action book\) came again, after a crash"):
        sec.assert_survives_crashes(bank.trip(bank.book_twice), card)


def test_an_undo_that_a_crash_makes_happen_twice_is_caught(sagaline_sec: SecMaker, world: World) -> None:
    sec = sec_of(sagaline_sec, world, bank.book_with_complaint)
    with pytest.raises(NotIdempotent, match=r"undo of node hotel \(action book\) came again, after a crash"):
        sec.assert_survives_crashes(bank.trip(bank.book_with_complaint), card)


def test_what_a_crash_leaves_is_caught(sagaline_sec: SecMaker, world: World) -> None:
    sec = sec_of(sagaline_sec, world, bank.book_for_good)
    with pytest.raises(NotUndone, match="died before the result of undo of node pay"):
        sec.assert_survives_crashes(bank.trip(bank.book_for_good), card)


def test_an_action_that_comes_after_its_undo_is_caught(sagaline_sec: SecMaker, world: World) -> None:
    sec = sec_of(sagaline_sec, world, bank.book_late)
    with pytest.raises(NotUndone, match="the undo came before the action, and then the action, late") as caught:
        sec.assert_undo_wins(bank.trip(bank.book_late), card)
    assert (caught.value.node, caught.value.action) == ("hotel", "book")


def test_after_a_pivot_a_failure_goes_forward(sagaline_sec: SecMaker, world: World) -> None:
    g = GraphBuilder("trip", params=str)
    cents = g.add("pay", bank.charge, g.params)
    seen = g.add("confirm", bank.look, g.params, after=[cents], pivot=True)
    graph = g.build(result=g.add("tell", bank.look, seen, undo=UndoPolicy.noop()))
    sec = sagaline_sec([bank.charge, bank.look], snapshot=world.rows)
    for check in CHECKS:
        getattr(sec, check)(graph, card)


def test_a_saga_that_fails_by_itself_proves_nothing(sagaline_sec: SecMaker, world: World) -> None:
    @action("pay")
    async def decline(card: str) -> int:
        raise Failed("Declined", "no money")

    @decline.undo
    async def nothing(card: str) -> None: ...

    g = GraphBuilder("trip", params=str)
    graph = g.build(result=g.add("pay", decline, g.params))
    with pytest.raises(WrongEnd, match=r"nothing was in its way, and .*Declined"):
        sagaline_sec([decline], snapshot=world.rows).assert_unwinds(graph, card)


def test_a_saga_that_gets_stuck_is_told_with_the_undo_that_failed(sagaline_sec: SecMaker, world: World) -> None:
    @action("book")
    async def book(cents: int) -> str:
        return "room 7"

    @book.undo
    async def cancel() -> None:
        raise Failed("TooLate", "the hotel does not answer")

    with pytest.raises(WrongEnd, match=r"is stuck.*\n  node hotel: TooLate: the hotel does not answer"):
        sec_of(sagaline_sec, world, book).assert_unwinds(bank.trip(book), card)


def test_maps_are_checked_element_by_element(sagaline_sec: SecMaker, world: World) -> None:
    g = GraphBuilder("rooms", params=list[int])
    graph = g.build(result=g.map("rooms", bank.book, over=g.params))
    sec = sagaline_sec([bank.book], snapshot=world.rows)
    for check in CHECKS:
        getattr(sec, check)(graph, lambda: [1, 2, 3])


def test_a_wrong_undo_inside_a_map_is_caught(sagaline_sec: SecMaker, world: World) -> None:
    g = GraphBuilder("rooms", params=list[int])
    graph = g.build(result=g.map("rooms", bank.book_for_good, over=g.params))
    with pytest.raises(NotUndone) as caught:
        sagaline_sec([bank.book_for_good], snapshot=world.rows).assert_unwinds(graph, lambda: [1, 2])
    assert caught.value.action == "book"


def test_a_map_that_bears_failures_goes_on(sagaline_sec: SecMaker, world: World) -> None:
    g = GraphBuilder("rooms", params=list[int])
    graph = g.build(result=g.map("rooms", bank.book, over=g.params, max_failures=1))
    sec = sagaline_sec([bank.book], snapshot=world.rows)
    for check in CHECKS:
        getattr(sec, check)(graph, lambda: [1, 2, 3])


def test_what_cannot_be_undone_is_held_there(sagaline_sec: SecMaker, world: World) -> None:
    g = GraphBuilder("letter", params=str)
    cents = g.add("pay", bank.charge, g.params)
    sent = g.add("send", bank.look, g.params, after=[cents], undo=UndoPolicy.none())
    graph = g.build(result=g.add("hotel", bank.book, cents, after=[sent]))
    sec = sagaline_sec([bank.charge, bank.look, bank.book], snapshot=world.rows)
    for check in CHECKS:
        getattr(sec, check)(graph, card)


def test_an_error_in_a_snapshot_is_the_users_own(sagaline_sec: SecMaker, world: World) -> None:
    calls = count()

    def snapshot() -> object:
        if next(calls) > 3:
            raise LookupError("no such table")
        return None

    with pytest.raises(LookupError, match="no such table"):
        sagaline_sec(bank.actions(), snapshot=snapshot).assert_idempotent(bank.trip(), card)


def test_what_was_found_once_is_not_found_again(sagaline_sec: SecMaker, world: World) -> None:
    sec = sec_of(sagaline_sec, world, bank.book_late)
    for _ in range(2):
        with pytest.raises(NotUndone):
            sec.assert_undo_wins(bank.trip(bank.book_late), card)
    sec.assert_unwinds(bank.trip(bank.book_late), card)
