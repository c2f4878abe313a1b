"""Maps in a graph: one action or subsaga for each element of a list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Optional, TypeVar, Unpack, overload

from sagaline import limits
from sagaline.actions import Action
from sagaline.graph_parts import Graph, GraphParts, Input, list_of
from sagaline.node_options import NodeOptions
from sagaline.refs import Ref

P = TypeVar("P")
R = TypeVar("R")
A1 = TypeVar("A1")
A2 = TypeVar("A2")
A3 = TypeVar("A3")
A4 = TypeVar("A4")


class MapBuilder(GraphParts[P]):
    """Adds maps; part of `GraphBuilder`."""

    @overload
    def map(
        self,
        name: str,
        each: Graph[A1, R],
        /,
        *,
        over: Input[list[A1], P],
        max_concurrency: int = 0,
        canary: int = 0,
        after: Sequence[Ref[Any]] = (),
    ) -> Ref[list[R]]: ...
    @overload
    def map(
        self,
        name: str,
        each: Graph[A1, R],
        /,
        *,
        over: Input[list[A1], P],
        max_failures: int,
        max_concurrency: int = 0,
        canary: int = 0,
        after: Sequence[Ref[Any]] = (),
    ) -> Ref[list[R | None]]: ...
    @overload
    def map(
        self,
        name: str,
        each: Action[tuple[A1], R],
        /,
        *,
        over: Input[list[A1], P],
        max_concurrency: int = 0,
        canary: int = 0,
        **options: Unpack[NodeOptions],
    ) -> Ref[list[R]]: ...
    @overload
    def map(
        self,
        name: str,
        each: Action[tuple[A1], R],
        /,
        *,
        over: Input[list[A1], P],
        max_failures: int,
        max_concurrency: int = 0,
        canary: int = 0,
        **options: Unpack[NodeOptions],
    ) -> Ref[list[R | None]]: ...
    @overload
    def map(
        self,
        name: str,
        each: Action[tuple[A1, A2], R],
        a2: Input[A2, P],
        /,
        *,
        over: Input[list[A1], P],
        max_concurrency: int = 0,
        canary: int = 0,
        **options: Unpack[NodeOptions],
    ) -> Ref[list[R]]: ...
    @overload
    def map(
        self,
        name: str,
        each: Action[tuple[A1, A2], R],
        a2: Input[A2, P],
        /,
        *,
        over: Input[list[A1], P],
        max_failures: int,
        max_concurrency: int = 0,
        canary: int = 0,
        **options: Unpack[NodeOptions],
    ) -> Ref[list[R | None]]: ...
    @overload
    def map(
        self,
        name: str,
        each: Action[tuple[A1, A2, A3], R],
        a2: Input[A2, P],
        a3: Input[A3, P],
        /,
        *,
        over: Input[list[A1], P],
        max_concurrency: int = 0,
        canary: int = 0,
        **options: Unpack[NodeOptions],
    ) -> Ref[list[R]]: ...
    @overload
    def map(
        self,
        name: str,
        each: Action[tuple[A1, A2, A3], R],
        a2: Input[A2, P],
        a3: Input[A3, P],
        /,
        *,
        over: Input[list[A1], P],
        max_failures: int,
        max_concurrency: int = 0,
        canary: int = 0,
        **options: Unpack[NodeOptions],
    ) -> Ref[list[R | None]]: ...
    @overload
    def map(
        self,
        name: str,
        each: Action[tuple[A1, A2, A3, A4], R],
        a2: Input[A2, P],
        a3: Input[A3, P],
        a4: Input[A4, P],
        /,
        *,
        over: Input[list[A1], P],
        max_concurrency: int = 0,
        canary: int = 0,
        **options: Unpack[NodeOptions],
    ) -> Ref[list[R]]: ...
    @overload
    def map(
        self,
        name: str,
        each: Action[tuple[A1, A2, A3, A4], R],
        a2: Input[A2, P],
        a3: Input[A3, P],
        a4: Input[A4, P],
        /,
        *,
        over: Input[list[A1], P],
        max_failures: int,
        max_concurrency: int = 0,
        canary: int = 0,
        **options: Unpack[NodeOptions],
    ) -> Ref[list[R | None]]: ...
    def map(
        self,
        name: str,
        each: Action[Any, Any] | Graph[Any, Any],
        /,
        *inputs: Any,
        over: Any,
        max_concurrency: int = 0,
        canary: int = 0,
        max_failures: int = 0,
        **options: Unpack[NodeOptions],
    ) -> Ref[Any]:
        """Add a node that becomes an action or a subsaga for each element of a list, and return their outputs' list.

        Args:
            name: Name of the node; its elements are known as "name[0]", and the nodes of a subsaga as "name[0]/node".
            each: What runs for each element. An action has the element as its first input, a graph as its parameters.
            *inputs: The action's other inputs, the same for every element; as of `add`. One of them may be `index`, the
                element's place in the list.
            over: The list: a reference, a value, or a function of the graph's parameters.
            max_concurrency: Elements that may run at once; 0 is no limit.
            canary: The first so many must succeed before the rest start.
            max_failures: Elements that may fail, each undone by itself, before the node fails. Their output is None.
            **options: See `NodeOptions`; for a graph, `after` alone.

        Raises:
            GraphError: The server would refuse it.
            ConversionError: A value is not of the input's type.
        """
        node = self._node(name, options.get("after", ()))
        body = node.map
        for field, count in (("max_concurrency", max_concurrency), ("canary", canary), ("max_failures", max_failures)):
            if not 0 <= count <= limits.GRAPH_NODES:
                message = f"it lies between 0 and {limits.GRAPH_NODES}; this is {count}"
                raise self._refused("OUT_OF_RANGE", f"map.{field}", message, name)
            setattr(body, field, count)
        if isinstance(each, Action):
            element, result = self._each_action(body, each, inputs, options, name), each.output_type
        elif isinstance(each, Graph):
            element, result = self._each_graph(body, each, name), each.result_type
        else:
            raise TypeError(f"node {name}: {each!r} is neither an action nor a graph")
        body.items.CopyFrom(self._source(over, list_of(element), name, "over"))
        return self._keep(node, list_of(Optional[result] if max_failures else result))  # noqa: UP045
