"""Which trace contexts make spans, and what the spans below a caller's are called."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagaline_server.core.entries import Kind
from sagaline_server.core.traces import saga_span_id, sampled_parent, span_id

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{SPAN}-01"


def test_the_parts_of_a_sampled_parent() -> None:
    parent = sampled_parent({"traceparent": GOOD, "tracestate": "vendor=1"})
    assert parent is not None
    assert (parent.trace_id.hex(), parent.span_id.hex()) == (TRACE, SPAN)
    assert (parent.flags, parent.state) == (1, "vendor=1")
    assert parent.below(bytes.fromhex("00000000000000aa")) == f"00-{TRACE}-00000000000000aa-01"


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"00-{TRACE}-{SPAN}-00",  # the caller does not sample it
        f"00-{TRACE}-{SPAN}-02",
        f"ff-{TRACE}-{SPAN}-01",  # no version
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE[1:]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-1",
        f" {GOOD}",
        f"{GOOD}\n",
        "00-1-2-01",
    ],
)
def test_what_is_no_sampled_parent(text: str) -> None:
    assert sampled_parent({"traceparent": text}) is None


def test_without_a_parent_there_is_none() -> None:
    assert sampled_parent({"tracestate": "vendor=1"}) is None


def test_a_later_version_is_read_as_this_one_and_passed_on_as_this_one() -> None:
    parent = sampled_parent({"traceparent": f"01-{TRACE}-{SPAN}-ff-what.ever"})
    assert parent is not None
    assert parent.below(parent.span_id) == f"00-{TRACE}-{SPAN}-03"


@given(st.text())
def test_any_text_is_read_without_an_error(text: str) -> None:
    sampled_parent({"traceparent": text})


@given(st.binary(min_size=16, max_size=16).filter(any), st.binary(min_size=8, max_size=8).filter(any))
def test_what_is_passed_on_can_be_read_again(trace_id: bytes, below: bytes) -> None:
    parent = sampled_parent({"traceparent": f"00-{trace_id.hex()}-{SPAN}-01"})
    assert parent is not None
    again = sampled_parent({"traceparent": parent.below(below)})
    assert again is not None
    assert (again.trace_id, again.span_id, again.flags) == (trace_id, below, 1)


def test_ids_stay_what_they_are() -> None:
    """SECs of two releases make the spans of one saga: a worker's parent is of the one, its span of the other."""
    assert saga_span_id("s-1").hex() == "6a840baf5d8c3ff2"
    assert span_id("s-1", "book", Kind.ACTION, 1).hex() == "5a3166932b7a145a"
    assert span_id("s-1", "book", Kind.UNDO, 2).hex() == "e391d621362b19cd"
