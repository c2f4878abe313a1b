"""Graphs, built from typed references so that type checkers refuse a graph whose data does not fit.

```python
g = GraphBuilder("trip", params=TripRequest)
pay = g.add("pay", charge, g.params.select(lambda trip: trip.card), 100)
hotel = g.add("hotel", book_hotel, lambda trip: trip.city, after=[pay])
trip = g.build(result=hotel)
```

Inputs are given by position, in the order of the action's parameters (its Context left out). Each is one of

- a `Ref[A]`: the output of another node, the parameters, or a field selected inside either. The node whose output it is
  becomes a dependency;
- a value of type A, which becomes part of the graph;
- a function of the graph's parameters, `lambda trip: trip.city`, short for `g.params.select(...)`.

They are not given by keyword. For that a checker would have to turn each `name: A` of the function's signature into
`name: Ref[A] | A`, and Python's types have no such operation on a ParamSpec. (References that claim to be values of
type A would do it, and then `ref + 1` would pass the checker too.) An action of many inputs is better off with one
dataclass.

Everything the server would refuse of a graph's shape is refused here, with the same reason, where the mistake is made.
There is no cycle to refuse: a node can only refer to nodes that are there already.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final, TypeVar, Unpack, overload

from sagaline import limits
from sagaline.actions import Action
from sagaline.errors import GraphError
from sagaline.graph_maps import MapBuilder
from sagaline.graph_parts import Graph, Input
from sagaline.node_options import NodeOptions, declare_types, missing_undo, set_policies
from sagaline.policies import UndoKind
from sagaline.refs import ElementIndex, Ref
from sagaline.v1 import saga_pb2
from sagaline.values import check_type, encode

__all__ = ["Graph", "GraphBuilder", "Input"]

P = TypeVar("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
SP = TypeVar("SP")
T = TypeVar("T")
A1 = TypeVar("A1")
A2 = TypeVar("A2")
A3 = TypeVar("A3")
A4 = TypeVar("A4")
A5 = TypeVar("A5")
A6 = TypeVar("A6")
A7 = TypeVar("A7")
A8 = TypeVar("A8")

_GRAPH_NAME: Final = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{limits.GRAPH_NAME_CHARS - 1}}}")
_NODE_NAME: Final = re.compile(rf"[A-Za-z_][A-Za-z0-9_.-]{{0,{limits.NODE_NAME_CHARS - 1}}}")


class GraphBuilder(MapBuilder[P]):
    """Builds a graph, node by node.

    Args:
        name: Name of the graph: 1 to 128 characters of [A-Za-z0-9._-], starting with a letter or digit.
        params: Type of the parameters. Left out: there are none.

    Raises:
        GraphError: The name is not allowed.
        TypeNotSupported: No payload can carry the parameters.
    """

    @overload
    def __init__(self: GraphBuilder[None], name: str) -> None: ...
    @overload
    def __init__(self, name: str, *, params: type[P]) -> None: ...
    def __init__(self, name: str, *, params: Any = None) -> None:
        self._proto = saga_pb2.Graph(name=name)
        if not _GRAPH_NAME.fullmatch(name):
            raise self._refused(
                "BAD_NAME", "name", f"a graph's name has 1 to {limits.GRAPH_NAME_CHARS} characters of [A-Za-z0-9._-]"
            )
        check_type(params)
        self._params: Ref[P] = Ref(self, None, (), params)
        self._names: set[str] = set()
        self._undone_by_action: dict[str, Action[Any, Any]] = {}
        self._nodes = 0
        self._depth = 0

    def __repr__(self) -> str:
        return f"<GraphBuilder {self._proto.name}: {self._nodes} nodes>"

    @property
    def params(self) -> Ref[P]:
        """The parameters of the saga, or of the subsaga that this graph becomes."""
        return self._params

    @property
    def index(self) -> Ref[int]:
        """The place of an element in its list, from 0: for one input of the action of a map, and nothing else."""
        return ElementIndex(self)

    @overload
    def add(self, name: str, action: Action[tuple[()], R], /, **options: Unpack[NodeOptions]) -> Ref[R]: ...
    @overload
    def add(
        self, name: str, action: Action[tuple[A1], R], a1: Input[A1, P], /, **options: Unpack[NodeOptions]
    ) -> Ref[R]: ...
    @overload
    def add(
        self,
        name: str,
        action: Action[tuple[A1, A2], R],
        a1: Input[A1, P],
        a2: Input[A2, P],
        /,
        **options: Unpack[NodeOptions],
    ) -> Ref[R]: ...
    @overload
    def add(
        self,
        name: str,
        action: Action[tuple[A1, A2, A3], R],
        a1: Input[A1, P],
        a2: Input[A2, P],
        a3: Input[A3, P],
        /,
        **options: Unpack[NodeOptions],
    ) -> Ref[R]: ...
    @overload
    def add(
        self,
        name: str,
        action: Action[tuple[A1, A2, A3, A4], R],
        a1: Input[A1, P],
        a2: Input[A2, P],
        a3: Input[A3, P],
        a4: Input[A4, P],
        /,
        **options: Unpack[NodeOptions],
    ) -> Ref[R]: ...
    @overload
    def add(
        self,
        name: str,
        action: Action[tuple[A1, A2, A3, A4, A5], R],
        a1: Input[A1, P],
        a2: Input[A2, P],
        a3: Input[A3, P],
        a4: Input[A4, P],
        a5: Input[A5, P],
        /,
        **options: Unpack[NodeOptions],
    ) -> Ref[R]: ...
    @overload
    def add(
        self,
        name: str,
        action: Action[tuple[A1, A2, A3, A4, A5, A6], R],
        a1: Input[A1, P],
        a2: Input[A2, P],
        a3: Input[A3, P],
        a4: Input[A4, P],
        a5: Input[A5, P],
        a6: Input[A6, P],
        /,
        **options: Unpack[NodeOptions],
    ) -> Ref[R]: ...
    @overload
    def add(
        self,
        name: str,
        action: Action[tuple[A1, A2, A3, A4, A5, A6, A7], R],
        a1: Input[A1, P],
        a2: Input[A2, P],
        a3: Input[A3, P],
        a4: Input[A4, P],
        a5: Input[A5, P],
        a6: Input[A6, P],
        a7: Input[A7, P],
        /,
        **options: Unpack[NodeOptions],
    ) -> Ref[R]: ...
    @overload
    def add(
        self,
        name: str,
        action: Action[tuple[A1, A2, A3, A4, A5, A6, A7, A8], R],
        a1: Input[A1, P],
        a2: Input[A2, P],
        a3: Input[A3, P],
        a4: Input[A4, P],
        a5: Input[A5, P],
        a6: Input[A6, P],
        a7: Input[A7, P],
        a8: Input[A8, P],
        /,
        **options: Unpack[NodeOptions],
    ) -> Ref[R]: ...
    def add(self, name: str, action: Action[Any, Any], /, *inputs: Any, **options: Unpack[NodeOptions]) -> Ref[Any]:
        """Add a node that a worker runs, and return the reference to its output.

        Args:
            name: Name of the node, unique in the graph: 1 to 64 characters of [A-Za-z0-9_.-], starting with a letter
                or underscore.
            action: What it runs.
            *inputs: One for each of the action's parameters, in their order: a reference, a value, or a function of
                the graph's parameters.
            **options: See `NodeOptions`.

        Raises:
            GraphError: The server would refuse it; `problems` says why.
            ConversionError: A value is not of the input's type; `path` begins with the input's name.
        """
        if not isinstance(action, Action):
            raise TypeError(f"node {name}: {action!r} is no action; decorate the function with @action")
        if len(inputs) != len(action.input_types):
            message = (
                f"{action.name} takes {len(action.input_types)} inputs ({', '.join(action.input_types) or 'none'}); "
                f"{len(inputs)} are given"
            )
            raise self._refused("WRONG_INPUTS", "inputs", message, name)
        node = self._node(name, options.get("after", ()))
        body = node.action
        body.action = action.name
        body.version = action.version
        for (input_name, declared), given in zip(action.input_types.items(), inputs, strict=True):
            body.inputs[input_name].CopyFrom(self._source(given, declared, name, input_name))
        declare_types(body, action)
        set_policies(body, options)
        undo = options.get("undo")
        if not action.elsewhere and (undo is None or undo.kind is UndoKind.ACTION) and not options.get("pivot"):
            self._undone_by_action[name] = action  # its undo action may still come to be defined
        return self._keep(node, action.output_type)

    def constant(self, name: str, value: T) -> Ref[T]:
        """Add a node that has its value from the start, and return the reference to it.

        Raises:
            GraphError: The server would refuse it.
            ConversionError: The value cannot be a payload.
        """
        node = self._node(name, ())
        node.constant.value.CopyFrom(encode(value))
        return self._keep(node, type(value))

    def delay(self, name: str, duration: timedelta, *, after: Sequence[Ref[Any]] = ()) -> Ref[None]:
        """Add a node that succeeds when a time has passed since it became ready, and return the reference to it.

        Args:
            name: Name of the node.
            duration: How long: 0 to 366 days.
            after: Nodes that must have succeeded before.

        Raises:
            GraphError: The server would refuse it.
        """
        node = self._node(name, after)
        node.delay.duration.CopyFrom(self._time(duration, timedelta(0), "delay.duration", name))
        return self._keep(node, None)

    @overload
    def signal(
        self,
        name: str,
        /,
        *,
        signal: str = "",
        timeout: timedelta | None = None,
        after: Sequence[Ref[Any]] = (),
    ) -> Ref[Any]: ...
    @overload
    def signal(
        self,
        name: str,
        payload: type[T],
        /,
        *,
        signal: str = "",
        timeout: timedelta | None = None,
        after: Sequence[Ref[Any]] = (),
    ) -> Ref[T]: ...
    def signal(
        self,
        name: str,
        payload: Any = Any,
        /,
        *,
        signal: str = "",
        timeout: timedelta | None = None,
        after: Sequence[Ref[Any]] = (),
    ) -> Ref[Any]:
        """Add a node that waits for a signal, and return the reference to the signal's payload.

        Args:
            name: Name of the node.
            payload: Type of the payload.
            signal: Name of the signal, as names of nodes. Empty: the node's.
            timeout: How long to wait before the node fails: more than 0, up to 366 days. None: for ever.
            after: Nodes that must have succeeded before it waits. A signal that comes sooner is kept.

        Raises:
            GraphError: The server would refuse it.
            TypeNotSupported: No payload can carry that type.
        """
        if payload is not Any:
            check_type(payload)
        node = self._node(name, after)
        if signal and not _NODE_NAME.fullmatch(signal):
            message = f"a signal's name has 1 to {limits.NODE_NAME_CHARS} characters of [A-Za-z0-9_.-]"
            raise self._refused("BAD_NAME", "signal.signal", message, name)
        node.signal.signal = signal
        if timeout is not None:
            shortest = timedelta(microseconds=1)
            node.signal.timeout.CopyFrom(self._time(timeout, shortest, "signal.timeout", name))
        return self._keep(node, payload)

    @overload
    def subsaga(self, name: str, graph: Graph[None, R], /, *, after: Sequence[Ref[Any]] = ()) -> Ref[R]: ...
    @overload
    def subsaga(
        self,
        name: str,
        graph: Graph[SP, R],
        params: Input[SP, P],
        /,
        *,
        after: Sequence[Ref[Any]] = (),
    ) -> Ref[R]: ...
    def subsaga(
        self, name: str, graph: Graph[Any, Any], params: Any = None, /, *, after: Sequence[Ref[Any]] = ()
    ) -> Ref[Any]:
        """Add a node that is a graph of its own, and return the reference to its result.

        Args:
            name: Name of the node; the subsaga's own nodes are known as "name/node".
            graph: The graph. It becomes a part of this one.
            params: Its parameters: a reference, a value, or a function of this graph's parameters.
            after: Nodes that must have succeeded before any of the subsaga's starts.

        Raises:
            GraphError: The server would refuse it.
            ConversionError: The value is not of the type of the subsaga's parameters.
        """
        if graph.depth + 1 > limits.SUBSAGA_DEPTH:
            message = f"subsagas nest at most {limits.SUBSAGA_DEPTH} deep"
            raise self._refused("TOO_DEEP", "subsaga.graph", message, name)
        node = self._node(name, after, size=graph.nodes)
        node.subsaga.graph.CopyFrom(graph.to_proto())
        if graph.params_type is not None or params is not None:
            node.subsaga.params.CopyFrom(self._source(params, graph.params_type, name, "params"))
        self._depth = max(self._depth, graph.depth + 1)
        return self._keep(node, graph.result_type, size=graph.nodes)

    @overload
    def build(self) -> Graph[P, object]: ...
    @overload
    def build(self, *, result: Ref[R]) -> Graph[P, R]: ...
    def build(self, *, result: Ref[Any] | None = None) -> Graph[P, Any]:
        """Return the graph as it stands. Nodes that are added later are not in it.

        Args:
            result: The node whose output is the saga's result. Left out: the only node that nothing depends on; where
                there are several, the result is null.

        Raises:
            GraphError: There is no node, `result` is not the whole output of one, or an action cannot be undone.
        """
        if not self._proto.nodes:
            raise self._refused("EMPTY_GRAPH", "nodes", "a graph has at least one node")
        problems = missing_undo(self._undone_by_action)
        if problems:
            raise GraphError(f"graph {self._proto.name} cannot be undone", problems)
        graph = saga_pb2.Graph()
        graph.CopyFrom(self._proto)
        if result is not None:
            graph.result = self._name_of(result, "result", "")
            if result.path:
                message = "the result is the whole output of a node; add one whose action returns the field"
                raise self._refused("NOT_A_NODE", "result", message)
        result_type = Any if result is None else result.type
        return Graph(graph, self._params.type, result_type, nodes=self._nodes, depth=self._depth)
