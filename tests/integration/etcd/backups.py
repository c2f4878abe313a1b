"""Copies of what an etcd keeps."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.etcd_server import EtcdServer


class Backups:
    """Copies of what an etcd keeps, as an operator makes and restores them."""

    def __init__(self, server: EtcdServer, directory: Path) -> None:
        self._server = server
        self._copy = directory / "backup"

    def make(self) -> None:
        self._server.kill()
        shutil.copytree(self._server.data, self._copy)
        self._server.start()

    def restore(self) -> None:
        self._server.kill()
        shutil.rmtree(self._server.data)
        shutil.copytree(self._copy, self._server.data)
        self._server.start()
