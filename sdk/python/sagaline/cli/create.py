"""The command `create`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta

import click

from sagaline.cli.arguments import as_labels, label
from sagaline.cli.durations import seconds
from sagaline.cli.exits import UnusableInput
from sagaline.cli.loading import load_attribute, looks_like_attribute, parse_message, read_text, refuse_program
from sagaline.cli.output import print_json
from sagaline.cli.sagas import code_of
from sagaline.cli.settings import Settings, common_options, pass_settings
from sagaline.cli.show import show_saga
from sagaline.cli.text import clean
from sagaline.client.sagas import NewSaga, duration
from sagaline.errors import ConversionError
from sagaline.graph import Graph
from sagaline.v1 import payload_pb2, saga_pb2, saga_service_pb2
from sagaline.values import decode, encode


@click.command("create", short_help="Create a saga and start it.")
@click.argument("source", metavar="SOURCE")
@click.option("--params", metavar="JSON", help='Parameters, as JSON; "@FILE" reads them from a file.')
@click.option("--id", "saga_id", help="Id; the same id with the same content is the same saga.  [default: a new one]")
@click.option(
    "--label", "labels", type=label, metavar="KEY=VALUE", multiple=True, help="A searchable label; may be repeated."
)
@click.option("--scope", "scopes", multiple=True, help="A scope whose limits count it; may be repeated.")
@click.option("--deadline", type=seconds, metavar="DURATION", help="Time after which it unwinds.")
@click.option("--start-delay", type=seconds, metavar="DURATION", help="Time before its first node starts.")
@click.option("--paused", is_flag=True, help="Start nothing before `sagaline resume`.")
@click.option("--wait", "waits", is_flag=True, help="Wait until it has ended or needs an operator, as `sagaline wait`.")
@common_options
@pass_settings
def create_command(  # noqa: PLR0917
    settings: Settings,
    source: str,
    params: str | None,
    saga_id: str | None,
    labels: Sequence[tuple[str, str]],
    scopes: Sequence[str],
    deadline: float | None,
    start_delay: float | None,
    paused: bool,
    waits: bool,
) -> None:
    """Create a saga and start it.

    SOURCE is a file with the JSON of a SagaSpec or CreateSagaRequest, "-" for standard input, or MODULE:GRAPH of a
    Python program. Options replace what the file says. Prints the saga's id, alone on its line.
    """
    spec = spec_of(source, params)
    spec.saga_id = saga_id or spec.saga_id
    spec.labels.update(as_labels(labels))
    spec.scopes.extend(scopes)
    spec.start_paused = paused or spec.start_paused
    if deadline is not None:
        spec.deadline.CopyFrom(duration(timedelta(seconds=deadline)))
    if start_delay is not None:
        spec.start_delay.CopyFrom(duration(timedelta(seconds=start_delay)))
    with settings.client(waits=waits) as client:
        new = NewSaga.of_spec(spec)
        if not waits:
            created = client.create_new(new)
            _print_created(created.saga_id, created.saga, existed=created.existed, as_json=settings.json)
            return
        saga = client.create_and_wait(new, or_needs_operator=True)
    show_saga(saga, as_json=settings.json)
    click.get_current_context().exit(code_of(saga))


def _print_created(saga_id: str, saga: saga_pb2.Saga | None, *, existed: bool, as_json: bool) -> None:
    if as_json:
        print_json(saga_service_pb2.CreateSagaResponse(saga=saga, existed=existed))
        return
    click.echo(clean(saga_id))
    if existed:
        click.echo("it was there already, with the same content", err=True)


def spec_of(source: str, params: str | None) -> saga_pb2.SagaSpec:
    """Return the saga that SOURCE and --params describe.

    Raises:
        UnusableInput: They can't be used.
    """
    text = _params_text(params)
    if looks_like_attribute(source):
        graph = load_attribute(source)
        if not isinstance(graph, Graph):
            raise UnusableInput(f"{source} is a {type(graph).__name__}, not a graph, which GraphBuilder.build returns")
        given = payload_pb2.Payload(json=text if text is not None else "null")
        # Decoded and encoded again, they are checked, and fields that were left out have their defaults.
        try:
            whole = encode(decode(given, graph.params_type), graph.params_type)
        except ConversionError as error:
            missing = "; give them with --params" if text is None else ""
            raise UnusableInput(f"the graph's parameters: {error}{missing}") from error
        return saga_pb2.SagaSpec(graph=graph.to_proto(), params=whole)
    refuse_program(source)
    spec = _spec_of_json(read_text(source), source)
    if text is not None:
        spec.params.json = text
    return spec


def _spec_of_json(text: str, source: str) -> saga_pb2.SagaSpec:
    """Read a SagaSpec, or the request around it that other clients send."""
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError):
        tree = None
    if isinstance(tree, dict) and tree.keys() == {"saga"}:
        return parse_message(text, saga_service_pb2.CreateSagaRequest(), source).saga
    return parse_message(text, saga_pb2.SagaSpec(), source)


def _params_text(params: str | None) -> str | None:
    if params is None:
        return None
    text = read_text(params[1:]) if params.startswith("@") else params
    try:
        json.loads(text)
    except (ValueError, RecursionError) as error:
        quotes = f""": a text has quotes of its own, as in --params '"{text}"'""" if text.isidentifier() else ""
        raise UnusableInput(f"--params is not JSON: {error}{quotes}") from error
    return text
