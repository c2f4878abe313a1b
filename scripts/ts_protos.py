"""The TypeScript half of gen_protos.py: sdk/typescript/src/gen, by the generator that package-lock.json pins."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "sdk/typescript"
GENERATED = PACKAGE / "src/gen"
OPTIONS = (
    "env=node",
    "esModuleInterop=true",
    "importSuffix=.js",
    "forceLong=bigint",
    "oneof=unions-value",
    "useMapType=true",
    "outputJsonMethods=false",
    "outputServices=grpc-js",
    "useDate=false",
    "unrecognizedEnum=false",
    "removeEnumPrefix=true",
    "outputIndex=false",
    "annotateFilesWithVersion=false",
)


def is_possible() -> bool:
    """Whether this machine has Node. Who works on Python alone needs none."""
    return shutil.which("node") is not None and shutil.which("npm") is not None


def generate(protoc: Sequence[str], sources: Sequence[str], folder: Path, cwd: Path) -> Path:
    """Generate into a folder, with a protoc that knows its includes; returns where the files are."""
    install()
    plugin = f"--plugin=protoc-gen-ts_proto={PACKAGE / 'node_modules/.bin/protoc-gen-ts_proto'}"
    outputs = [f"--ts_proto_out={folder}", f"--ts_proto_opt={','.join(OPTIONS)}"]
    subprocess.run([*protoc, plugin, *outputs, *sources], cwd=cwd, check=True)
    return folder


def install() -> None:
    """Install what package-lock.json names, unless that is what is there."""
    stamp = PACKAGE / "node_modules/.sagaline-stamp"
    digest = hashlib.sha256((PACKAGE / "package-lock.json").read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == digest:
        return
    subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"], cwd=PACKAGE, check=True)
    stamp.write_text(digest)


if __name__ == "__main__":
    install()
