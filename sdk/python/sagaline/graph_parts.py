"""What graphs are made of: the graph itself, and the checks that every kind of node passes on its way into one."""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Final, Generic, TypeAlias, TypeVar

from google.protobuf.duration_pb2 import Duration

from sagaline import limits
from sagaline.actions import Action
from sagaline.codecs import foreign
from sagaline.codecs.codec import type_name
from sagaline.errors import ConversionError, FieldProblem, GraphError
from sagaline.fitting import fits
from sagaline.node_options import NodeOptions, declare_types, set_policies
from sagaline.policies import UndoKind
from sagaline.refs import ElementIndex, Ref
from sagaline.v1 import saga_pb2
from sagaline.values import encode

P = TypeVar("P")
R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")

Input: TypeAlias = Ref[T] | T | Callable[[P], T]
"""What an input of type T can be given as, in a graph whose parameters are P."""

_NODE_NAME: Final = re.compile(rf"[A-Za-z_][A-Za-z0-9_.-]{{0,{limits.NODE_NAME_CHARS - 1}}}")


class Graph(Generic[P, R_co]):
    """A graph that takes parameters of type P and has a result of type R. Immutable. Made by `GraphBuilder.build`.

    Attributes:
        name: Name of the graph.
        params_type: P at run time.
        result_type: R at run time; `Any` where it is not known.
        nodes: Number of its nodes, those of its subsagas among them.
        depth: How deep its subsagas nest; 0 without any.
    """

    __slots__ = ("_encoded", "depth", "name", "nodes", "params_type", "result_type")

    def __init__(self, proto: saga_pb2.Graph, params_type: Any, result_type: Any, *, nodes: int, depth: int) -> None:
        self._encoded = proto.SerializeToString(deterministic=True)
        self.name = proto.name
        self.params_type = params_type
        self.result_type = result_type
        self.nodes = nodes
        self.depth = depth

    def __repr__(self) -> str:
        return f"<Graph {self.name}: {self.nodes} nodes>"

    def to_proto(self) -> saga_pb2.Graph:
        """Return the graph as the protocol has it: a new message, the caller's own."""
        return saga_pb2.Graph.FromString(self._encoded)


