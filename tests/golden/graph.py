"""The golden graph, by the Python builder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from google.protobuf import json_format

from sagaline import (
    UNBOUNDED,
    Graph,
    GraphBuilder,
    Irreversible,
    RetryPolicy,
    Timeouts,
    UndoKind,
    UndoPolicy,
    UnknownPolicy,
    action,
)
from sagaline.v1 import payload_pb2, saga_pb2, worker_service_pb2

FOLDER: Final = Path(__file__).parent

MS: Final = timedelta(milliseconds=1)


@dataclass
class Host:
    """A machine."""

    name: str
    cores: int


@dataclass
class Order:
    """The parameters."""

    rack: str
    images: list[str]
    spare: Host
    hosts: list[Host]


@action("hosts.pick", version="2", elsewhere=True)
def pick(rack: str, count: int) -> list[Host]:
    """Choose hosts."""
    raise NotImplementedError


@action("hosts.check", elsewhere=True)
def check(host: str) -> bool:
    """Look at a host."""
    raise NotImplementedError


@action("hosts.boot", elsewhere=True)
def boot(host: str, healthy: bool) -> str:
    """Start a host."""
    raise NotImplementedError


@action("hosts.flash", elsewhere=True)
def flash(host: Host, image: str) -> str:
    """Write an image to a host."""
    raise NotImplementedError


@action("hosts.label", elsewhere=True)
def label(host: Host, place: int) -> bool:
    """Note a host's place in its list."""
    raise NotImplementedError


@action("secs.enlist", elsewhere=True)
def enlist(sec: worker_service_pb2.Sec) -> worker_service_pb2.Sec:
    """Take a message and give it back."""
    raise NotImplementedError


@action("rack.cut", elsewhere=True)
def cut(rack: str) -> None:
    """Pass the point of no return."""


@action("rack.announce", elsewhere=True)
def announce(host: str, booted: list[str | None]) -> str:
    """Tell."""
    raise NotImplementedError


def server_graph() -> Graph[Host, str]:
    """The subsaga: a node that can't be undone, and one whose undo action has policies."""
    g = GraphBuilder("server", params=Host)
    healthy = g.add("check", check, lambda host: host.name, undo=UndoPolicy.none())
    booted = g.add(
        "boot",
        boot,
        lambda host: host.name,
        healthy,
        undo=UndoPolicy(
            retry=RetryPolicy(max_attempts=7, initial_backoff=20 * MS),
            timeouts=Timeouts(start_to_close=timedelta(seconds=9), heartbeat=timedelta(seconds=2)),
        ),
        unknown=UnknownPolicy.UNDO,
    )
    return g.build(result=booted)


def idle_graph() -> Graph[None, object]:
    """A subsaga without parameters, whose result is not said."""
    g = GraphBuilder("idle")
    g.delay("rest", timedelta(0))
    return g.build()


def golden_graph() -> Graph[Order, str]:
    """Everything that a builder can say."""
    g = GraphBuilder("golden", params=Order)
    size = g.constant("size", 3)
    picked = g.add(
        "pick",
        pick,
        lambda order: order.rack,
        size,
        retry=RetryPolicy(
            max_attempts=9,
            initial_backoff=250 * MS,
            max_backoff=timedelta(minutes=2),
            multiplier=1.5,
            jitter=0.0,
            total_timeout=timedelta(hours=1),
            non_retryable=["NoSuchRack", "Closed"],
        ),
        timeouts=Timeouts(
            schedule_to_start=timedelta(minutes=5), start_to_close=timedelta(seconds=30), heartbeat=timedelta(seconds=3)
        ),
        undo=UndoPolicy.noop(),
        unknown=UnknownPolicy.RETRY_THEN_UNDO,
    )
    approved = g.signal("approved", Host, signal="go", timeout=timedelta(hours=12), after=[picked])
    word = g.signal("word", str)
    rest = g.delay("rest", timedelta(seconds=90, milliseconds=5), after=[approved, word])
    first = g.subsaga("first", server_graph(), picked.select(lambda hosts: hosts[0]), after=[rest])
    g.subsaga("idle", idle_graph(), after=[first])
    fleet = g.map(
        "fleet",
        server_graph(),
        over=lambda order: order.hosts,
        max_concurrency=4,
        canary=1,
        max_failures=2,
        after=[rest],
    )
    flashed = g.map(
        "flashed",
        flash,
        lambda order: order.images[1],
        over=picked,
        max_concurrency=2,
        after=[rest, first],
        undo=UndoPolicy.none(Irreversible.FORWARD_ONLY),
        unknown=UnknownPolicy.HOLD,
    )
    g.map("again", flash, "v1", over=[Host("spare", 2)], canary=1, undo=UndoPolicy(kind=UndoKind.ACTION))
    enlisted = g.add("enlist", enlist, worker_service_pb2.Sec(sec_id="a", address="b:1"), undo=UndoPolicy.noop())
    gone = g.add("cut", cut, approved.select(lambda host: host.name), pivot=True, after=[fleet, flashed, enlisted])
    told = g.add("tell", announce, first, fleet, undo=UndoPolicy.noop(), retry=RetryPolicy(), after=[gone])
    return g.build(result=told)


def places_graph() -> Graph[list[Host], list[bool]]:
    """A map whose elements know their places, and retries without bound."""
    g = GraphBuilder("places", params=list[Host])
    unbounded = RetryPolicy(max_attempts=UNBOUNDED)
    labelled = g.map("labelled", label, g.index, over=g.params, undo=UndoPolicy.noop(), retry=unbounded)
    return g.build(result=labelled)


GRAPHS: Final[Mapping[str, Callable[[], Graph[Any, Any]]]] = {"graph": golden_graph, "places": places_graph}
"""What builds each golden graph, by the names of its files."""


def without_schemas(graph: saga_pb2.Graph) -> saga_pb2.Graph:
    """Take out of a graph what each language says in its own way."""
    for node in _actions(graph):
        named: dict[str, payload_pb2.TypeSpec] = dict(node.input_types)
        for name, spec in named.items():
            if spec.WhichOneof("type") != "message_name":
                del node.input_types[name]
        if node.output_type.WhichOneof("type") != "message_name":
            node.ClearField("output_type")
    return graph


def _actions(graph: saga_pb2.Graph) -> Iterator[saga_pb2.ActionNode]:
    for node in graph.nodes:
        body: Any = getattr(node, node.WhichOneof("kind") or "")
        if isinstance(body, saga_pb2.MapNode):
            body = body.action if body.WhichOneof("each") == "action" else body.subsaga
        if isinstance(body, saga_pb2.ActionNode):
            yield body
        elif isinstance(body, saga_pb2.SubsagaNode):
            yield from _actions(body.graph)


def encoded(name: str) -> tuple[bytes, str]:
    """Return a golden graph as its two files have it."""
    graph = without_schemas(GRAPHS[name]().to_proto())
    return graph.SerializeToString(deterministic=True), json_format.MessageToJson(graph, sort_keys=True) + "\n"


def golden(name: str) -> saga_pb2.Graph:
    """Read a golden graph."""
    return saga_pb2.Graph.FromString((FOLDER / f"{name}.binpb").read_bytes())


def write() -> None:
    """Write all files."""
    for name in GRAPHS:
        binary, text = encoded(name)
        (FOLDER / f"{name}.binpb").write_bytes(binary)
        (FOLDER / f"{name}.json").write_text(text, encoding="utf-8")
