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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aetcd import rpc

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 30.0
READY = "ready to serve client requests"


def etcd_binary() -> str:
    """Return the etcd to run: SAGALINE_ETCD, or the one on PATH, or what scripts/ensure_etcd.sh gets."""
    found = os.environ.get("SAGALINE_ETCD") or shutil.which("etcd")
    if found is None:
        script = ROOT / "scripts/ensure_etcd.sh"
        found = subprocess.run([script], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    return found


class EtcdServer:
    """One etcd of a cluster of one, on ports that were free and keep being its own over restarts."""

    def __init__(self, directory: Path, *flags: str, scheme: str = "http") -> None:
        self._directory = directory
        self._flags = flags
        self._scheme = scheme
        self.port, self._peer_port = free_ports(2)
        self.endpoint = f"127.0.0.1:{self.port}"
        self._process: subprocess.Popen[str] | None = None
        self._output: threading.Thread | None = None

    def start(self) -> None:
        """Start it and wait until it serves."""
        client, peer = f"{self._scheme}://{self.endpoint}", f"http://127.0.0.1:{self._peer_port}"
        self._process = subprocess.Popen(
            [
                etcd_binary(),
                *("--name", "test", "--data-dir", str(self._directory / "data")),
                *("--listen-client-urls", client, "--advertise-client-urls", client),
                *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
                *("--initial-cluster", f"test={peer}"),
                *self._flags,
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        ready = threading.Event()
        self._output = threading.Thread(target=self._read_output, args=(self._process, ready), daemon=True)
        self._output.start()
        if not ready.wait(START_SECONDS) or self._process.poll() is not None:
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


@pytest.fixture(scope="session")
def etcd_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    """One etcd for all tests of a folder. They share it, so each uses a prefix of its own and leaves it running."""
    server = EtcdServer(tmp_path_factory.mktemp("etcd"))
    server.start()
    yield server
    server.kill()


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
