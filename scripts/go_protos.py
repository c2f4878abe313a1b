"""The Go half of gen_protos.py: sdk/go/sagaline/v1, made by the plugins pinned here with the Go of this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODULE = "sagaline.dev/sdk/go"
GENERATED = ROOT / "sdk/go/sagaline/v1"
PLUGINS = {
    "protoc-gen-go": "google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12",
    "protoc-gen-go-grpc": "google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.1",
}
FOLDER = ROOT / ".tools/go"


def is_possible() -> bool:
    """Whether this machine has Go. Who works on Python alone needs none."""
    return shutil.which("go") is not None


def generate(protoc: Sequence[str], sources: Sequence[str], folder: Path, cwd: Path) -> Path:
    """Generate into a folder, with a protoc that knows its includes; returns where the files are."""
    install()
    plugins = [f"--plugin={name}={FOLDER / name}" for name in PLUGINS]
    outputs = [f"--{name}_{kind}" for name in ("go", "go-grpc") for kind in (f"out={folder}", f"opt=module={MODULE}")]
    subprocess.run([*protoc, *plugins, *outputs, *sources], cwd=cwd, check=True)
    return folder / GENERATED.relative_to(ROOT / "sdk/go")


def install() -> None:
    """Put the plugins into .tools, unless these very ones are there."""
    stamp = FOLDER / "stamp"
    wanted = "\n".join(PLUGINS.values())
    if stamp.exists() and stamp.read_text() == wanted:
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    for plugin in PLUGINS.values():
        subprocess.run(["go", "install", plugin], env={**os.environ, "GOBIN": str(FOLDER.resolve())}, check=True)
    stamp.write_text(wanted)
