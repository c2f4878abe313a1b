"""Specs from their messages: what is left out has its default, and what is said is kept."""

from __future__ import annotations

import pytest

from sagaline.v1 import saga_pb2
from sagaline_server.core.graph import ActionNode
from sagaline_server.core.validate import check_graph
from sagaline_server.wire.specs import graph_from


def action(retry: int | None, undo_retry: int | None = None) -> saga_pb2.Graph:
    node = saga_pb2.ActionNode(action="do")
    if retry is not None:
        node.retry.max_attempts = retry
    if undo_retry is not None:
        node.undo.retry.max_attempts = undo_retry
    return saga_pb2.Graph(name="g", nodes=[saga_pb2.Node(name="n", action=node)])


@pytest.mark.parametrize(("given", "most"), [(None, 5), (0, 5), (3, 3), (-1, 0)])
def test_attempts_of_actions_are_five_unless_told_otherwise_and_without_bound_where_so_wished(
    given: int | None, most: int
) -> None:
    graph = graph_from(action(given))
    body = graph.nodes[0].body
    assert isinstance(body, ActionNode)
    assert body.retry.max_attempts == most
    assert check_graph(graph) == []


@pytest.mark.parametrize(("given", "most"), [(None, 0), (0, 0), (3, 3), (-1, 0)])
def test_attempts_of_undo_actions_are_without_bound_unless_told_otherwise(given: int | None, most: int) -> None:
    body = graph_from(action(None, given)).nodes[0].body
    assert isinstance(body, ActionNode)
    assert body.undo_retry.max_attempts == most


def test_other_numbers_below_zero_are_refused_with_what_may_be_given() -> None:
    (problem,) = check_graph(graph_from(action(-2)))
    assert problem.reason == "OUT_OF_RANGE"
    assert problem.message == "max_attempts lies between 0 and 1,000,000; this is -2; -1 is no bound"
