"""Who may call what, by tokens and by certificates: over gRPC, in the commands, and on the pages."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
import trustme
from grpc_health.v1 import health_pb2, health_pb2_grpc

from sagaline import errors
from sagaline.client import Client
from tests.integration.secs import ANY_PORT, CLI, SECONDS, SERVER, LoggedProcess, run, started

PARTIES = {"eve": "read", "shop": "client", "carl": "work", "ann": "admin"}


def token_of(name: str) -> str:
    return f"token-of-{name}"


def access_file(parties: dict[str, str], certificate: str = "") -> str:
    """Return the text of an access file."""
    text = ""
    for name, role in parties.items():
        digest = hashlib.sha256(token_of(name).encode()).hexdigest()
        text += f'[[party]]\nname = "{name}"\nmay = ["{role}"]\ntoken_sha256 = "{digest}"\n'
    return text + (f'[[party]]\nname = "cert"\nmay = ["read"]\ncertificate = "{certificate}"\n' if certificate else "")


@dataclass
class Guarded:
    """A SEC that lets in only who may."""

    process: LoggedProcess
    address: str
    pages: int
    directory: Path

    def path(self, name: str) -> str:
        return str(self.directory / name)

    def credentials(self, token: str, *, certificate: bool = False) -> grpc.ChannelCredentials:
        def read(name: str) -> bytes:
            return (self.directory / name).read_bytes()

        shown = (read("client.key"), read("client.pem")) if certificate else (None, None)
        tls = grpc.ssl_channel_credentials(read("ca.pem"), *shown)
        if not token:
            return tls
        return grpc.composite_channel_credentials(tls, grpc.access_token_call_credentials(token))

    def client(self, token: str) -> Client:
        return Client(self.address, credentials=self.credentials(token), patience_s=1)

    async def page(self, authorization: str = "") -> int:
        """Ask for a page; returns the status."""
        tls = ssl.create_default_context(cafile=self.path("ca.pem"))
        async with asyncio.timeout(SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.pages, ssl=tls)
            header = f"Authorization: {authorization}\r\n" if authorization else ""
            writer.write(f"GET /secs HTTP/1.1\r\nHost: localhost\r\n{header}\r\n".encode())
            answer = await reader.read()
            writer.close()
        return int(answer.split()[1])


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Guarded]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    for name, host in (("server", "127.0.0.1"), ("client", "shop.example.org")):
        issued = authority.issue_cert(host)
        issued.private_key_pem.write_to_path(tmp_path / f"{name}.key")
        issued.cert_chain_pems[0].write_to_path(tmp_path / f"{name}.pem")
    (tmp_path / "access.toml").write_text(access_file(PARTIES))
    tls = ("--tls-cert", str(tmp_path / "server.pem"), "--tls-key", str(tmp_path / "server.key"))
    command = (*SERVER, "--listen", ANY_PORT, "--web-listen", ANY_PORT, "--data-dir", str(tmp_path / "data"), *tls)
    async with started(*command, "--access-file", str(tmp_path / "access.toml")) as process:
        web: str = (await process.logged("web_ready"))["address"]
        yield Guarded(process, await process.address(), int(web.rstrip("/").rpartition(":")[2]), tmp_path)


async def test_each_role_may_what_it_is_for_and_no_more(guarded: Guarded) -> None:
    async with guarded.client("") as nobody, guarded.client("wrong") as stranger:
        for client in (nobody, stranger):
            with pytest.raises(errors.NotAuthenticated, match="authorization: Bearer"):
                await client.get("s")
    async with guarded.client(token_of("eve")) as reader:
        assert await reader.secs()
        with pytest.raises(errors.SagaNotFound):
            await reader.get("s")
        with pytest.raises(errors.NotPermitted, match="eve may read, which is not enough for PauseSaga"):
            await reader.pause("s")
    async with guarded.client(token_of("shop")) as shop:
        with pytest.raises(errors.SagaNotFound):
            await shop.pause("s")
        with pytest.raises(errors.NotPermitted):
            await shop.drain("other")
    async with guarded.client(token_of("carl")) as worker:
        with pytest.raises(errors.NotPermitted):
            await worker.get("s")
    async with guarded.client(token_of("ann")) as admin:
        with pytest.raises(errors.NotFound):
            await admin.drain("other")


async def test_probes_need_no_token(guarded: Guarded) -> None:
    async with grpc.aio.secure_channel(guarded.address, guarded.credentials("")) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=SECONDS)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_commands_and_workers_show_tokens(guarded: Guarded) -> None:
    asked = ("list", "--address", guarded.address, "--ca", guarded.path("ca.pem"))
    (guarded.directory / "token").write_text(f"{token_of('eve')}\n")
    assert (await run(*CLI, *asked, "--token-file", guarded.path("token")))[0] == 0
    assert (await run(*CLI, *asked, environment={"SAGALINE_TOKEN": token_of("eve")}))[0] == 0
    code, _, said = await run(*CLI, *asked)
    assert (code, "[UNAUTHENTICATED]" in said) == (4, True)
    code, _, said = await run(*CLI, "list", "--token-file", guarded.path("token"))
    assert (code, said) == (2, "error: a token is sent over TLS only: give --ca\n")
    program = "from sagaline import action\n@action('greet')\nasync def greet(name: str) -> str:\n    return name\n"
    (guarded.directory / "program.py").write_text(program)
    worker = ("worker", "program:greet", *asked[1:])
    carl = {"SAGALINE_TOKEN": token_of("carl")}
    async with started(*CLI, *worker, environment=carl, directory=guarded.directory):
        await guarded.process.logged("worker_connected")


async def test_the_pages_ask_for_a_token(guarded: Guarded) -> None:
    def basic(token: str) -> str:
        return f"Basic {base64.b64encode(f'any:{token}'.encode()).decode()}"

    assert await guarded.page() == 401
    assert await guarded.page("Basic !") == 401
    assert await guarded.page(basic("wrong")) == 401
    assert await guarded.page(basic(token_of("carl"))) == 403
    assert await guarded.page(basic(token_of("eve"))) == 200
    assert await guarded.page(f"Bearer {token_of('ann')}") == 200


def replace(guarded: Guarded, text: str) -> None:
    """Put another file in the place of the one there is: nobody reads a part of it."""
    (guarded.directory / "new.toml").write_text(text)
    (guarded.directory / "new.toml").replace(guarded.directory / "access.toml")


async def test_a_file_that_changes_is_read_again_and_a_bad_one_changes_nothing(guarded: Guarded) -> None:
    replace(guarded, "[[party]]\nname = 'x'\n")
    await guarded.process.logged("access_file_unusable")
    assert await guarded.page(f"Bearer {token_of('eve')}") == 200
    replace(guarded, access_file({"new": "read"}))
    await guarded.process.logged("access_file_read")
    assert await guarded.page(f"Bearer {token_of('eve')}") == 401
    assert await guarded.page(f"Bearer {token_of('new')}") == 200


async def test_a_certificate_names_a_party(tmp_path: Path, guarded: Guarded) -> None:
    """Where clients are asked for certificates: by a name in it, with no token at all."""
    (tmp_path / "by-certificate.toml").write_text(access_file({}, "shop.example.org"))
    tls = [part for name, file in TLS.items() for part in (f"--tls-{name}", guarded.path(file))]
    command = (*SERVER, "--listen", ANY_PORT, "--data-dir", str(tmp_path / "other"), *tls)
    async with started(*command, "--access-file", guarded.path("by-certificate.toml")) as process:
        credentials = guarded.credentials("", certificate=True)
        async with Client(await process.address(), credentials=credentials) as client:
            assert await client.secs()
            with pytest.raises(errors.NotPermitted, match="cert may read"):
                await client.pause("s")


TLS = {"cert": "server.pem", "key": "server.key", "client-ca": "ca.pem"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("party = 3", "Expected"),
        ("", "no party"),
        ("[[party]]\nname = 'x'\nmay = ['rule']\ntoken_sha256 = ''", "'rule' is no role"),
        ("[[party]]\nname = 'x'\nmay = []\ncertificate = 'x'", "may do nothing"),
        ("[[party]]\nname = 'x'\nmay = ['read']", "either token_sha256 or certificate"),
        ("[[party]]\nname = 'x'\nmay = ['read']\ntoken_sha256 = 'abc'", "64 hexadecimal digits"),
        (access_file({"a": "read"}) + access_file({"a": "read"}), "a and a have the same"),
        (None, "No such file"),
    ],
)
async def test_a_file_that_cannot_be_used_ends_the_start(tmp_path: Path, text: str | None, problem: str) -> None:
    if text is not None:
        (tmp_path / "access.toml").write_text(text)
    given = ("--data-dir", str(tmp_path / "data"), "--access-file", str(tmp_path / "access.toml"))
    code, _, said = await run(*SERVER, "--listen", ANY_PORT, *given)
    assert (code, problem in said) == (2, True), said
    assert "Traceback" not in said
