"""Whether the data of a graph fits: what each node is declared to take against what it will be given.

Every output has the type that its action is declared to have, every constant and literal is its own type, and
parameters are checked when they are known, saga by saga. What is declared nowhere fits everywhere.
"""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec

from sagaline_server.core import limits
from sagaline_server.core.graph import ActionNode, ConstantNode, DataType, Graph, InputRef, MapNode, SubsagaNode
from sagaline_server.core.problems import Problem
from sagaline_server.core.schemas import ANY, NoSuchPart, Schema, as_schema, at_path, misfit
from sagaline_server.core.topology import sinks
from sagaline_server.core.values import NULL, Payload, SelectionError, select

MISMATCH = "TYPE_MISMATCH"
PROTOBUF = "binary/protobuf"
MESSAGE_TYPE = "message_type"


class Judge:
    """What validates values and schemas: a library's work. This one finds everything right."""

    def flaw(self, schema: str) -> str:
        """Say what makes a text no JSON Schema; empty: it is one."""
        del schema
        return ""

    def verdict(self, schema: str, value: str) -> str:
        """Say why a JSON text does not fit a schema; empty: it fits."""
        del schema, value
        return ""


class Given(msgspec.Struct, frozen=True):
    """What is known of the value that an input will have. All empty: nothing."""

    schema: Schema = ANY
    message: str = ""
    """Full name of the protobuf message that it is."""
    value: Payload | None = None
    """The value itself."""
    params: tuple[str, ...] | None = None
    """The saga's parameters, or what this path selects inside them."""
    is_json: bool = False
    """Whether it is JSON for certain."""


UNKNOWN = Given()


class ParamsUse(msgspec.Struct, frozen=True):
    """A part of the parameters that has to be of a type."""

    path: tuple[str, ...]
    declared: DataType
    node: str
    input: str


class Checked(msgspec.Struct, frozen=True):
    """What is wrong with the types of a graph, and what is still to be looked at when its parameters are known."""

    problems: tuple[Problem, ...]
    uses: tuple[ParamsUse, ...]


def check_types(graph: Graph, field: str, judge: Judge) -> Checked:
    """Check every declared type of a graph, and every input against it. Unknown names are passed over."""
    found = _Checker(judge)
    found.walk(graph, field, "", Given(params=()))
    return Checked(tuple(found.problems), tuple(found.uses))


def check_params(uses: tuple[ParamsUse, ...], params: Payload, field: str, judge: Judge) -> list[Problem]:
    """Check the parameters of a saga against what its graph takes from them."""
    problems = []
    for use in uses:
        reason = _params_reason(use, params, judge)
        if reason:
            message = f"{use.input!r} of node {use.node!r} does not fit: {reason}"
            problems.append(Problem(".".join((field, *use.path)), MISMATCH, message, use.node))
    return problems


def _params_reason(use: ParamsUse, params: Payload, judge: Judge) -> str:
    try:
        part = select(params, use.path)
    except SelectionError as error:
        return str(error)
    return value_misfit(use.declared, part, judge)


def value_misfit(declared: DataType, value: Payload, judge: Judge) -> str:
    """Say why a value is not of a type; empty: it is, or nobody can tell."""
    if value.data is not None:
        message = _message_of(value)
        if declared.message:
            return (
                f"takes a {declared.message}, and is given a {message}" if message not in ("", declared.message) else ""
            )
        return f"takes JSON, and is given a {message}" if message else ""
    if declared.message:
        return f"takes a {declared.message}, and is given JSON"
    return judge.verdict(declared.json_schema, value.json if value.json is not None else "null")


def _message_of(payload: Payload) -> str:
    """Return the name of the protobuf message that a payload is; empty where it is none, or not known."""
    return dict(payload.metadata).get(MESSAGE_TYPE, "") if payload.encoding == PROTOBUF else ""


def type_misfit(declared: DataType, given: Given) -> str:
    """Say why what is given is not of a type; empty: it may be."""
    if given.message:
        if declared.message == given.message:
            return ""
        return f"takes {declared.message or 'JSON'}, and is given a {given.message}"
    if declared.message:
        return f"takes a {declared.message}, and is given JSON" if given.is_json else ""
    return misfit(schema_of(declared), given.schema)


