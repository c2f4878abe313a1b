"""`import sagaline` is quick and loads little; names come when they are used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import sagaline

IMPORT_SECONDS_MAX = 0.25


def run(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def loaded_by(statement: str) -> set[str]:
    program = f"import sys; {statement}; print(' '.join(sys.modules))"
    return set(run(program).split())


def test_importing_the_package_loads_none_of_its_dependencies() -> None:
    loaded = loaded_by("import sagaline")
    assert not {name for name in loaded if name.startswith(("grpc", "google", "asyncio", "sagaline."))}


def test_building_graphs_needs_no_grpc_and_no_optional_library() -> None:
    loaded = loaded_by("from sagaline import GraphBuilder, RetryPolicy, action, encode")
    assert "google.protobuf.message" in loaded
    assert not loaded & {"grpc", "pydantic", "msgspec", "google.protobuf.json_format", "click", "rich"}


def test_importing_is_quick() -> None:
    """The processor's time, and the best of several: the machine is shared."""
    program = "import time; t = time.process_time(); import sagaline; print(time.process_time() - t)"
    assert min(float(run(program)) for _ in range(3)) < IMPORT_SECONDS_MAX / 5


@pytest.mark.parametrize("name", sagaline.__all__)
def test_every_name_can_be_imported(name: str) -> None:
    assert getattr(sagaline, name) is not None
    assert name in dir(sagaline)


def test_what_the_checkers_see_is_what_there_is() -> None:
    """The imports under TYPE_CHECKING and the table of lazy names are written twice; they must agree."""
    listed = {*sagaline._MODULE_OF, "errors"}
    assert set(sagaline.__all__) == listed
    assert sagaline.__file__ is not None
    text = Path(sagaline.__file__).read_text(encoding="utf-8")
    for module, names in sagaline._MODULES.items():
        assert f"from {module} import {', '.join(names)}\n" in text


def test_other_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = sagaline.nothing  # type: ignore[attr-defined]


def test_a_sec_loads_nothing_to_draw_with_and_leaves_it_to_others() -> None:
    program = (
        "from sagaline_server.app.lean import import_structlog_alone as alone; alone(); import sagaline_server.app.sec"
    )
    loaded = loaded_by(program)
    assert {"structlog", "grpc"} <= loaded
    assert not {name for name in loaded if name.partition(".")[0] in {"rich", "pygments"}}
    assert run(f"{program}; import rich.console; alone(); print(rich.__name__)") == "rich"
