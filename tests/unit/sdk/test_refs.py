"""Selections: which JSON path a function of a value stands for, and which functions stand for none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from sagaline import GraphBuilder
from sagaline.errors import GraphError
from sagaline.v1 import saga_pb2
from tests.unit.sdk.types_to_convert import Box, Holder, Money, Names, Parcel, Row, Tree


@dataclass
class Request:
    tree: Tree
    holder: Holder
    parcel: Parcel
    boxes: list[Box[Money]]
    by_name: dict[str, Money]
    pair: tuple[int, Money]
    row: Row
    names: Names
    anything: Any
    policy: saga_pb2.RetryPolicy
    maybe: Money | None = None

    @property
    def total(self) -> int:
        return 1


@pytest.fixture
def g() -> GraphBuilder[Request]:
    return GraphBuilder("g", params=Request)


@pytest.mark.parametrize(
    ("choose", "path", "declared"),
    [
        (lambda r: r, (), Request),
        (lambda r: r.tree, ("tree",), Tree),
        (lambda r: r.tree.children[2].name, ("tree", "children", "2", "name"), str),
        (lambda r: r.holder.model.full_name, ("holder", "model", "fullName"), str),
        (lambda r: r.holder.struct.first_name, ("holder", "struct", "firstName"), str),
        (lambda r: r.parcel["weight_g"], ("parcel", "weight_g"), int),
        (lambda r: r.boxes[0].item.currency, ("boxes", "0", "item", "currency"), str),
        (lambda r: r.boxes[0].items[1], ("boxes", "0", "items", "1"), Money),
        (lambda r: r.by_name["a b"].currency, ("by_name", "a b", "currency"), str),
        (lambda r: r.pair[1].currency, ("pair", "1", "currency"), str),
        (lambda r: r.row.right, ("row", "1"), str),
        (lambda r: r.anything.b[0]["c"], ("anything", "b", "0", "c"), Any),
        (lambda r: r.maybe.currency, ("maybe", "currency"), str),
    ],
)
def test_the_path_is_that_of_the_json(
    g: GraphBuilder[Request], choose: Callable[[Any], Any], path: tuple[str, ...], declared: Any
) -> None:
    ref = g.params.select(choose)
    assert (ref.path, ref.type, ref.node) == (path, declared, None)


def test_selections_can_follow_each_other(g: GraphBuilder[Request]) -> None:
    ref = g.params.select(lambda r: r.tree).select(lambda tree: tree.children[0]).select(lambda tree: tree.name)
    assert ref.path == ("tree", "children", "0", "name")
    assert repr(ref) == "<Ref params.tree.children.0.name>"


@pytest.mark.parametrize(
    ("choose", "reason", "message"),
    [
        (lambda r: r.missing, "NO_SUCH_FIELD", "Request has no field 'missing'"),
        (lambda r: r.total, "NO_SUCH_FIELD", "not methods or properties"),
        (lambda r: r.tree.name.upper(), "NO_SUCH_FIELD", "str has no field 'upper'"),
        (lambda r: r.holder.model.fullName, "NO_SUCH_FIELD", "Model has no field 'fullName'"),
        (lambda r: r.holder.struct.last_name, "NO_SUCH_FIELD", "Struct has no field"),
        (lambda r: r.parcel["height"], "NO_SUCH_FIELD", "Parcel has no field 'height'"),
        (lambda r: r.parcel.weight_g, "NO_SUCH_FIELD", "Parcel has no field"),
        (lambda r: r.boxes[-1], "NO_SUCH_FIELD", "an index is 0 or more"),
        (lambda r: r.boxes[0:1], "NO_SUCH_FIELD", "a key is text or an index"),
        (lambda r: r.boxes["a"], "NO_SUCH_FIELD", "has no elements to select by 'a'"),
        (lambda r: r.boxes[True], "NO_SUCH_FIELD", "a key is text or an index"),
        (lambda r: r.pair[2], "NO_SUCH_FIELD", "the tuple has 2 items"),
        (lambda r: r.policy.max_attempts, "NO_SUCH_FIELD", "the server does not see"),
        (lambda r: r.tree.name + "x", "NOT_A_FIELD", "a selection can read fields only"),
        (lambda r: r.maybe or r.tree, "NOT_A_FIELD", "not known before the saga runs"),
        (lambda r: f"{r.tree.name}", "NOT_A_FIELD", "returns a field of its argument"),
        (lambda r: [box.item for box in r.boxes], "NOT_A_FIELD", "a selection can read fields only"),
        (lambda r: r.tree.name in r.by_name, "NOT_A_FIELD", "a selection can read fields only"),
        (lambda r: len(r.boxes), "NOT_A_FIELD", "a selection can read fields only"),
        (lambda r: r.tree.name == "x", "NOT_A_FIELD", "returns a field of its argument"),
        (lambda r: r.tree(), "NOT_A_FIELD", "a selection can read fields only"),
        (lambda _: None, "NOT_A_FIELD", "returns a field of its argument"),
        (lambda r: r.anything.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a, "TOO_MANY", "at most 16 elements; this one has 17"),
        (lambda r: r.by_name["x" * 129], "OUT_OF_RANGE", "1 to 128 characters"),
        (lambda r: r.by_name[""], "OUT_OF_RANGE", "1 to 128 characters"),
    ],
)
def test_what_is_no_field_is_refused(
    g: GraphBuilder[Request], choose: Callable[[Any], Any], reason: str, message: str
) -> None:
    with pytest.raises(GraphError) as caught:
        g.params.select(choose)
    (problem,) = caught.value.problems
    assert problem.reason == reason
    assert message in problem.message


def test_a_field_of_an_output_names_its_node(g: GraphBuilder[Request]) -> None:
    ref = g.constant("tree", Tree("root")).select(lambda tree: tree.name)
    assert (ref.node, ref.path) == ("tree", ("name",))
    assert ref.source() == saga_pb2.InputSource(node="tree", path=["name"])
    with pytest.raises(GraphError, match="node other: Tree has no field"):
        g.constant("other", Tree("root")).select(lambda tree: tree.nothing)  # type: ignore[attr-defined]
