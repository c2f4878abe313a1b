"""JSON Schemas and values against them, judged by a library. Nothing is ever fetched: references stay inside."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Never

import jsonschema_rs
import msgspec

from sagaline_server.core.data_types import Judge

KEPT = 1_000
"""Schemas that are kept ready."""
REASON_CHARS = 300


class SchemaJudge(Judge):
    """Validates. Keeps the validators that were used last."""

    def __init__(self) -> None:
        """Make one that knows no schema yet."""
        self._kept: OrderedDict[str, Any] = OrderedDict()

    def flaw(self, schema: str) -> str:
        """Say what makes a text no JSON Schema; empty: it is one."""
        try:
            self._validator(schema)
        except _Flaw as flaw:
            return str(flaw)
        return ""

    def verdict(self, schema: str, value: str) -> str:
        """Say why a JSON text does not fit a schema; empty: it fits. Never tells the value, which may be secret."""
        try:
            validator = self._validator(schema)
            loaded = msgspec.json.decode(value)
        except _Flaw:
            return ""  # told of the schema itself
        except (msgspec.DecodeError, RecursionError):
            return "it is not valid JSON"
        first = next(validator.iter_errors(loaded), None)
        return "" if first is None else _told(first)

    def _validator(self, schema: str) -> Any:
        found = self._kept.get(schema)
        if found is None:
            found = self._kept[schema] = _made(schema)
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(schema)
        return found


class _Flaw(Exception):
    """A text is no JSON Schema."""


def _made(schema: str) -> Any:
    try:
        loaded = msgspec.json.decode(schema)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _Flaw(f"it is not valid JSON: {error}") from None
    if not isinstance(loaded, dict | bool):
        raise _Flaw("a schema is a JSON object, or true or false")
    try:
        return jsonschema_rs.Draft202012Validator(loaded, mask="it", retriever=_refuse)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        raise _Flaw(f"it is no JSON Schema (2020-12): {_brief(error)}") from None


def _brief(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:REASON_CHARS]


def _refuse(uri: str) -> Never:
    raise ValueError(f"a schema refers to nothing outside of itself; this one does to {uri[:100]!r}")


def _told(error: Any) -> str:
    where = "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.instance_path)
    return f"at {where} {error.message}"[:REASON_CHARS]
