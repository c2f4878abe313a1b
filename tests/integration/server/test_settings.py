"""Settings: where they come from, and what a SEC says of those that are wrong."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from sagaline_server.app.settings import Settings, SettingsError, load_settings
from tests.integration.secs import ANY_PORT, CLI, SERVER, run

NO_ENVIRONMENT: Mapping[str, str] = {}


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "sec.toml"
    file.write_text('sec_id = "file"\nlog_level = "warning"\nlease_ttl = 30\nreflection = false\n')
    environment = {"SAGALINE_SERVER_LOG_LEVEL": "error", "SAGALINE_SERVER_SEC_ID": "environment", "OTHER": "x"}
    settings = load_settings(str(file), {"sec_id": "line"}, environment)
    assert (settings.sec_id, settings.log_level, settings.lease_ttl) == ("line", "error", 30)
    assert settings.reflection is False


def test_a_sec_has_a_name_that_can_be_one() -> None:
    named = load_settings(None, {}, NO_ENVIRONMENT)
    assert named.sec_id
    assert load_settings(None, {"sec_id": named.sec_id}, NO_ENVIRONMENT).sec_id == named.sec_id


def test_what_kubernetes_puts_into_the_environment_is_no_setting() -> None:
    environment = {
        "SAGALINE_SERVER_SERVICE_HOST": "10.0.0.1",
        "SAGALINE_SERVER_SERVICE_PORT_GRPC": "7070",
        "SAGALINE_SERVER_PORT": "tcp://10.0.0.1:7070",
        "SAGALINE_SERVER_PORT_7070_TCP_ADDR": "10.0.0.1",
    }
    assert load_settings(None, {"sec_id": "s"}, environment) == Settings(sec_id="s")


WRONG = [
    ("listen", "7070"),
    ("listen", ":7070"),
    ("listen", ""),
    ("listen", "127.0.0.1:70700"),
    ("listen", "0.0.0.0:7070"),
    ("advertise", "sec-1"),
    ("sec_id", "a/b"),
    ("sec_id", "s" * 65),
    ("store", "redis"),
    ("lease_ttl", "soon"),
    ("lease_ttl", "1"),
    ("tls_cert", "cert.pem"),
    ("tls_key", "key.pem"),
    ("tls_client_ca", "ca.pem"),
    ("insecure_listen", "perhaps"),
    ("metrics_listen", "9090"),
    ("trace_endpoint", "4317"),
    ("trace_endpoint", "http://localhost:4317"),
    ("trace_ca", "ca.pem"),
    ("metrics_listen", "here:http"),
    ("reflection", "2"),
    ("log_level", "loud"),
    ("grace_timeout", "0"),
    ("grace_timeout", "nan"),
    ("heartbeat_interval", "-1"),
    ("heartbeat_timeout", "5"),
    ("heartbeat_timeout", "nan"),
    ("shutdown_timeout", "inf"),
    ("no_such_thing", "1"),
]


@pytest.mark.parametrize(("name", "value"), WRONG, ids=[f"{name}={value[:12]}" for name, value in WRONG])
def test_a_wrong_setting_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=rf"\b{name}\b"):
        load_settings(None, {name: value}, NO_ENVIRONMENT)


def test_the_source_of_a_wrong_setting_is_named_and_what_it_may_be(tmp_path: Path) -> None:
    file = tmp_path / "sec.toml"
    file.write_text('store = "redis"\n')
    with pytest.raises(SettingsError, match=rf"store, in {file}: .*one of sqlite, etcd, memory"):
        load_settings(str(file), {}, NO_ENVIRONMENT)
    with pytest.raises(SettingsError, match="lease_ttl, from SAGALINE_SERVER_LEASE_TTL: "):
        load_settings(None, {}, {"SAGALINE_SERVER_LEASE_TTL": "soon"})
    with pytest.raises(SettingsError, match="lease_tll, from SAGALINE_SERVER_LEASE_TLL, is no setting"):
        load_settings(None, {}, {"SAGALINE_SERVER_LEASE_TLL": "9"})


@pytest.mark.parametrize("text", ["listen = [", "[section]\nlisten = 1\n", None])
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "sec.toml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(SettingsError, match=str(file)):
        load_settings(str(file), {}, NO_ENVIRONMENT)


@pytest.mark.parametrize(
    ("command", "named"),
    [
        ((*SERVER, "--lease-ttl", "soon"), "lease_ttl"),
        ((*CLI, "server", "--set", "lease_ttl=soon"), "lease_ttl"),
        ((*CLI, "dev", "--listen", "7070"), "listen"),
        ((*SERVER, "--listen", ANY_PORT, "--tls-cert", "nowhere.pem", "--tls-key", "no.pem"), "tls_cert nowhere.pem"),
        ((*SERVER, "--listen", ANY_PORT, "--store", "etcd", "--etcd-ca", "nowhere.pem"), "nowhere.pem"),
        ((*SERVER, "--listen", ANY_PORT, "--store", "etcd", "--etcd-endpoints", ","), "etcd"),
        ((*SERVER, "--listen", ANY_PORT, "--data-dir", f"{__file__}/data"), "data_dir"),
    ],
    ids=[
        "module",
        "sagaline server",
        "sagaline dev",
        "no certificate",
        "no authority of etcd",
        "no endpoint",
        "no directory",
    ],
)
async def test_a_sec_with_wrong_settings_says_so_in_one_line_and_does_not_start(
    command: tuple[str, ...], named: str
) -> None:
    code, _, errors = await run(*command)
    assert code == 2
    assert named in errors
    assert errors.startswith("sagaline server: ")
    assert errors.count("\n") == 1
