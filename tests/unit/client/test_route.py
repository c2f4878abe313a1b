"""Which of several addresses is asked."""

from __future__ import annotations

import pytest

from sagaline.client.route import Route


@pytest.mark.parametrize("given", ["a:1,b:2, c:3", ["a:1", "b:2", "c:3"], ["a:1,b:2", "c:3", "a:1"]])
def test_addresses_come_one_by_one_or_with_commas(given: str | list[str]) -> None:
    assert Route(given).addresses == ("a:1", "b:2", "c:3")


@pytest.mark.parametrize("given", ["", " , ", []])
def test_there_must_be_one(given: str | list[str]) -> None:
    with pytest.raises(ValueError, match="no address"):
        Route(given)


def test_the_current_one_stays_until_it_fails() -> None:
    route = Route("a,b,c")
    assert (route.current, route.current) == ("a", "a")
    route.failed("a")
    assert route.current == "b"
    # Another call found out about the same failure.
    route.failed("a")
    assert route.current == "b"
    route.failed("b")
    route.failed("c")
    assert route.current == "a"
