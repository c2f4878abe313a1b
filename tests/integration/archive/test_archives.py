"""Archives of finished sagas: a directory, and a table of a real PostgreSQL; and a real SEC that fills one."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import json
from pathlib import Path

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from sagaline import GraphBuilder
from sagaline.cli.archives import archived_lines
from sagaline.cli.dump import dump_lines
from sagaline.cli.exits import UnusableInput
from sagaline.client import Client
from sagaline.errors import NotAllowedNow, SagaNotFound
from sagaline.v1 import failure_pb2, log_pb2, saga_pb2
from sagaline_server.ports.archive import Archive, ArchivedSaga, ArchiveError
from sagaline_server.store.archive_directory import DirectoryArchive
from sagaline_server.store.archive_postgres import PostgresArchive
from tests.failover.restart.actions import hand_on
from tests.integration.secs import ANY_PORT, CLI, SECONDS, SERVER, run, started
from tests.postgres_server import PostgresServer, postgres_server

__all__ = ["postgres_server"]

_numbers = itertools.count(1)
START = 1_800_000_000.0
"""2027-01-15 08:00 UTC."""


@pytest.fixture(params=["directory", pytest.param("postgresql", marks=pytest.mark.postgres)])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An archive that is not there yet, as the setting names it."""
    if request.param == "directory":
        return str(tmp_path / "archive")
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return server.new_schema(f"archive_{next(_numbers)}")


def archive_at(where: str) -> Archive:
    return PostgresArchive(where) if where.startswith("postgresql") else DirectoryArchive(Path(where))


def saga(saga_id: str, text: str, ended: float = 1_800_000_000.0) -> ArchivedSaga:
    return ArchivedSaga(saga_id, ended, gzip.compress(text.encode(), mtime=0))


def files_below(where: str) -> list[Path]:
    return [*Path(where).glob("*/*")]


async def until_gone(client: Client, saga_id: str) -> None:
    async with asyncio.timeout(SECONDS):
        while True:
            await client.wait(saga_id)


async def test_what_was_put_is_read_and_kept_once(where: str) -> None:
    for archive in (archive_at(where), archive_at(where)):
        await archive.put([saga("a", "one"), saga("a.b", "other"), saga("b", "two")])
        await archive.put([saga("a", "one")])
        await archive.close()
    read = [await asyncio.to_thread(archived_lines, where, saga_id) for saga_id in ("a", "a.b", "b")]
    assert read == [["one"], ["other"], ["two"]]
    if not where.startswith("postgresql"):
        assert len(files_below(where)) == 3
    with pytest.raises(UnusableInput, match="no saga"):
        await asyncio.to_thread(archived_lines, where, "c")


def whole(saga_id: str, graph: str, ended: float, *entries: log_pb2.LogEntry, team: str = "a") -> ArchivedSaga:
    """Return a saga as a SEC archives it, with as much of its log as a list needs."""
    spec = saga_pb2.SagaSpec(saga_id=saga_id, labels={"team": team}, scopes=["rack/1"])
    spec.graph.name = graph
    record = log_pb2.SagaRecord(spec=spec, create_time=Timestamp(seconds=int(ended) - 60))
    for seq, entry in enumerate(entries, 1):
        entry.seq = seq
    lines = "".join(f"{line}\n" for line in dump_lines(record, entries))
    return ArchivedSaga(saga_id, ended, gzip.compress(lines.encode(), mtime=0))


def finished(state: saga_pb2.SagaState.ValueType, at: float) -> log_pb2.LogEntry:
    return log_pb2.LogEntry(saga_finished=log_pb2.SagaFinished(state=state), time=Timestamp(seconds=int(at)))


