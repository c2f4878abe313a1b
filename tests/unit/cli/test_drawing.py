"""Graphs as text and as dot."""

from __future__ import annotations

import itertools
import shutil
import subprocess

import pytest

from sagaline.cli.drawing import graph_dot, graph_text, in_order, parents_of
from sagaline.v1 import payload_pb2, saga_pb2
from tests.unit.cli.samples import graph

STATUSES = {"pay": "succeeded", "hotel": "running", "hotel/pick": "running", "confirm": "pending"}


def test_text_lists_the_nodes_in_an_order_in_which_they_could_run() -> None:
    assert graph_text(graph()).splitlines() == [
        "trip",
        "  pay      payments.charge@2, pivot",
        "  hotel    subsaga room",
        "    pick   hotels.pick@1",
        "  confirm  trips.confirm@1           <- pay, hotel",
    ]


def test_text_with_statuses() -> None:
    assert graph_text(graph(), STATUSES).splitlines()[3] == "    pick   hotels.pick@1             running"


def test_dot_draws_a_subsaga_as_a_box() -> None:
    assert graph_dot(graph(), STATUSES).splitlines() == [
        'digraph "trip" {',
        "  rankdir=LR; compound=true; fontname=Helvetica;",
        '  node [shape=box, style="rounded,filled", fillcolor=white, fontname=Helvetica];',
        '  "pay" [label="pay\\npayments.charge@2, pivot", fillcolor=palegreen, tooltip="succeeded"];',
        '  subgraph "cluster_hotel" {',
        '    label="hotel\\nsubsaga room";',
        '    "hotel" [shape=point, style=invis];',
        '    "hotel/pick" [label="pick\\nhotels.pick@1", fillcolor=lightblue, tooltip="running"];',
        "  }",
        '  "confirm" [label="confirm\\ntrips.confirm@1", fillcolor=white, tooltip="pending"];',
        '  "pay" -> "confirm";',
        '  "hotel" -> "confirm" [ltail="cluster_hotel"];',
        "}",
    ]


def test_names_cannot_escape_their_quotes() -> None:
    odd = saga_pb2.Graph(name='a"; b', nodes=[saga_pb2.Node(name='x"\\\n]')])
    lines = graph_dot(odd).splitlines()
    assert lines[0] == 'digraph "a\\"; b" {'
    assert lines[3] == '  "x\\"\\\\\\n]" [label="x\\"\\\\\\\\n]\\n?"];'


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_graphviz_can_read_it() -> None:
    subprocess.run(["dot", "-Tsvg"], input=graph_dot(graph(), STATUSES), text=True, check=True, capture_output=True)


@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        ({"constant": saga_pb2.ConstantNode()}, "constant"),
        ({"delay": saga_pb2.DelayNode()}, "delay"),
        ({"signal": saga_pb2.SignalNode(signal="go")}, "signal go"),
        ({"map": saga_pb2.MapNode(action=saga_pb2.ActionNode(action="a"))}, "map a@1"),
        (
            {
                "map": saga_pb2.MapNode(
                    action=saga_pb2.ActionNode(action="a"), max_concurrency=4, canary=1, max_failures=2
                )
            },
            "map a@1, 4 at once, 1 first, 2 may fail",
        ),
        ({"map": saga_pb2.MapNode(subsaga=saga_pb2.SubsagaNode(graph=saga_pb2.Graph(name="g")))}, "map g"),
        ({}, "?"),
    ],
)
def test_every_kind_of_node_can_be_drawn(kind: dict[str, object], shown: str) -> None:
    one = saga_pb2.Graph(name="g", nodes=[saga_pb2.Node(name="n", **kind)])  # type: ignore[arg-type]
    assert graph_text(one).splitlines()[1].strip() == f"n  {shown}"
    assert shown in graph_dot(one)


def test_parents_come_from_data_and_from_after_each_once() -> None:
    node = saga_pb2.Node(name="n", after=["x", "a"])
    node.action.inputs["first"].node = "a"
    node.action.inputs["second"].node = "b"
    node.action.inputs["third"].literal.CopyFrom(payload_pb2.Payload(json="1"))
    node.action.inputs["fourth"].params.SetInParent()
    assert parents_of(node) == ("a", "b", "x")
    mapped = saga_pb2.Node(name="m")
    mapped.map.items.node = "list"
    mapped.map.subsaga.params.node = "p"
    assert parents_of(mapped) == ("list", "p")


def test_a_graph_that_no_server_would_take_is_drawn_all_the_same() -> None:
    names = ["a", "b", "c", "alone"]
    nodes = [saga_pb2.Node(name=name) for name in names]
    for node, parent in ((nodes[0], "b"), (nodes[1], "a"), (nodes[2], "nobody")):
        node.after.append(parent)
    nodes.append(saga_pb2.Node(name="alone"))
    broken = saga_pb2.Graph(name="g", nodes=nodes)
    assert [node.name for node in in_order(broken)] == ["c", "alone", "a", "b"]
    assert '"nobody" -> "c"' in graph_dot(broken)


def test_a_chain_of_ten_thousand_nodes_is_ordered() -> None:
    names = [f"n{number}" for number in range(10_000)]
    nodes = [saga_pb2.Node(name=names[0])]
    nodes += [saga_pb2.Node(name=name, after=[parent]) for parent, name in itertools.pairwise(names)]
    assert [node.name for node in in_order(saga_pb2.Graph(nodes=reversed(nodes)))] == names
