"""The interceptor that lets in only who may: by token, or by the certificate that TLS has checked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any

from sagaline_server.api.errors import Refused, abort
from sagaline_server.api.handlers import Answer, Context, Handler, Stream, WrappingInterceptor, wrapped
from sagaline_server.runtime.access import OPEN, Access, bearer, may_call

_NAMES = ("x509_common_name", "x509_subject_alternative_name")


class AccessGuard(WrappingInterceptor):
    """Checks every call before anything of it is looked at."""

    def __init__(self, access: Access) -> None:
        """Guard by rules, which may change."""
        super().__init__()
        self._access = access

    def wrap(self, method: str, handler: Handler) -> Handler:
        """Return the checked handler; what is open to everybody as it is."""
        return handler if method.startswith(OPEN) else wrapped(handler, _Checked(self._access, method))


class _Checked:
    """What the guard does to one method."""

    def __init__(self, access: Access, method: str) -> None:
        self._access = access
        self._method = method

    async def _check(self, context: Context) -> None:
        metadata = {str(key).lower(): value for key, value in context.invocation_metadata() or ()}
        party = self._access.find(bearer(str(metadata.get("authorization", ""))), _certificate_names(context))
        if party is None:
            await abort(context, Refused("UNAUTHENTICATED"))
        elif not may_call(party, self._method):
            name = self._method.rpartition("/")[2]
            words = f"{party.name} may {', '.join(party.may)}, which is not enough for {name}"
            await abort(context, Refused("PERMISSION_DENIED", words))

    def answer(self, behaviour: Answer) -> Answer:
        async def checked(request: Any, context: Context) -> Any:
            await self._check(context)
            return await behaviour(request, context)

        return checked

    def stream(self, behaviour: Stream) -> Stream:
        async def checked(request: Any, context: Context) -> AsyncIterator[Any]:
            await self._check(context)
            async with aclosing(behaviour(request, context)) as responses:  # type: ignore[type-var]
                async for response in responses:
                    yield response

        return checked


def _certificate_names(context: Context) -> Iterator[str]:
    about = context.auth_context()
    for key in _NAMES:
        for name in about.get(key, ()):
            yield name.decode(errors="replace")
