"""TLS: the server's settings and the commands' options, with certificates of an authority that only the tests trust."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
import trustme

from sagaline import errors, sync
from sagaline.client import Client
from tests.integration.secs import ANY_PORT, CLI, SECONDS, SERVER, run, started

PROGRAM = """
from sagaline import GraphBuilder, action

@action
async def greet(name: str) -> str:
    return f"hello, {name}"

@greet.undo
async def unsay(name: str) -> None: ...

build = GraphBuilder("hello", params=str)
graph = build.build(result=build.add("greet", greet, build.params))
actions = [greet]
"""


@dataclass(frozen=True)
class Files:
    """Certificates and keys in PEM."""

    directory: Path

    def path(self, name: str) -> str:
        return str(self.directory / name)

    @property
    def client(self) -> tuple[str, ...]:
        """Options of a client with a certificate."""
        return ("--ca", self.path("ca.pem"), "--cert", self.path("client.pem"), "--key", self.path("client.key"))

    @property
    def anonymous(self) -> tuple[str, ...]:
        """Options of a client without one."""
        return ("--ca", self.path("ca.pem"))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    directory = tmp_path_factory.mktemp("tls")
    authority, stranger = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(directory / "ca.pem")
    stranger.cert_pem.write_to_path(directory / "stranger-ca.pem")
    for name, certificate in {
        "server": authority.issue_cert("127.0.0.1", "localhost"),
        "client": authority.issue_cert("client@example.org"),
        "stranger": stranger.issue_cert("client@example.org"),
    }.items():
        certificate.private_key_pem.write_to_path(directory / f"{name}.key")
        for blob in certificate.cert_chain_pems:
            blob.write_to_path(directory / f"{name}.pem", append=True)
    (directory / "no.pem").write_text("this is no certificate\n")
    (directory / "program.py").write_text(PROGRAM)
    return Files(directory)


@pytest.fixture(params=["any client", "clients with a certificate"])
async def sec(request: pytest.FixtureRequest, files: Files, tmp_path: Path) -> AsyncIterator[tuple[str, bool]]:
    """The address of a SEC with TLS, and whether it demands a certificate."""
    demands = request.param == "clients with a certificate"
    settings = {"tls_cert": files.path("server.pem"), "tls_key": files.path("server.key")}
    if demands:
        settings["tls_client_ca"] = files.path("ca.pem")
    given = [part for name, value in settings.items() for part in (f"--{name.replace('_', '-')}", value)]
    async with started(*SERVER, "--listen", ANY_PORT, "--data-dir", str(tmp_path / "data"), *given) as process:
        yield await process.address(), demands


async def create(files: Files, address: str, *options: str) -> tuple[int, str, str]:
    """Create a saga and wait for it."""
    command = ("create", "program:graph", "--params", '"Ann"', "--wait", "-o", "json", "--address", address)
    return await run(*CLI, *command, *options, directory=files.directory)


async def test_a_worker_and_a_client_with_the_authority_and_a_certificate(files: Files, sec: tuple[str, bool]) -> None:
    address, _ = sec
    worker = (*CLI, "worker", "program:actions", "--address", address, *files.client)
    async with started(*worker, directory=files.directory):
        code, out, said = await create(files, address, *files.client)
        assert (code, said) == (0, "")
        assert "hello, Ann" in out


async def test_the_environment_may_name_the_files(files: Files, sec: tuple[str, bool]) -> None:
    address, _ = sec
    environment = {
        "SAGALINE_ADDRESS": address,
        "SAGALINE_CA": files.path("ca.pem"),
        "SAGALINE_CERT": files.path("client.pem"),
        "SAGALINE_KEY": files.path("client.key"),
    }
    assert await run(*CLI, "list", environment=environment) == (0, "", "there is no saga\n")
    code, _, said = await run(
        *CLI, "list", "--timeout", "1s", "--ca", files.path("stranger-ca.pem"), environment=environment
    )
    assert code == 5, said


async def test_a_client_without_a_certificate_is_let_in_only_where_none_is_demanded(
    files: Files, sec: tuple[str, bool]
) -> None:
    address, demands = sec
    code, _, said = await run(*CLI, "list", "--timeout", "1s", "--address", address, *files.anonymous)
    assert code == (5 if demands else 0), said


@pytest.mark.parametrize("trouble", ["plain text", "an authority that did not sign", "a certificate of a stranger"])
async def test_what_is_not_trusted_is_not_reached(files: Files, sec: tuple[str, bool], trouble: str) -> None:
    address, demands = sec
    options: tuple[str, ...] = ()
    if trouble == "an authority that did not sign":
        options = ("--ca", files.path("stranger-ca.pem"))
    elif trouble == "a certificate of a stranger":
        stranger = ("--cert", files.path("stranger.pem"), "--key", files.path("stranger.key"))
        options = (*files.anonymous, *stranger)
    code, out, said = await run(*CLI, "list", "--timeout", "1s", "--address", address, *options)
    if trouble == "a certificate of a stranger" and not demands:
        assert code == 0, "where nobody asks for a certificate, nobody looks at it"
        return
    assert (code, out) == (5, "")
    assert said.startswith(f"error: no SEC answers at {address}: ")


async def test_the_pages_ask_for_the_same_certificates(files: Files, tmp_path: Path) -> None:
    given = {name: files.path(file) for name, file in (("cert", "server.pem"), ("key", "server.key"))}
    options = [part for name, path in given.items() for part in (f"--tls-{name}", path)]
    options += ["--tls-client-ca", files.path("ca.pem"), "--web-listen", ANY_PORT]
    async with started(*SERVER, "--listen", ANY_PORT, "--data-dir", str(tmp_path / "data"), *options) as process:
        address: str = (await process.logged("web_ready"))["address"]
        assert address.startswith("https://127.0.0.1:")
        port = int(address.rstrip("/").rpartition(":")[2])
        trusting = ssl.create_default_context(cafile=files.path("ca.pem"))
        assert await page(port, trusting) == b""
        trusting.load_cert_chain(files.path("client.pem"), files.path("client.key"))
        assert (await page(port, trusting)).startswith(b"HTTP/1.1 200 ")


async def page(port: int, tls: ssl.SSLContext) -> bytes:
    """Return what is answered; nothing where the connection is refused, which may come to light when reading."""
    async with asyncio.timeout(SECONDS):
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
            writer.write(b"GET /secs HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = await reader.read()
        except OSError:
            return b""
        writer.close()
        return answer


async def test_both_faces_of_the_client_take_credentials(files: Files, sec: tuple[str, bool]) -> None:
    address, _ = sec
    credentials = grpc.ssl_channel_credentials(
        (files.directory / "ca.pem").read_bytes(),
        (files.directory / "client.key").read_bytes(),
        (files.directory / "client.pem").read_bytes(),
    )
    async with Client(address, credentials=credentials) as client:
        with pytest.raises(errors.SagaNotFound):
            await client.get("s")
    with sync.Client(address, credentials=credentials) as sync_client, pytest.raises(errors.SagaNotFound):
        sync_client.get("s")


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"tls_cert": "no.pem", "tls_key": "server.key"}, "tls_cert"),
        ({"tls_cert": "server.pem", "tls_key": "client.key"}, "tls_key"),
        ({"tls_cert": "server.pem", "tls_key": "server.key", "tls_client_ca": "no.pem"}, "tls_client_ca"),
    ],
    ids=["no certificate", "another's key", "no authority"],
)
async def test_a_server_says_which_of_its_files_is_wrong(
    files: Files, tmp_path: Path, settings: dict[str, str], named: str
) -> None:
    given = [part for name, value in settings.items() for part in (f"--{name.replace('_', '-')}", files.path(value))]
    code, _, said = await run(*SERVER, "--listen", ANY_PORT, "--data-dir", str(tmp_path / "data"), *given)
    assert code == 2
    (line,) = said.splitlines()
    assert named in line
    assert files.path(settings[named]) in line
