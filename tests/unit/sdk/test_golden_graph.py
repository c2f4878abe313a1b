"""The golden graphs: what the builders of all SDKs have to make alike."""

from __future__ import annotations

import pytest

from tests.golden import graph


@pytest.mark.parametrize("name", graph.GRAPHS)
def test_the_python_builder_makes_the_golden_graphs(name: str) -> None:
    _, text = graph.encoded(name)
    assert graph.without_schemas(graph.GRAPHS[name]().to_proto()) == graph.golden(name)
    assert text == (graph.FOLDER / f"{name}.json").read_text(encoding="utf-8"), "run python -m tests.golden"


@pytest.mark.parametrize("kind", ["action", "constant", "subsaga", "map", "delay", "signal"])
def test_there_is_every_kind_of_node(kind: str) -> None:
    assert kind in {node.WhichOneof("kind") for node in graph.golden("graph").nodes}
