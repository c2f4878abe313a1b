"""The polyglot demonstration with Python in every place: the story, the kill and the audit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from sagaline_examples.polyglot.graph import polyglot_graph
from tests.polyglot.audit import violations
from tests.polyglot.crew import crew
from tests.postgres_server import PostgresServer

ROOT = Path(__file__).resolve().parents[3]


def test_each_node_has_a_worker_in_a_language_of_its_own() -> None:
    members = crew()
    assert len({member.language for member in members}) == len(members) == 4
    assert {member.node for member in members} <= {node.name for node in polyglot_graph().to_proto().nodes}


@pytest.mark.postgres
def test_the_audit_finds_what_must_not_be(postgres_server: PostgresServer) -> None:
    url = postgres_server.new_schema("audited")
    with psycopg.connect(url) as db:
        db.execute("CREATE TABLE bookings (saga text, item text)")
        db.execute("CREATE TABLE effects (saga text, what text)")
        db.execute("INSERT INTO bookings VALUES ('good', 'x'), ('stray', 'x')")
        db.execute("INSERT INTO effects VALUES ('good', 'booked'), ('twice', 'booked'), ('twice', 'booked')")
        db.execute("INSERT INTO effects VALUES ('good', 'released')")
    found = violations({"hotel": url}, ["good", "missing"], ["twice", "stray"])
    assert sorted(found) == [
        "good was released in hotel and did not unwind",
        "missing succeeded and has no booking in hotel",
        "stray did not succeed and has a booking in hotel",
        "twice: booked 2 times in hotel",
    ]


@pytest.mark.postgres
@pytest.mark.etcd
@pytest.mark.timeout(300)
def test_the_story_ends_well_with_python_in_every_place() -> None:
    command = [sys.executable, "-m", "tests.polyglot", "--all-stand-in", "--sagas", "24"]
    where = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}  # of this very code, wherever it was found
    done = subprocess.run(command, cwd=ROOT, env=where, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    last = done.stdout.splitlines()[-1]
    assert last.startswith("DEMO OK sagas=24 ")
    assert last.endswith(" stuck=0 violations=0 languages=1")
    assert "kill -9" in done.stdout
