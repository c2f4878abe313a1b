"""The golden graph: what the builders of all SDKs have to make alike."""

from __future__ import annotations

import pytest

from sagaline.v1 import saga_pb2
from tests.golden import graph


def test_the_python_builder_makes_the_golden_graph() -> None:
    binary, text = graph.encoded()
    golden = saga_pb2.Graph.FromString(graph.BINARY.read_bytes())
    assert graph.without_schemas(graph.golden_graph().to_proto()) == golden
    assert text == graph.TEXT.read_text(encoding="utf-8"), "run python -m tests.golden"
    assert binary


@pytest.mark.parametrize("kind", ["action", "constant", "subsaga", "map", "delay", "signal"])
def test_it_has_every_kind_of_node(kind: str) -> None:
    golden = saga_pb2.Graph.FromString(graph.BINARY.read_bytes())
    assert kind in {node.WhichOneof("kind") for node in golden.nodes}
