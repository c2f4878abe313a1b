"""What a node takes: by name, and by value where that is known."""

from __future__ import annotations

import pytest

from sagaline.cli.inputs import input_lines
from sagaline.v1 import payload_pb2, saga_pb2
from tests.unit.cli.samples import fleet, succeeded


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("servers", []),
        ("servers[1]", [("params", 'params.needs.1 = {"cores":4}')]),
        (
            "servers[1]/reserve",
            [("cores", "params of servers[1].cores = 4"), ("need", 'params of servers[1] = {"cores":4}')],
        ),
        ("names[0]", [("fleet", 'literal = "web"'), ("number", "index = 0"), ("server", "servers.0")]),
        ("servers[9]/reserve", [("cores", "params of servers[9].cores"), ("need", "params of servers[9]")]),
        ("nobody", []),
        ("servers[0]/nobody", []),
        ("servers[0]/reserve/deeper", []),
        ("", []),
    ],
)
def test_inputs_of_elements_of_maps(name: str, lines: list[tuple[str, str]]) -> None:
    expected = [("items", 'params.needs = [{"cores":2},{"cores":4}]')] if name == "servers" else lines
    assert input_lines(fleet(), name) == expected


def test_the_list_of_a_map_is_known_when_the_map_has_succeeded() -> None:
    saga = fleet()
    next(node for node in saga.nodes if node.name == "servers").output.json = "[7,8]"
    assert ("server", "servers.1 = 8") in input_lines(saga, "names[1]")


def test_inputs_of_nodes_and_of_subsagas() -> None:
    saga = succeeded()
    saga.graph.nodes[2].subsaga.params.params.SetInParent()
    saga.params.CopyFrom(payload_pb2.Payload(json='{"city":"Oslo"}'))
    assert input_lines(saga, "confirm") == [("receipt", "pay")]
    assert input_lines(saga, "hotel") == [("params", 'params = {"city":"Oslo"}')]
    pick = saga.graph.nodes[2].subsaga.graph.nodes[0]
    pick.action.inputs["city"].CopyFrom(saga_pb2.InputSource(params=saga_pb2.ParamsSource(), path=["city"]))
    assert input_lines(saga, "hotel/pick") == [("city", 'params of hotel.city = "Oslo"')]
