"""The commands `dump` and `replay`.

A dump is lines of JSON that need nothing else to be understood: first {"record": SagaRecord}, then {"entry": LogEntry}
for each entry of the log, in order, all in the protobuf JSON mapping.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

import click
from google.protobuf import json_format
from google.protobuf.message import Message

from sagaline.cli.archives import archived_lines, unpacked
from sagaline.cli.arguments import archive_option, saga_argument
from sagaline.cli.exits import REFUSED, UnusableInput, print_error
from sagaline.cli.loading import read_text
from sagaline.cli.settings import Settings, common_options, output_option, pass_settings
from sagaline.cli.show import show_saga
from sagaline.v1 import log_pb2


@click.command("dump", short_help="Write a saga's record and log to a file.")
@saga_argument
@click.argument("file", metavar="FILE", type=click.File("w", encoding="utf-8", lazy=True))
@common_options
@pass_settings
def dump_command(settings: Settings, saga_id: str, file: TextIO) -> None:
    """Write the record and log of the saga SAGA to FILE ("-" for standard output), for `sagaline replay`."""
    with settings.client() as client:
        record = client.record(saga_id)
        entries = list(client.log(saga_id))
    file.writelines(f"{line}\n" for line in dump_lines(record, entries))
    click.echo(f"{len(entries)} entries", err=True)


def dump_lines(record: log_pb2.SagaRecord, entries: Iterable[log_pb2.LogEntry]) -> Iterator[str]:
    """Yield the lines of a dump."""
    yield _line("record", record)
    for entry in entries:
        yield _line("entry", entry)


def _line(name: str, message: Message) -> str:
    tree = json_format.MessageToDict(message, preserving_proto_field_name=True)
    return json.dumps({name: tree}, separators=(",", ":"))


@click.command("replay", short_help="Show, offline, the state that a dumped saga had at any entry.")
@click.argument("file", metavar="FILE")
@click.option("--to", "to_seq", type=click.IntRange(min=1), metavar="SEQ", help="Last entry to apply.  [default: all]")
@archive_option
@output_option
@pass_settings
def replay_command(settings: Settings, file: str, to_seq: int | None, archive: str | None) -> None:
    """Show the state that the saga of the dump FILE ("-" for standard input) had after an entry of its log.

    With --archive, FILE is the id of a saga. A dump may be compressed, as those of an archive are.

    Asks no SEC: it applies the log with the same code as a SEC that recovers the saga.
    """
    try:
        from sagaline_server.wire.replay import BadDump, replay_dump
    except ImportError as error:
        raise UnusableInput(f"replay needs the package sagaline-server: {error}") from error
    lines = archived_lines(archive, file) if archive else _read_dump(file)
    try:
        saga = replay_dump(lines, to_seq)
    except BadDump as error:
        print_error(f"{file} cannot be replayed: {error}")
        click.get_current_context().exit(REFUSED)
    show_saga(saga, as_json=settings.json, at=saga.update_time)


def _read_dump(path: str) -> list[str]:
    if not path.endswith(".gz"):
        return read_text(path).split("\n")
    try:
        return unpacked(Path(path).read_bytes(), path).split("\n")
    except OSError as error:
        raise UnusableInput(f"cannot read {path}: {error}") from error