async def test_archived_sagas_are_listed_as_a_sec_lists_them(where: str) -> None:
    """The last one first, whatever its id; with the filters of a list."""
    day = 86_400.0
    failure = failure_pb2.Failure(type="Full")
    fell = [log_pb2.LogEntry(node_failed=log_pb2.NodeFailed(node="hotel", failure=failure)) for _ in range(2)]
    asked = log_pb2.LogEntry(unwind_requested=log_pb2.UnwindRequested(reason="enough"))
    unwound, succeeded = saga_pb2.SAGA_STATE_UNWOUND, saga_pb2.SAGA_STATE_SUCCEEDED
    archive = archive_at(where)
    await archive.put([whole("z", "trip", START + day, fell[0], finished(unwound, START + day))])
    await archive.put([whole("b", "trip", START, fell[1], finished(succeeded, START), team="b")])
    await archive.put([whole("a", "vm", START + 2 * day, asked, finished(unwound, START + 2 * day))])
    await archive.close()

    async def listed(*arguments: str) -> list[str]:
        code, out, _ = await run(*CLI, "list", "--archive", where, *arguments, "-o", "json")
        assert code == 0
        return [json.loads(line)["saga_id"] for line in out.splitlines()]

    assert await listed() == ["a", "z", "b"]
    assert await listed("--limit", "2") == ["a", "z"]
    assert await listed("--state", "unwound") == ["a", "z"]
    assert await listed("--graph", "trip", "--label", "team=b") == ["b"]
    assert await listed("--failed-node", "hotel") == ["z"], "what failed in a saga that succeeded fell by itself"
    assert await listed("--created-before", "2027-01-17T00:00") == ["z", "b"]
    assert await listed("--scope", "rack/2") == []
    code, out, _ = await run(*CLI, "list", "--archive", where)
    assert (code, "enough" in out, "Full" in out) == (0, True, True)
    assert (await run(*CLI, "list", "--archive", where, "--needs-operator"))[0] == 2


async def test_another_saga_of_the_same_id_is_kept_beside_the_first(where: str) -> None:
    archive = archive_at(where)
    await archive.put([saga("a", "first")])
    await archive.put([saga("a", "second", ended=1_900_000_000.0)])
    await archive.put([saga("a", "first")])
    assert await asyncio.to_thread(archived_lines, where, "a") == ["second"]
    await archive.close()


async def test_an_archive_that_is_away_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for archive in (DirectoryArchive(tmp_path / "file"), PostgresArchive("postgresql://127.0.0.1:1/none")):
        with pytest.raises(ArchiveError):
            await archive.put([saga("a", "one")])


async def test_a_sec_compacts_archives_and_removes(tmp_path: Path, where: str) -> None:
    """A finished saga is archived, then loses its log, then goes; the archive replays it."""
    graph = GraphBuilder("one", params=str)
    graph.add("only", hand_on, graph.params)
    keeping = (*SERVER, "--listen", ANY_PORT, "--data-dir", str(tmp_path / "data"), "--archive", where)
    soon = ("--compact-after", "0.01", "--remove-after", "3", "--retention-interval", "0.2")
    async with started(*keeping, *soon) as sec, Client(await sec.address()) as client:
        await client.create(graph.build(), "x", saga_id="stays")
        await client.create(graph.build(), "x", saga_id="goes")
        assert (await client.unwind("goes", reason="enough")).state == saga_pb2.SAGA_STATE_UNWOUND
        retired = await sec.logged("sagas_retired")
        assert (retired["compacted"], retired["removed"]) == (1, 0)
        assert (await client.get("goes")).state == saga_pb2.SAGA_STATE_UNWOUND
        with pytest.raises(NotAllowedNow):
            assert [entry async for entry in client.log("goes")]
        with pytest.raises(SagaNotFound):
            await until_gone(client, "goes")
        assert (await client.get("stays")).state == saga_pb2.SAGA_STATE_RUNNING
    code, out, _ = await run(*CLI, "replay", "goes", "--archive", where)
    assert (code, "unwound" in out) == (0, True)
    code, out, _ = await run(*CLI, "log", "goes", "--archive", where)
    assert (code, "enough" in out) == (0, True)
    assert (await run(*CLI, "log", "stays", "--archive", where))[0] == 2
    code, out, _ = await run(*CLI, "list", "--archive", where)
    assert (code, [line.split()[:3] for line in out.splitlines()[1:]]) == (0, [["goes", "one", "unwound"]])
