"""The command `graph`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from sagaline.cli.arguments import F
from sagaline.cli.drawing import graph_dot, graph_text
from sagaline.cli.exits import UnusableInput
from sagaline.cli.loading import load_attribute, looks_like_attribute, parse_message, read_text
from sagaline.cli.output import print_json
from sagaline.cli.settings import Settings, common_options, pass_settings
from sagaline.cli.text import enum_text
from sagaline.graph import Graph
from sagaline.v1 import saga_pb2


def _as_option(command: F) -> F:
    return click.option(
        "--as",
        "form",
        type=click.Choice(["text", "dot", "json"]),
        help='How to draw it: "dot" is for Graphviz.  [default: text, or json with -o json]',
    )(command)


@click.command("graph", short_help="Draw the graph of a saga, a file or a module.")
@click.argument("source", metavar="SOURCE")
@click.option("--file", "is_file", is_flag=True, help="SOURCE is a file of JSON: a Graph or a SagaSpec.")
@_as_option
@common_options
@pass_settings
def graph_command(settings: Settings, source: str, is_file: bool, form: str | None) -> None:
    """Draw a graph.

    SOURCE is the id of a saga, whose nodes are drawn with their status; MODULE:GRAPH of a Python program; or a
    file with the JSON of a Graph or SagaSpec: "-" is standard input, and one that is not called *.json needs --file.
    """
    graph, statuses = _graph(settings, source, is_file=is_file)
    form = form or ("json" if settings.json else "text")
    if form == "json":
        print_json(graph)
    else:
        click.echo((graph_dot if form == "dot" else graph_text)(graph, statuses))


def _graph(settings: Settings, source: str, *, is_file: bool) -> tuple[saga_pb2.Graph, dict[str, str]]:
    if is_file or source == "-" or (source.endswith(".json") and Path(source).is_file()):
        return _graph_of_file(source), {}
    if looks_like_attribute(source):
        found = load_attribute(source)
        if not isinstance(found, Graph):
            raise UnusableInput(f"{source} is a {type(found).__name__}, not a graph")
        return found.to_proto(), {}
    with settings.client() as client:
        saga = client.get(source)
    statuses = {node.name: enum_text(saga_pb2.NodeStatus.DESCRIPTOR, node.status) for node in saga.nodes}
    return saga.graph, statuses


def _graph_of_file(path: str) -> saga_pb2.Graph:
    text = read_text(path)
    if _has_nodes(text):
        return parse_message(text, saga_pb2.Graph(), path)
    spec = parse_message(text, saga_pb2.SagaSpec(), path)
    if not spec.HasField("graph"):
        raise UnusableInput(f"there is no graph in {path}")
    return spec.graph


def _has_nodes(text: str) -> bool:
    """Say whether the JSON is that of a graph; what is no JSON at all is left to the parser to complain of."""
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(tree, dict) and "nodes" in tree
