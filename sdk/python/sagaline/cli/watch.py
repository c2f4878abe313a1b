"""The commands `watch` and `log`."""

from __future__ import annotations

import sys
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Self

import click

from sagaline.cli.archives import archived_lines, entries_of
from sagaline.cli.arguments import archive_option, saga_argument
from sagaline.cli.entries import entry_line
from sagaline.cli.output import console, print_json_line
from sagaline.cli.sagas import code_of
from sagaline.cli.settings import Settings, common_options, pass_settings
from sagaline.v1 import log_pb2, saga_pb2

if TYPE_CHECKING:
    from rich.console import Console

    from sagaline.sync import Client

REDRAW_S = 1.0
"""The tree is drawn anew at least this often: why a node waits may change without an entry in the log."""

REDRAW_PAUSE_S = 0.1
"""And at most this often, however fast entries come."""

LINES_BESIDE_NODES = 3
"""Lines of the screen that are not for nodes: the heading, the count of those not drawn, the cursor."""

_FROM = click.option(
    "--from", "from_seq", type=click.IntRange(min=1), default=1, metavar="SEQ", help="First entry.  [default: 1]"
)


@click.command("log", short_help="Print a saga's log.")
@saga_argument
@_FROM
@click.option("--follow", is_flag=True, help="Go on with new entries until the saga ends.")
@archive_option
@common_options
@pass_settings
def log_command(settings: Settings, saga_id: str, from_seq: int, follow: bool, archive: str | None) -> None:
    """Print the log of the saga SAGA, one entry a line."""
    if archive:
        for entry in entries_of(archived_lines(archive, saga_id)):
            if entry.seq >= from_seq:
                _print_entry(entry, as_json=settings.json)
        return
    with settings.client(waits=follow) as client:
        read = client.watch if follow else client.log
        for entry in read(saga_id, from_seq=from_seq):
            _print_entry(entry, as_json=settings.json)


@click.command("watch", short_help="Follow a saga until it ends.")
@saga_argument
@_FROM
@common_options
@pass_settings
def watch_command(settings: Settings, saga_id: str, from_seq: int) -> None:
    """Follow the saga SAGA until it ends: on a terminal as a live tree of its nodes, else entry by entry.

    Exits with 0 if it succeeded and with 1 if it is unwound.
    """
    with settings.client(waits=True) as client:
        if settings.json or not sys.stdout.isatty():
            for entry in client.watch(saga_id, from_seq=from_seq):
                _print_entry(entry, as_json=settings.json)
            saga = client.get(saga_id, view=saga_pb2.SAGA_VIEW_BASIC)
        else:
            saga = watch_tree(client, saga_id, console())
    click.get_current_context().exit(code_of(saga))


def _print_entry(entry: log_pb2.LogEntry, *, as_json: bool) -> None:
    if as_json:
        print_json_line(entry)
    else:
        click.echo(entry_line(entry))


def watch_tree(client: Client, saga_id: str, screen: Console) -> saga_pb2.Saga:
    """Draw the saga until it ends, and return it as it then stands."""
    saga = client.get(saga_id)
    with Painter(client, saga, screen) as painter:
        for _entry in client.watch(saga_id, from_seq=saga.log_length + 1):
            painter.changed()
    return painter.saga


class Painter:
    """Draws a saga in a thread of its own, which reads it anew after every change; many at once count as one.

    Leaving the context draws it for the last time, and raises what went wrong in the thread.
    """

    def __init__(self, client: Client, saga: saga_pb2.Saga, screen: Console) -> None:
        self.saga = saga
        self._client = client
        self._screen = screen
        self._changed = threading.Event()
        self._stopping = threading.Event()
        self._problem: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="sagaline-painter")

    def changed(self) -> None:
        """Say that the saga is not what was drawn."""
        self._changed.set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._changed.set()
        self._thread.join()
        if self._problem is not None and error is None:
            raise self._problem

    def _run(self) -> None:
        try:
            self._paint()
        except BaseException as problem:  # noqa: BLE001 - the thread that waits for this one raises it
            self._problem = problem

    def _paint(self) -> None:
        from rich.live import Live

        from sagaline.cli.tree import saga_tree

        with Live(console=self._screen, auto_refresh=False) as live:
            stopping = False
            while not stopping:
                lines = max(1, self._screen.height - LINES_BESIDE_NODES)
                live.update(saga_tree(self.saga, lines=lines), refresh=True)
                self._stopping.wait(REDRAW_PAUSE_S)
                self._changed.wait(REDRAW_S)
                self._changed.clear()
                stopping = self._stopping.is_set()
                self.saga = self._client.get(self.saga.saga_id)
            live.update(saga_tree(self.saga, lines=len(self.saga.nodes)), refresh=True)
