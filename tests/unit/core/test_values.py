"""Selecting fields of payloads."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagaline_server.core.values import NULL, Payload, SelectionError, select

DOCUMENT = Payload(
    json='{"a":{"b":[1,{"c":"ä"}],"0":"zero","":"empty"},"n":null,"big":12345678901234567890.10,"huge":1e999}'
)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ((), DOCUMENT.json),
        (("a", "b"), '[1,{"c":"ä"}]'),
        (("a", "b", "1", "c"), '"ä"'),
        (("a", "0"), '"zero"'),
        (("n",), "null"),
        (("big",), "12345678901234567890.10"),
        (("huge",), "1e999"),
    ],
)
def test_what_a_path_selects(path: tuple[str, ...], expected: str) -> None:
    """Keys of objects, decimal indexes of arrays, outermost first; text and numbers come out as they were."""
    assert select(DOCUMENT, path).json == expected


@pytest.mark.parametrize(
    ("payload", "path"),
    [
        (DOCUMENT, ("x",)),
        (DOCUMENT, ("a", "b", "2")),
        (DOCUMENT, ("a", "b", "-1")),
        (DOCUMENT, ("a", "b", "c")),
        (DOCUMENT, ("a", "b", "²")),
        (DOCUMENT, ("n", "x")),
        (NULL, ("x",)),
        (Payload(), ("x",)),
        (Payload(json="{"), ("x",)),
        (Payload(json=""), ("x",)),
        (Payload(data=b"{}", encoding="raw"), ("x",)),
        (Payload(json="[" * 100_000), ("x",)),
        (Payload(json='{"x":' + "[" * 100_000 + "]" * 100_000 + "}"), ("x",)),
        (Payload(json='{"x":"\\ud800"}'), ("x", "y")),
        (Payload(json='{"x":NaN}'), ("x",)),
        (DOCUMENT, ("a", "b", "9" * 5_000)),
    ],
)
def test_what_can_not_be_selected(payload: Payload, path: tuple[str, ...]) -> None:
    """A path that selects nothing, for whatever reason, is one kind of error."""
    with pytest.raises(SelectionError):
        select(payload, path)


def test_without_a_path_the_payload_is_not_read() -> None:
    """Whatever it holds passes as it is, bytes and metadata included."""
    for payload in (Payload(json="not json"), Payload(data=b"\xff", encoding="raw", metadata=(("k", "v"),))):
        assert select(payload, ()) is payload


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.booleans(), min_size=1))
def test_selecting_gives_what_was_put_in(document: dict[str, object]) -> None:
    """Any field of any object."""
    payload = Payload(json=json.dumps(document))
    for key, value in document.items():
        assert json.loads(select(payload, (key,)).json or "") == value
