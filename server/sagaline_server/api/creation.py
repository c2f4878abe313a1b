"""From a client's SagaSpec to a Creation: everything is checked, and all problems are told in one error.

This runs for every saga, so it converts nothing twice: the graph comes from a
cache, and the record is put together from parts that are encoded already.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from sagaline.v1 import saga_pb2
from sagaline_server.api.errors import Refused
from sagaline_server.api.graphs import BadGraph, GraphCache, PreparedGraph
from sagaline_server.api.ids import RandomBytes, uuid7
from sagaline_server.core import limits
from sagaline_server.core.data_types import check_params
from sagaline_server.core.digest import saga_digest
from sagaline_server.core.graph import Graph
from sagaline_server.core.validate import Problem, check_spec
from sagaline_server.ports.clock import Clock
from sagaline_server.runtime.requests import Creation
from sagaline_server.wire.specs import spec_from
from sagaline_server.wire.times import timestamp, to_seconds
from sagaline_server.wire.varints import varint

RECORD_SPEC = b"\x0a"
RECORD_DIGEST = b"\x12\x20"
RECORD_CREATE_TIME = b"\x1a"
"""Tags of the fields, all length-delimited; a digest is 32 bytes long. A test decodes what is made of them."""

NO_GRAPH = Graph("", ())

KnownGraphs = Mapping[str, PreparedGraph | BadGraph]
"""The graphs that specs may name by key."""


class Moment(msgspec.Struct, frozen=True):
    """A time of creation, which sagas of one batch share."""

    seconds: float
    """Since 1970, exactly as the record will say."""
    field: bytes
    """Encoded field `create_time` of a record."""


class CreationMaker:
    """Makes creations."""

    def __init__(self, clock: Clock, random: RandomBytes, graphs: GraphCache | None = None) -> None:
        """Make a maker.

        Args:
            clock: Time of creation.
            random: For the ids of sagas that have none.
            graphs: Shared with whoever prepares graphs that specs name by key. None: a new one.
        """
        self._clock = clock
        self._random = random
        self.graphs = graphs or GraphCache()

    def moment(self) -> Moment:
        """Return the present as a time of creation."""
        message = timestamp(self._clock.wall())
        encoded = message.SerializeToString()
        return Moment(to_seconds(message), RECORD_CREATE_TIME + varint(len(encoded)) + encoded)

    def make(self, message: saga_pb2.SagaSpec, moment: Moment, known: KnownGraphs | None = None) -> Creation:
        """Return the creation that a spec asks for. The message is used up: its id is set, its graph taken out.

        Args:
            message: Spec.
            moment: Time of creation.
            known: Graphs that the spec may name by key. None: it has to bring its own.

        Raises:
            Refused: The spec is wrong; all problems are told.
        """
        found = self._graph(message, known)
        if not message.saga_id:
            message.saga_id = uuid7(moment.seconds, self._random)
        prepared = found if isinstance(found, PreparedGraph) else None
        spec = spec_from(message, message.saga_id, NO_GRAPH if prepared is None else prepared.graph)
        problems = check_spec(spec)
        if prepared is not None and prepared.uses:
            problems += check_params(prepared.uses, spec.params, "saga.params", self.graphs.judge)
        if prepared is None or problems:
            raise Refused("INVALID_REQUEST", problems=[*problems, *(() if isinstance(found, PreparedGraph) else found)])
        digest = saga_digest(spec, prepared.topology.digest)
        record = _record(message, prepared, digest, moment)
        if len(record) > limits.RECORD_BYTES:
            text = f"a saga's record has at most {limits.RECORD_BYTES} bytes; this one has {len(record)}"
            raise Refused("INVALID_REQUEST", problems=[Problem("saga", "RECORD_TOO_LARGE", text)])
        return Creation(spec, prepared.topology, digest, record, moment.seconds)

    def _graph(self, message: saga_pb2.SagaSpec, known: KnownGraphs | None) -> PreparedGraph | BadGraph:
        """Return the graph of a spec, taken out of it, or what is wrong; fields are paths from the spec on."""
        key = message.graph_key
        if not key:
            if not message.HasField("graph"):
                return (Problem("saga.graph", "REQUIRED", "a graph is required"),)
            found = _placed(self.graphs.prepare(message.graph), "saga.graph")
            message.ClearField("graph")
            return found
        if known is None:
            return (Problem("saga.graph_key", "NOT_ALLOWED", "only batches and streams bring graphs beside the specs"),)
        if message.HasField("graph"):
            return (Problem("saga.graph_key", "GRAPH_GIVEN_TWICE", "give the graph itself or its key, not both"),)
        message.ClearField("graph_key")
        if key not in known:
            return (Problem("saga.graph_key", "UNKNOWN_GRAPH_KEY", f"no graph of the key {key[:64]!r} was sent"),)
        return _placed(known[key], f"graphs[{key[:64]}]")


def _placed(found: PreparedGraph | BadGraph, field: str) -> PreparedGraph | BadGraph:
    """Say where in the request the graph stands that has problems."""
    if isinstance(found, PreparedGraph):
        return found
    return tuple(msgspec.structs.replace(problem, field=field + problem.field) for problem in found)


def _record(spec: saga_pb2.SagaSpec, prepared: PreparedGraph, digest: bytes, moment: Moment) -> bytes:
    """Encode a SagaRecord. An encoded message may be put together of its encoded fields, in any order."""
    own = spec.SerializeToString()
    size = varint(len(own) + len(prepared.field))
    return b"".join((RECORD_SPEC, size, own, prepared.field, RECORD_DIGEST, digest, moment.field))
