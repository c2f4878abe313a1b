"""Who may call what: parties known by a token or by their certificate, and the roles that they have.

Tokens are kept as SHA-256 digests: whoever reads the file can't use it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import msgspec

READ, CLIENT, WORK, ADMIN = "read", "client", "work", "admin"
ROLES = (READ, CLIENT, WORK, ADMIN)

_SAGAS, _ADMIN, _WORKERS = "/sagaline.v1.SagaService/", "/sagaline.v1.AdminService/", "/sagaline.v1.WorkerService/"
READING = frozenset(
    {
        *(f"{_SAGAS}{name}" for name in ("GetSaga", "ListSagas", "CountSagas", "WatchSaga", "WaitSaga", "GetSagaLog")),
        *(
            f"{_ADMIN}{name}"
            for name in ("ListWorkers", "ListSecs", "ExplainSaga", "ListLimits", "ListActionBreakpoints")
        ),
    }
)
OPEN = ("/grpc.health.v1.Health/",)
"""For everybody: a probe has no token."""


class Party(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Somebody who may do something, as the access file has it."""

    name: str
    may: tuple[str, ...]
    """Roles."""
    token_sha256: str = ""
    """In hexadecimal."""
    certificate: str = ""
    """Common name or alternative name of the client's certificate."""


class AccessFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The access file, read."""

    party: tuple[Party, ...] = ()


def problem_of(parties: Sequence[Party]) -> str:
    """Return what is wrong with parties; empty if nothing is."""
    if not parties:
        return "there is no party in it, so nobody could call"
    for party in parties:
        if unknown := [role for role in party.may if role not in ROLES]:
            return f"{party.name}: {unknown[0]!r} is no role; they are {', '.join(ROLES)}"
        if not party.may:
            return f"{party.name} may do nothing: give it roles in may"
        if bool(party.token_sha256) == bool(party.certificate):
            return f"{party.name}: give either token_sha256 or certificate"
        digest = party.token_sha256
        if digest and not (len(digest) == 64 and all(c in "0123456789abcdef" for c in digest)):  # noqa: PLR2004
            return f"{party.name}: token_sha256 is 64 hexadecimal digits, small ones"
    keys = [party.token_sha256 or party.certificate for party in parties]
    twice = [party.name for party, key in zip(parties, keys, strict=True) if keys.count(key) > 1]
    return f"{' and '.join(twice)} have the same token or certificate" if twice else ""


class Access:
    """The rules in force. They may be replaced while calls are served."""

    def __init__(self, parties: Sequence[Party]) -> None:
        """Begin with these."""
        self._by_token: Mapping[str, Party] = {}
        self._by_certificate: Mapping[str, Party] = {}
        self.replace(parties)

    def replace(self, parties: Sequence[Party]) -> None:
        """Take other rules; streams that are open stay open."""
        self._by_token = {party.token_sha256: party for party in parties if party.token_sha256}
        self._by_certificate = {party.certificate: party for party in parties if party.certificate}

    def find(self, token: str, certificates: Iterable[str]) -> Party | None:
        """Return the party of a token, else of a certificate with one of these names; None: it is nobody's."""
        if token:
            return self._by_token.get(hashlib.sha256(token.encode()).hexdigest())
        return next((self._by_certificate[name] for name in certificates if name in self._by_certificate), None)


def may_call(party: Party, method: str) -> bool:
    """Say whether a party may call a method, given as "/package.Service/Method"."""
    if ADMIN in party.may:
        return True
    if method in READING:
        return READ in party.may or CLIENT in party.may
    if method.startswith(_SAGAS):
        return CLIENT in party.may
    if method.startswith(_WORKERS):
        return WORK in party.may
    # Reflection tells what is served, to whoever may anything; orders to SECs and their connections are for admins.
    return method.startswith("/grpc.reflection.")


def may_look(party: Party) -> bool:
    """Say whether a party may see sagas."""
    return may_call(party, f"{_SAGAS}GetSaga")


def bearer(authorization: str) -> str:
    """Return the token of an Authorization header; empty if it has none."""
    kind, _, token = authorization.partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""
