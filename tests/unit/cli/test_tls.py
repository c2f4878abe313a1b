"""The files of TLS: what cannot be used is said before any SEC is asked. The others: tests/integration/tls."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme

from tests.unit.cli.conftest import Sagaline


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The present directory, with an authority, two keys and a certificate of one of them."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    for name in ("mine", "other"):
        certificate = authority.issue_cert(f"{name}@example.org")
        certificate.private_key_pem.write_to_path(tmp_path / f"{name}.key")
        certificate.cert_chain_pems[0].write_to_path(tmp_path / f"{name}.pem")
    (tmp_path / "garbage").write_text("garbage")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--ca", "nowhere"), "--ca nowhere: No such file or directory"),
        (("--ca", "."), "--ca .: Is a directory"),
        (("--ca", "garbage"), "--ca garbage: no certificate"),
        (("--ca", "mine.key"), "--ca mine.key: no certificate"),
        (("--cert", "mine.pem"), "--cert and --key go together"),
        (("--ca", "ca.pem", "--key", "mine.key"), "--cert and --key go together"),
        (("--cert", "nowhere", "--key", "mine.key"), "--cert nowhere with --key mine.key: No such file"),
        (("--cert", "mine.pem", "--key", "other.key"), "--cert mine.pem with --key other.key: no certificate"),
        (("--cert", "mine.pem", "--key", "garbage"), "--cert mine.pem with --key garbage: no certificate"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("command", [("list",), ("worker", "tests.unit.cli.program:ACTIONS")], ids=["list", "worker"])
def test_a_file_that_cannot_be_used(
    sagaline_offline: Sagaline, directory: Path, command: tuple[str, ...], options: tuple[str, ...], said: str
) -> None:
    result = sagaline_offline(*command, *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"error: {said}")
    assert result.stderr.count("\n") == 1


def test_the_environment_is_looked_at_too(
    sagaline_offline: Sagaline, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAGALINE_CA", "nowhere")
    assert sagaline_offline("list").stderr == "error: --ca nowhere: No such file or directory\n"
