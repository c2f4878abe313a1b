"""Make .venv hold what the project needs, at the pinned versions: four distributions and the `dev` group.

    python3 scripts/setup_env.py            do nothing where nothing changed since the last time
    python3 scripts/setup_env.py --upgrade  make .venv anew with the newest of all; rewrite constraints.txt

Runs on the bare system Python, before anything is installed. Uses uv where it is on PATH, else pip, which
cannot read dependency groups (pip 25.1 can; Debian 12 has 23.0): hence this script.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin/python"
CONSTRAINTS = ROOT / "constraints.txt"
DISTRIBUTIONS = {"sdk/python": "[cli,pydantic,msgspec]", "server": "", "workers/python": "", "tests/conformance": ""}
GROUP = "dev"
PYTHON_MIN = (3, 11)
HEADER = "# Versions that were tested together. Made by `make upgrade`; every install uses them.\n"


def main() -> int:
    run_on_a_new_enough_python()
    upgrade = "--upgrade" in sys.argv[1:]
    tools = ROOT / ".tools"
    tools.mkdir(exist_ok=True)
    with (tools / "setup.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two `make` at once would install over each other
        return setup(upgrade=upgrade)


def setup(*, upgrade: bool) -> int:
    stamp = VENV / "stamp"
    if not upgrade and stamp.exists() and stamp.read_text() == digest():
        return 0
    if upgrade or not works(PYTHON, "import pip"):
        make_environment()
    print("installing into .venv", flush=True)
    install(upgrade=upgrade)
    if upgrade:
        freeze()
    stamp.write_text(digest())
    return 0


def run_on_a_new_enough_python() -> None:
    if sys.version_info >= PYTHON_MIN:
        return
    for minor in range(20, PYTHON_MIN[1] - 1, -1):
        other = shutil.which(f"python3.{minor}")
        if other and works(Path(other), "import venv"):  # a version manager's shim may be there and not work
            os.execv(other, [other, *sys.argv])  # noqa: S606 - no shell is wanted
    found = ".".join(map(str, sys.version_info[:3]))
    sys.exit(f"Python 3.11 or newer is needed; this is {found}, and no newer one is on PATH")


def digest() -> str:
    """Of all that decides what is installed."""
    files = [CONSTRAINTS, Path(__file__), *(ROOT / folder / "pyproject.toml" for folder in DISTRIBUTIONS)]
    contents = [path.read_text() for path in files if path.exists()]
    return hashlib.sha256("\0".join([*contents, *dependency_group(GROUP), str(ROOT)]).encode()).hexdigest()


def make_environment() -> None:
    print(f"making .venv with Python {sys.version.split()[0]}", flush=True)
    shutil.rmtree(VENV, ignore_errors=True)
    if not works(Path(sys.executable), "import ensurepip, venv"):
        install_ensurepip()
    subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)


def install_ensurepip() -> None:
    """Debian keeps it in a package of its own."""
    package = f"python3.{sys.version_info.minor}-venv"
    if not (os.geteuid() == 0 and shutil.which("apt-get")):
        sys.exit(f"this Python has no ensurepip, so no virtual environment can be made: install {package}")
    print(f"installing {package}", flush=True)
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    apt = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=120"]
    subprocess.run([*apt, "update"], env=quiet, check=True)
    subprocess.run([*apt, "install", "--no-install-recommends", package], env=quiet, check=True)


def install(*, upgrade: bool) -> None:
    requirements = dependency_group(GROUP)
    editables = [word for folder, extras in DISTRIBUTIONS.items() for word in ("-e", f"./{folder}{extras}")]
    pins = [] if upgrade or not CONSTRAINTS.exists() else ["-c", str(CONSTRAINTS)]
    uv = shutil.which("uv")
    if uv:
        command = [uv, "pip", "install", "--quiet", "--python", str(PYTHON)]
    else:
        command = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*command, *pins, *editables, *requirements], cwd=ROOT, check=True)


def dependency_group(name: str) -> list[str]:
    """Its requirements, those of the groups it includes among them."""
    import tomllib  # noqa: PLC0415 - an older Python must get as far as being told that it is too old

    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]

    def expand(group: str) -> list[str]:
        found: list[str] = []
        for entry in groups[group]:
            found += [entry] if isinstance(entry, str) else expand(entry["include-group"])
        return found

    return expand(name)


def freeze() -> None:
    command = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "freeze", "--exclude-editable"]
    pins = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    CONSTRAINTS.write_text(HEADER + pins)


def works(python: Path, code: str) -> bool:
    if not python.exists():
        return False
    return subprocess.run([str(python), "-c", code], capture_output=True, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