def schema_of(declared: DataType) -> Schema:
    """Return the schema of a type as a tree; the empty one where it can't be read."""
    with contextlib.suppress(msgspec.DecodeError, RecursionError):
        return as_schema(msgspec.json.decode(declared.json_schema))
    return ANY


def given_by(declared: DataType | None) -> Given:
    """Return what is known of a value by its declared type."""
    if declared is None:
        return UNKNOWN
    if declared.message:
        return Given(message=declared.message)
    return Given(schema=schema_of(declared), is_json=True)


def selected(given: Given, path: tuple[str, ...]) -> Given:
    """Return what is known of a part of a value.

    Raises:
        NoSuchPart: There is no such part.
    """
    if not path or given is UNKNOWN:
        return given
    if given.params is not None:
        return Given(params=given.params + path)
    if given.message:
        raise NoSuchPart(f"it is a {given.message}, and a field can be selected in JSON only")
    if given.value is None:
        return Given(schema=at_path(given.schema, path), is_json=given.is_json)
    try:
        return Given(value=select(given.value, path))
    except SelectionError as error:
        raise NoSuchPart(str(error)) from error


def drift(action: ActionNode, inputs: tuple[tuple[str, DataType], ...], output: DataType | None) -> list[str]:
    """Say where what a worker takes and returns does not fit what a graph says of one of its actions."""
    declared, found = dict(action.input_types), []
    for name, taken in inputs:
        if name in declared and (reason := type_misfit(taken, given_by(declared[name]))):
            found.append(f"its {name!r} {reason}")
    if action.output_type is not None and (reason := type_misfit(action.output_type, given_by(output))):
        found.append(f"of its output, the graph {reason}")
    return found


class _Checker:
    def __init__(self, judge: Judge) -> None:
        self.problems: list[Problem] = []
        self.uses: list[ParamsUse] = []
        self._judge = judge

    def walk(self, graph: Graph, field: str, prefix: str, params: Given) -> Given:
        """Check a graph; return what is known of its result."""
        scope = _Scope(self, graph, field, prefix, params)
        for i, node in enumerate(graph.nodes):
            match node.body:
                case ActionNode():
                    self._action(node.body, f"{field}.nodes[{i}].action", prefix + node.name, scope)
                case MapNode(each=ActionNode() as each):
                    self._action(each, f"{field}.nodes[{i}].map.action", prefix + node.name, scope)
                    self._elements(node.body, each, f"{field}.nodes[{i}].map.items", prefix + node.name, scope)
                case SubsagaNode() | MapNode(each=SubsagaNode()):
                    scope.output(node.name)
        last = sinks(graph)
        return scope.output(graph.result or (last[0] if len(last) == 1 else ""))

    def subsaga(self, body: SubsagaNode, where: str, name: str, given: _Scope) -> Given:
        """Check a subsaga; return what is known of its result."""
        params = self._source(body.params, f"{where}.params", name, given) if body.params else Given(value=NULL)
        return self.walk(body.graph, f"{where}.graph", f"{name}/", params)

    def mapped(self, body: MapNode, each: SubsagaNode, where: str, name: str, given: _Scope) -> Given:
        """Check the subsaga of a map's elements; return what is known of the map's output."""
        items = self._source(body.items, f"{where}.items", name, given)
        element = UNKNOWN
        if items.is_json:
            with contextlib.suppress(NoSuchPart):
                element = Given(schema=at_path(items.schema, ("0",)), is_json=True)
        return listed(self.walk(each.graph, f"{where}.subsaga.graph", f"{name}/", element), body)

    def _elements(self, body: MapNode, each: ActionNode, field: str, node: str, given: _Scope) -> None:
        """Check the list of a map against what its action takes as the element."""
        declared = dict(each.input_types).get(body.item)
        items = self._source(body.items, field, node, given)
        if declared is not None and declared.json_schema:
            wanted = DataType(_ARRAY_OF % declared.json_schema)
            self._check_input(wanted, items, field, node, body.item)
        place = dict(each.input_types).get(body.index)
        if place is not None:
            self._check_input(place, _PLACE, field.removesuffix("items") + "index", node, body.index)

    def _action(self, body: ActionNode, where: str, name: str, given: _Scope) -> None:
        declared = dict(body.input_types)
        self._check_declared(body, where, name)
        for key, ref in body.inputs:
            field = f"{where}.inputs[{key[: limits.NODE_NAME_CHARS]}]"
            source = self._source(ref, field, name, given)
            if key in declared:
                self._check_input(declared[key], source, field, name, key)

    def _check_declared(self, body: ActionNode, where: str, name: str) -> None:
        named = [
            (f"{where}.input_types[{key[: limits.NODE_NAME_CHARS]}]", declared) for key, declared in body.input_types
        ]
        if body.output_type is not None:
            named.append((f"{where}.output_type", body.output_type))
        for field, declared in named:
            if len(declared.json_schema.encode()) > limits.TYPE_BYTES:
                message = f"a schema has at most {limits.TYPE_BYTES} bytes"
                self.problems.append(Problem(field, "OUT_OF_RANGE", message, name))
            elif declared.json_schema and (flaw := self._judge.flaw(declared.json_schema)):
                self.problems.append(Problem(f"{field}.json_schema", "BAD_SCHEMA", flaw, name))

    def _check_input(self, declared: DataType, source: Given, field: str, node: str, key: str) -> None:
        if source.params is not None:
            self.uses.append(ParamsUse(source.params, declared, node, key))
            return
        reason = (
            type_misfit(declared, source) if source.value is None else value_misfit(declared, source.value, self._judge)
        )
        if reason:
            self.problems.append(Problem(field, MISMATCH, reason, node))

    def _source(self, ref: InputRef, field: str, node: str, given: _Scope) -> Given:
        try:
            return selected(given.source(ref), ref.path)
        except NoSuchPart as error:
            self.problems.append(Problem(f"{field}.path", MISMATCH, str(error), node))
            return UNKNOWN


