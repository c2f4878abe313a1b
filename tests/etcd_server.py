"""A real etcd for tests, and `etcd3` as the client that did not write what it checks."""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from aetcd import rpc

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 30.0
QUICK = ("--heartbeat-interval", "10", "--election-timeout", "100")
"""For an etcd that is alone: it elects itself at once, instead of after a second."""
BRISK = ("--heartbeat-interval", "30", "--election-timeout", "300")
"""For one of several on a machine that is busy with tests."""
READY = "ready to serve client requests"


def etcd_binary() -> str:
    """Return the etcd to run: SAGALINE_ETCD, or the one on PATH, or what scripts/ensure_etcd.sh gets."""
    found = os.environ.get("SAGALINE_ETCD") or shutil.which("etcd")
    if found is None:
        script = ROOT / "scripts/ensure_etcd.sh"
        found = subprocess.run([script], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    return found


class EtcdServer:
    """One etcd, of a cluster of one unless it is told of others, on ports that keep being its own over restarts."""

    def __init__(self, directory: Path, *flags: str, scheme: str = "http", name: str = "test") -> None:
        self._directory = directory
        self._flags = flags
        self._scheme = scheme
        self.name = name
        self.data = directory / "data"
        """Where it keeps what it knows."""
        self.port, peer_port = free_ports(2)
        self.endpoint = f"127.0.0.1:{self.port}"
        self.peer_url = f"http://127.0.0.1:{peer_port}"
        self.members: Sequence[EtcdServer] = (self,)
        """All members of its cluster."""
        self._process: subprocess.Popen[str] | None = None
        self._output: threading.Thread | None = None
        self._ready = threading.Event()

    @property
    def is_running(self) -> bool:
        return self._process is not None

    def start(self) -> None:
        """Start it and wait until it serves."""
        self.launch()
        self.wait_until_ready()

    def launch(self) -> None:
        """Start it; the first members of a cluster serve only when most of them run."""
        client = f"{self._scheme}://{self.endpoint}"
        self._process = subprocess.Popen(
            [
                etcd_binary(),
                *("--name", self.name, "--data-dir", str(self.data)),
                *("--listen-client-urls", client, "--advertise-client-urls", client),
                *("--listen-peer-urls", self.peer_url, "--initial-advertise-peer-urls", self.peer_url),
                *("--initial-cluster", ",".join(f"{member.name}={member.peer_url}" for member in self.members)),
                *self._flags,
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._ready = threading.Event()
        self._output = threading.Thread(target=self._read_output, args=(self._process, self._ready), daemon=True)
        self._output.start()

    def wait_until_ready(self) -> None:
        """Wait until it serves."""
        assert self._process is not None
        if not self._ready.wait(START_SECONDS) or self._process.poll() is not None:
            self.kill()
            raise RuntimeError(f"etcd did not start; see {self._directory / 'etcd.log'}")

    def _read_output(self, process: subprocess.Popen[str], ready: threading.Event) -> None:
        assert process.stderr is not None
        with (self._directory / "etcd.log").open("a") as file, process.stderr:
            for line in process.stderr:
                file.write(line)
                file.flush()
                if READY in line:
                    ready.set()
        ready.set()  # it ended

    def kill(self) -> None:
        """End it as a loss of power would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(START_SECONDS)
            self._process = None
        if self._output is not None:
            self._output.join(START_SECONDS)
            self._output = None

    def pause(self) -> None:
        """Let it hang: connections stay, nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """End `pause`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


class EtcdCluster:
    """Three etcds that agree on everything, as long as two of them run."""

    def __init__(self, directory: Path, *flags: str, size: int = 3) -> None:
        self.members: list[EtcdServer] = []
        flags = (*BRISK, *flags)
        for number in range(size):
            member_directory = directory / f"member-{number}"
            member_directory.mkdir(parents=True)
            self.members.append(EtcdServer(member_directory, *flags, name=f"member-{number}"))
        for member in self.members:
            member.members = self.members

    @property
    def endpoints(self) -> tuple[str, ...]:
        """All members' endpoints, running or not."""
        return tuple(member.endpoint for member in self.members)

    def start(self) -> None:
        """Start those that do not run, and wait until all serve."""
        stopped = [member for member in self.members if not member.is_running]
        for member in stopped:
            member.launch()
        for member in stopped:
            member.wait_until_ready()

    def kill(self) -> None:
        """End all of them as a loss of power would."""
        for member in self.members:
            member.kill()

    def leader(self) -> EtcdServer:
        """Return the member that leads. Right after the loss of a leader this waits until there is another."""
        asked = next(member for member in self.members if member.is_running)
        with grpc.insecure_channel(asked.endpoint) as channel:
            # Answered once there is a leader.
            rpc.KVStub(channel).Range(rpc.RangeRequest(key=b"leader"), timeout=START_SECONDS, wait_for_ready=True)
            leader = rpc.MaintenanceStub(channel).Status(rpc.StatusRequest(), timeout=START_SECONDS).leader
        return next(member for member in self.members if member.is_running and _member_id(member) == leader)

    def followers(self) -> list[EtcdServer]:
        """Return the running members that do not lead."""
        leader = self.leader()
        return [member for member in self.members if member.is_running and member is not leader]


def _member_id(member: EtcdServer) -> int:
    with grpc.insecure_channel(member.endpoint) as channel:
        status = rpc.MaintenanceStub(channel).Status(rpc.StatusRequest(), timeout=START_SECONDS, wait_for_ready=True)
        return int(status.header.member_id)


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def _running(directory: Path) -> Iterator[EtcdServer]:
    server = EtcdServer(directory)
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def etcd_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    """One etcd for all tests of a folder. They share it, so each uses a prefix of its own and leaves it running."""
    yield from _running(tmp_path_factory.mktemp("etcd"))


@pytest.fixture(scope="session")
def second_etcd_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    """Another etcd that knows nothing of the first, for what is spread over both."""
    yield from _running(tmp_path_factory.mktemp("second-etcd"))


def independent_client(endpoint: str, **options: Any) -> Any:
    """Connect `etcd3` to an etcd.

    It is of 2020: the messages it ships do not load beside today's protobuf, so it gets those of aetcd, and it warns
    while it is imported.
    """
    sys.modules.setdefault("etcd3.etcdrpc", rpc)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        etcd3 = importlib.import_module("etcd3")
    host, port = endpoint.rsplit(":", 1)
    return etcd3.client(host=host, port=int(port), timeout=10, **options)
