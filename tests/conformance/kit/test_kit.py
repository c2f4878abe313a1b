"""The kit passes what behaves and bites what does not: the Python worker, as it is and with faults planted in it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from sagaline_conformance.command import main
from sagaline_conformance.languages import languages
from sagaline_conformance.running import BEHAVIOURS, behaviours, run_all

ROOT = Path(__file__).resolve().parents[3]
WORKERS = ROOT / "tests/conformance/workers/python"
BITE_SECONDS = 4.0
"""How long a script waits for what a faulty worker never does."""

BITES = {
    "results_forgotten": "results_kept",
    "every_stream_gets_all": "windows_two_secs",
    "slots_not_counted": "window_kept",
    "runs_again": "attach_result",
    "no_epochs": "lower_epochs",
    "advice_interrupts": "unwinding_is_advice",
    "rejections_forgotten": "rejections_kept",
    "gives_up": "reconnect_for_ever",
    "questions_unanswered": "adoption",
    "rounds_to_failed": "four_outcomes",
    "no_heartbeats": "heartbeats",
    "leaves_early": "drain_waits_for_drained",
    "moves_ignored": "moved_saga",
    "both_at_once": "undo_waits_for_action",
    "hello_says_nothing": "results_finish_while_away",
    "outputs_unbounded": "oversize_output",
}
"""Faults, each with the behaviour that must find it."""


@pytest.mark.timeout(900)
def test_the_python_worker_behaves(capfd: pytest.CaptureFixture[str]) -> None:
    code = main(["--jobs", "4", "--", sys.executable, str(WORKERS / "worker.py")])
    count = len(behaviours())
    last = capfd.readouterr().out.splitlines()[-1]
    assert (code, last) == (0, f"CONFORMANCE OK languages=1 behaviours={count} passed={count} skipped=0")


@pytest.mark.timeout(900)
def test_each_planted_fault_is_found() -> None:
    async def problems() -> dict[str, str]:
        turn = asyncio.Semaphore(4)

        async def of(fault: str, behaviour: str) -> str:
            async with turn:
                (verdict,) = await run_all(
                    [sys.executable, str(WORKERS / "defective.py")],
                    behaviours([behaviour]),
                    jobs=1,
                    wait=BITE_SECONDS,
                    environment={"SAGALINE_DEFECT": fault},
                )
            return verdict.problem

        found = await asyncio.gather(*(of(*bite) for bite in BITES.items()))
        return dict(zip(BITES, found, strict=True))

    found = asyncio.run(problems())
    assert not [fault for fault, problem in found.items() if not problem]
    assert not [problem for problem in found.values() if "broke down" in problem]


def test_a_worker_that_does_not_start_is_a_failure(capfd: pytest.CaptureFixture[str]) -> None:
    code = main(["--only", "hello", "--wait", "10", "--", sys.executable, "-c", "print('hello from nowhere')"])
    output = capfd.readouterr().out
    assert code == 1
    assert output.splitlines()[-1] == "CONFORMANCE FAILED languages=1 behaviours=1 passed=0 skipped=0"
    assert "hello from nowhere" in output
    assert "the worker's process ended by itself, with 0" in output


def test_a_language_that_cannot_be_built_is_told_loudly_and_fails(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "tests/conformance/languages.toml"
    table.parent.mkdir(parents=True)
    table.write_text('[cobol]\nneeds = ["no-such-compiler"]\nbuild = []\nrun = ["x"]\n')
    code = main(["--only", "hello", "--root", str(tmp_path)])
    output = capfd.readouterr().out
    assert code == 1
    assert "SKIPPED: cobol: no-such-compiler is not on PATH" in output
    assert output.splitlines()[-1] == "CONFORMANCE FAILED languages=0 behaviours=1 passed=0 skipped=1"


def test_every_behaviour_has_its_page_and_its_script() -> None:
    folders = [path for path in BEHAVIOURS.iterdir() if path.is_dir() and path.name != "__pycache__"]
    assert sorted(path.name for path in folders) == [behaviour.name for behaviour in behaviours()]
    for behaviour in behaviours():
        assert behaviour.expected.startswith("**")
        assert callable(behaviour.script())


def test_the_four_languages_have_a_row() -> None:
    assert {language.name for language in languages(ROOT, "all")} == {"python", "go", "typescript", "java"}