class GraphParts(Generic[P]):
    """What a builder has of its graph so far, and how a node becomes a part of it."""

    _proto: saga_pb2.Graph
    _params: Ref[P]
    _names: set[str]
    _nodes: int
    _depth: int
    _undone_by_action: dict[str, Action[Any, Any]]

    def _node(self, name: str, after: Sequence[Ref[Any]], size: int = 0) -> saga_pb2.Node:
        """Return a new node, checked and not yet part of the graph."""
        if not _NODE_NAME.fullmatch(name):
            message = (
                f"a node's name has 1 to {limits.NODE_NAME_CHARS} characters of [A-Za-z0-9_.-] "
                "and starts with a letter or underscore"
            )
            raise self._refused("BAD_NAME", "name", message, name[: 2 * limits.NODE_NAME_CHARS])
        if name in self._names:
            raise self._refused("DUPLICATE_NODE", "name", f"another node is named {name!r}", name)
        if self._nodes + max(size, 1) > limits.GRAPH_NODES:
            message = f"a graph has at most {limits.GRAPH_NODES} nodes, those of its subsagas among them"
            raise self._refused("TOO_MANY", "nodes", message, name)
        parents = (self._name_of(ref, f"after[{index}]", name) for index, ref in enumerate(after))
        return saga_pb2.Node(name=name, after=dict.fromkeys(parents))

    def _keep(self, node: saga_pb2.Node, output: Any, size: int = 1) -> Ref[Any]:
        self._proto.nodes.append(node)
        self._names.add(node.name)
        self._nodes += size
        return Ref(self, node.name, (), output)

    def _name_of(self, ref: Any, field: str, node: str) -> str:
        if not isinstance(ref, Ref):
            raise TypeError(f"{field} takes what `add`, `constant` and `subsaga` return, not {ref!r}")
        self._check_owner(ref, field, node)
        if ref.node is None:
            raise self._refused("NOT_A_NODE", field, f"{ref!r} is no node; nothing has to wait for it", node)
        return str(ref.node)

    def _check_owner(self, ref: Ref[Any], field: str, node: str) -> None:
        if not ref.belongs_to(self):
            message = f"{ref!r} belongs to another graph; a subsaga takes what it needs as its parameters"
            raise self._refused("UNKNOWN_NODE", field, message, node)

    def _source(self, given: Any, declared: Any, node: str, name: str) -> saga_pb2.InputSource:
        if isinstance(given, types.FunctionType):
            given = self._params.select(given)
        if not isinstance(given, Ref):
            return _literal(given, declared, name)
        self._check_owner(given, f"inputs[{name}]", node)
        if isinstance(given, ElementIndex):
            message = "the index of an element is for one input of the action of a map"
            raise self._refused("NOT_ALLOWED", f"inputs[{name}]", message, node)
        if not fits(declared, given.type):
            message = f"{name} is {type_name(declared)}; {given!r} is {type_name(given.type)}"
            raise self._refused("TYPE_MISMATCH", f"inputs[{name}]", message, node)
        return given.source()

    def _refused(self, reason: str, field: str, message: str, node: str = "") -> GraphError:
        problem = FieldProblem(field=field, reason=reason, message=message, node=node)
        return GraphError(f"graph {self._proto.name[: limits.GRAPH_NAME_CHARS]!r} is refused", [problem])

    def _each_action(
        self, body: saga_pb2.MapNode, action: Action[Any, Any], inputs: Sequence[Any], options: NodeOptions, name: str
    ) -> Any:
        if len(action.input_types) != len(inputs) + 1:
            message = f"{action.name} takes {len(action.input_types)} inputs, of which the first is the element"
            raise self._refused("WRONG_INPUTS", "inputs", message, name)
        if foreign.is_message(action.output_type):
            message = f"{action.name} returns a protobuf message, whose bytes no list of JSON can hold"
            raise self._refused("NOT_JSON", "map.action", message, name)
        if options.get("pivot"):
            message = "a pivot is one node, and a map has as many as its list has elements"
            raise self._refused("PIVOT_IN_MAP", "map", message, name)
        (item, element), *shared = action.input_types.items()
        body.item = item
        body.action.action = action.name
        body.action.version = action.version
        for (input_name, declared), given in zip(shared, inputs, strict=True):
            if isinstance(given, ElementIndex) and not body.index:
                self._check_index(given, declared, name, input_name)
                body.index = input_name
            else:
                body.action.inputs[input_name].CopyFrom(self._source(given, declared, name, input_name))
        declare_types(body.action, action)
        set_policies(body.action, options)
        undo = options.get("undo")
        if not action.elsewhere and (undo is None or undo.kind is UndoKind.ACTION):
            self._undone_by_action[name] = action
        return element

    def _check_index(self, given: ElementIndex, declared: Any, node: str, name: str) -> None:
        self._check_owner(given, f"inputs[{name}]", node)
        if not fits(declared, int):
            message = f"{name} is {type_name(declared)}; the index of an element is {type_name(int)}"
            raise self._refused("TYPE_MISMATCH", f"inputs[{name}]", message, node)

    def _each_graph(self, body: saga_pb2.MapNode, graph: Graph[Any, Any], name: str) -> Any:
        if graph.depth + 1 > limits.SUBSAGA_DEPTH:
            message = f"subsagas nest at most {limits.SUBSAGA_DEPTH} deep"
            raise self._refused("TOO_DEEP", "map.subsaga.graph", message, name)
        body.subsaga.graph.CopyFrom(graph.to_proto())
        self._depth = max(self._depth, graph.depth + 1)
        return graph.params_type

    def _time(self, length: timedelta, shortest: timedelta, field: str, node: str) -> Duration:
        longest = timedelta(seconds=limits.TIMEOUT_SECONDS)
        if not shortest <= length <= longest:
            message = f"it lies between {shortest} and {longest}; this is {length}"
            raise self._refused("OUT_OF_RANGE", field, message, node)
        message_of = Duration()
        message_of.FromTimedelta(length)
        return message_of


def list_of(element: Any) -> Any:
    """Return the type of lists of a type that is known at run time."""
    return types.GenericAlias(list, (element,))


def _literal(value: Any, declared: Any, name: str) -> saga_pb2.InputSource:
    try:
        return saga_pb2.InputSource(literal=encode(value, declared))
    except ConversionError as error:
        error.path = name + error.path.removeprefix("$")
        error.args = (error.message, error.path)
        raise
