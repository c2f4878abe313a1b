"""Graphs as clients send them, checked and flattened once however many sagas are made of them."""

from __future__ import annotations

from collections import OrderedDict

import msgspec

from sagaline.v1 import saga_pb2
from sagaline_server.api.schemas import SchemaJudge
from sagaline_server.core import limits
from sagaline_server.core.data_types import ParamsUse, check_types
from sagaline_server.core.digest import graph_digest
from sagaline_server.core.graph import Graph
from sagaline_server.core.topology import Topology, flatten
from sagaline_server.core.validate import Problem, check_graph
from sagaline_server.wire.specs import graph_from
from sagaline_server.wire.varints import varint

SPEC_GRAPH = b"\x12"
"""Tag of field `graph` of a SagaSpec."""
KEPT_GRAPHS = 256
KEPT_BYTES = 8 * 1024 * 1024
"""Encoded. What is kept of a graph takes some twenty times as much memory."""


class PreparedGraph(msgspec.Struct, frozen=True):
    """A graph that sagas can be made of."""

    graph: Graph
    topology: Topology
    encoded: bytes
    """The message, deterministic."""
    field: bytes
    """The same as field `graph` of an encoded SagaSpec."""
    uses: tuple[ParamsUse, ...] = ()
    """What its nodes demand of the parameters."""


BadGraph = tuple[Problem, ...]
"""What is wrong with a graph; the fields are paths from the graph on, such as ".nodes[2].after[0]"."""


class GraphCache:
    """Keeps the graphs that were used last."""

    def __init__(self, kept_graphs: int = KEPT_GRAPHS, kept_bytes: int = KEPT_BYTES) -> None:
        """Make an empty cache with its bounds."""
        self._kept: OrderedDict[bytes, PreparedGraph] = OrderedDict()
        self._kept_graphs = kept_graphs
        self._kept_bytes = kept_bytes
        self._bytes = 0
        self.judge = SchemaJudge()

    def prepare(self, message: saga_pb2.Graph) -> PreparedGraph | BadGraph:
        """Return the prepared graph of a message, or everything that is wrong with it."""
        encoded = message.SerializeToString(deterministic=True)
        found = self._kept.get(encoded)
        if found is not None:
            self._kept.move_to_end(encoded)
            return found
        prepared = _prepare(message, encoded, self.judge)
        if isinstance(prepared, PreparedGraph):
            self._keep(prepared)
        return prepared

    def _keep(self, prepared: PreparedGraph) -> None:
        self._kept[prepared.encoded] = prepared
        self._bytes += len(prepared.encoded)
        while len(self._kept) > self._kept_graphs or self._bytes > self._kept_bytes:
            oldest, _ = self._kept.popitem(last=False)
            self._bytes -= len(oldest)


def _prepare(message: saga_pb2.Graph, encoded: bytes, judge: SchemaJudge) -> PreparedGraph | BadGraph:
    if len(encoded) > limits.RECORD_BYTES:
        text = f"a graph has at most {limits.RECORD_BYTES} bytes, as it is a part of the record; this is {len(encoded)}"
        return (Problem("", "RECORD_TOO_LARGE", text),)
    graph = graph_from(message)
    problems, types = check_graph(graph, ""), check_types(graph, "", judge)
    if problems or types.problems:
        return (*problems, *types.problems)
    field = SPEC_GRAPH + varint(len(encoded)) + encoded
    return PreparedGraph(graph, flatten(graph, graph_digest(graph)), encoded, field, types.uses)