_PLACE = Given(schema={"type": "integer", "minimum": 0}, is_json=True)
_ARRAY_OF = '{"type":"array","items":%s}'


def listed(element: Given, body: MapNode) -> Given:
    """Return what is known of a map's output by what is known of an element's."""
    if not element.is_json:
        return Given(schema={"type": "array"}, is_json=True)
    inner: dict[str, Any] = dict(element.schema)
    definitions: dict[str, Any] = {name: inner.pop(name) for name in ("$defs", "definitions") if name in inner}
    items = {"anyOf": [inner, {"type": "null"}]} if body.max_failures else inner
    schema: dict[str, Any] = {"type": "array", "items": items}
    return Given(schema={**schema, **definitions}, is_json=True)


class _Scope:
    """What is known of the values that the nodes of one graph can take."""

    def __init__(self, checker: _Checker, graph: Graph, field: str, prefix: str, params: Given) -> None:
        self._checker = checker
        self._nodes = {node.name: (i, node) for i, node in enumerate(graph.nodes)}
        self._field = field
        self._prefix = prefix
        self._params = params
        self._results: dict[str, Given] = {}

    def source(self, ref: InputRef) -> Given:
        """Return what is known of a source, its path left aside."""
        if ref.literal is not None:
            return Given(value=ref.literal)
        return self._params if ref.node is None else self.output(ref.node)

    def output(self, name: str) -> Given:
        """Return what is known of a node's output. A subsaga is checked by whoever asks first."""
        i, node = self._nodes.get(name, (0, None))
        match node.body if node is not None else None:
            case ActionNode(output_type=declared):
                return given_by(declared)
            case ConstantNode(value=value):
                return Given(value=value)
            case MapNode(each=ActionNode(output_type=declared)) as body:
                return listed(given_by(declared), body)
            case SubsagaNode() | MapNode() as body:
                if name not in self._results:
                    self._results[name] = UNKNOWN  # for one that depends on itself, which others refuse
                    self._results[name] = self._inner(body, f"{self._field}.nodes[{i}]", self._prefix + name)
                return self._results[name]
            case _:
                return UNKNOWN

    def _inner(self, body: SubsagaNode | MapNode, where: str, name: str) -> Given:
        if isinstance(body, SubsagaNode):
            return self._checker.subsaga(body, f"{where}.subsaga", name, self)
        if isinstance(body.each, SubsagaNode):
            return self._checker.mapped(body, body.each, f"{where}.map", name, self)
        return UNKNOWN
