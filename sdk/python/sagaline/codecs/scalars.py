"""Codecs of the types that are one JSON scalar: numbers, text, times and the like."""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar
from uuid import UUID

from sagaline.codecs.codec import Codec, Json, Kind, Mismatch, expected

T = TypeVar("T")


def _pass_null(value: Any) -> None:
    if value is not None:
        raise expected("null", value)


def _pass_bool(value: Any) -> bool:
    if type(value) is not bool:
        raise expected("a boolean", value)
    return value


def _dump_int(value: Any) -> int:
    if type(value) is int:
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    raise expected("an integer", value)


def _load_int(value: Json) -> int:
    if type(value) is int:
        return value
    if type(value) is float and value.is_integer():
        return int(value)  # some languages write every number as a float
    raise expected("an integer", value)


def finite(value: float) -> float:
    """Return the number, which JSON must be able to say."""
    if not math.isfinite(value):
        raise Mismatch("NaN and infinity are not JSON: use None, or text")
    return value


def _pass_float(value: Any) -> float:
    if type(value) is float:
        return finite(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return finite(float(value))
        except OverflowError:
            raise Mismatch("the integer is too large for a float") from None
    raise expected("a number", value)


def _pass_str(value: Any) -> str:
    if type(value) is str:
        return value
    if isinstance(value, str):
        return str.__str__(value)
    raise expected("text", value)


def _dump_decimal(value: Any) -> str:
    if not isinstance(value, Decimal):
        raise expected("a Decimal", value)
    if not value.is_finite():
        raise Mismatch("NaN and infinity are not JSON: use None, or text")
    return str(value)


def _load_decimal(value: Json) -> Decimal:
    if type(value) not in (str, int, float):
        raise expected("a decimal number as text", value)
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise Mismatch("the text is not a decimal number") from None
    if not number.is_finite():
        raise Mismatch("the text is not a decimal number")
    return number


def _dump_date(value: Any) -> str:
    if not isinstance(value, date) or isinstance(value, datetime):
        raise expected("a date", value)
    return value.isoformat()


def _dump_bytes(value: Any) -> str:
    if not isinstance(value, bytes | bytearray | memoryview):
        raise expected("bytes", value)
    return base64.b64encode(value).decode("ascii")


def _load_bytes(value: Json) -> bytes:
    try:
        return base64.b64decode(_pass_str(value), validate=True)
    except (binascii.Error, ValueError):
        raise Mismatch("the text is not base64") from None


_DURATION = re.compile(
    r"(?P<sign>-?)P(?:(?P<weeks>\d+)W)?(?:(?P<days>\d+)D)?"
    r"(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+(?:[.,]\d{1,6})?)S)?)?",
    re.ASCII,
)


def _dump_duration(value: Any) -> str:
    """Write an ISO 8601 duration of days and seconds, exact to the microsecond."""
    if not isinstance(value, timedelta):
        raise expected("a timedelta", value)
    sign, span = ("-", -value) if value < timedelta(0) else ("", value)
    fraction = f".{span.microseconds:06}".rstrip("0") if span.microseconds else ""
    return f"{sign}P{span.days}DT{span.seconds}{fraction}S"


def _load_duration(value: Json) -> timedelta:
    found = _DURATION.fullmatch(_pass_str(value))
    if found is None or not any(found.group(unit) for unit in ("weeks", "days", "hours", "minutes", "seconds")):
        raise Mismatch("the text is not a duration of ISO 8601, such as PT1.5S; years and months have no fixed length")
    whole, _, fraction = (found["seconds"] or "0").replace(",", ".").partition(".")
    try:
        span = timedelta(
            weeks=int(found["weeks"] or 0),
            days=int(found["days"] or 0),
            hours=int(found["hours"] or 0),
            minutes=int(found["minutes"] or 0),
            seconds=int(whole),
            microseconds=int(fraction.ljust(6, "0")),
        )
    except (OverflowError, ValueError):
        raise Mismatch("the duration is too long") from None
    return -span if found["sign"] else span


def _text_codec(cls: type[T], what: str, write: Callable[[Any], str], read: Callable[[str], T], form: str) -> Codec:
    """Make the codec of a class that is written as text of a known form."""

    def dump(value: Any) -> str:
        if not isinstance(value, cls):
            raise expected(what, value)
        return write(value)

    def load(value: Json) -> T:
        text = _pass_str(value)
        try:
            return read(text)
        except ValueError:
            raise Mismatch(f"the text is not {what}") from None

    return Codec(dump, load, Kind.STRING, (cls,), lambda: {"type": "string", "format": form})


NULL = Codec(_pass_null, _pass_null, Kind.NULL, (type(None),), lambda: {"type": "null"})

SCALARS: dict[type, Codec] = {
    type(None): NULL,
    bool: Codec(_pass_bool, _pass_bool, Kind.BOOLEAN, (bool,), lambda: {"type": "boolean"}),
    int: Codec(_dump_int, _load_int, Kind.NUMBER, (int,), lambda: {"type": "integer"}),
    float: Codec(_pass_float, _pass_float, Kind.NUMBER, (float, int), lambda: {"type": "number"}),
    str: Codec(_pass_str, _pass_str, Kind.STRING, (str,), lambda: {"type": "string"}),
    bytes: Codec(
        _dump_bytes,
        _load_bytes,
        Kind.STRING,
        (bytes, bytearray, memoryview),
        lambda: {"type": "string", "contentEncoding": "base64"},
    ),
    Decimal: Codec(
        _dump_decimal,
        _load_decimal,
        Kind.STRING | Kind.NUMBER,
        (Decimal,),
        lambda: {"type": ["string", "number"], "format": "decimal"},
    ),
    date: Codec(
        _dump_date,
        _text_codec(date, "a date of ISO 8601", date.isoformat, date.fromisoformat, "date").load,
        Kind.STRING,
        (date,),
        lambda: {"type": "string", "format": "date"},
    ),
    datetime: _text_codec(
        datetime, "a date and time of ISO 8601", datetime.isoformat, datetime.fromisoformat, "date-time"
    ),
    time: _text_codec(time, "a time of day of ISO 8601", time.isoformat, time.fromisoformat, "time"),
    timedelta: Codec(
        _dump_duration,
        _load_duration,
        Kind.STRING,
        (timedelta,),
        lambda: {"type": "string", "format": "duration"},
    ),
    UUID: _text_codec(UUID, "a UUID", str, UUID, "uuid"),
}
"""By exact type."""
