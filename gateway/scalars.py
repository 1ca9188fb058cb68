"""JSON values of single fields, to and from what protobuf holds: numbers, text, bytes, enums, times."""

import base64
import binascii
import datetime
import decimal
import functools
import math
import re
import struct
from collections.abc import Callable
from typing import Any, Final

from google.protobuf import descriptor

from gateway import documents
from kobklein import enums, formats, validation, value_checks
from kobklein.options.v1 import options_pb2

FieldDescriptor = descriptor.FieldDescriptor
Convert = Callable[[Any], Any]
"""Returns the protobuf value of a JSON value, or raises Wrong."""

NOT_ZERO: Final = "must be more than 0"
_WHOLE_NUMBERS: Final = value_checks.INTEGERS
_INTEGER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)")
_LONGEST_NUMBER: Final = 400
_FLOAT_WORDS: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_LARGEST_FLOAT: Final = 3.4028234663852886e38
_TIME: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII
)
_DURATION: Final = re.compile(r"(-?)(\d{1,12})(?:\.(\d{1,9}))?s", re.ASCII)
_LONGEST_DURATION_SECONDS: Final = 315_576_000_000
_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


class Wrong(ValueError):
    """A value that its field cannot take; the message says why, for the caller."""


def converter(field: FieldDescriptor) -> Convert:
    """Return how a JSON value becomes a value of this field, which holds no message."""
    rules = validation.rules_of(field)
    if field.enum_type is not None:
        return enum(field.enum_type, rules)
    if rules.format:
        return _formatted(formats.of(rules.format))
    if field.cpp_type in _WHOLE_NUMBERS and rules.min > 0 and not field.has_presence:
        return _more_than_zero(_CONVERTERS[field.type])
    return _CONVERTERS[field.type]


def text(value: Any) -> str:
    """Return a string that UTF-8 can carry."""
    if type(value) is not str:
        raise Wrong("is not a string")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Wrong("holds half of a surrogate pair") from None
    return value


def boolean(value: Any) -> bool:
    """Return true or false."""
    if type(value) is not bool:
        raise Wrong("is not true or false")
    return value


def data(value: Any) -> bytes:
    """Return the bytes of base64, in the standard or the URL-safe alphabet, padded or not."""
    standard = text(value).replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise Wrong("is not base64") from None


def _formatted(named: formats.Format) -> Convert:
    """Return how a text becomes a value in the one spelling of its format; the contract's rules refuse what is none."""
    return lambda value: named.normal(text(value))


def _more_than_zero(convert: Convert) -> Convert:
    """Return a conversion that refuses the zero that would read as if nothing had been given."""

    def positive(value: Any) -> Any:
        number = convert(value)
        if number == 0:
            raise Wrong(NOT_ZERO)
        return number

    return positive


def enum(enum_type: descriptor.EnumDescriptor, rules: options_pb2.FieldRules) -> Convert:
    """Return how a value of an enum becomes its number: its name in any spelling that `enums` knows, or the number."""
    if enum_type.full_name == "google.protobuf.NullValue":
        return _null
    allowed = value_checks.allowed_values(enum_type, rules)
    numbers, expected = frozenset(allowed.values()), value_checks.not_one_of(allowed)

    def convert(value: Any) -> int:
        number = enums.number(enum_type, value) if isinstance(value, str) else None
        if number not in numbers:
            raise Wrong(expected)
        return number

    return convert


def integer(least: int, most: int) -> Convert:
    """Return how a whole number, bare or quoted, becomes an int within bounds."""

    def convert(value: Any) -> int:
        number = _whole(value)
        if not least <= number <= most:
            raise Wrong(f"is not between {least} and {most}")
        return number

    return convert


def _whole(value: Any) -> int:
    if not isinstance(value, str) or len(value) > _LONGEST_NUMBER:
        raise Wrong("is not a whole number")
    if _INTEGER.fullmatch(value):
        return int(value)
    try:  # JSON has only one kind of number: 1.0 and 1e2 are whole, too.
        number = decimal.Decimal(value) if type(value) is documents.Number else decimal.Decimal("NaN")
    except decimal.InvalidOperation:
        raise Wrong("is not a whole number") from None
    if not number.is_finite() or number.adjusted() > 40 or number != number.to_integral_value():
        raise Wrong("is not a whole number")
    return int(number)


def double(value: Any) -> float:
    """Return a 64-bit float; the words of infinities and NaN come as strings."""
    if type(value) is str and value in _FLOAT_WORDS:
        return _FLOAT_WORDS[value]
    try:
        number = float(value) if isinstance(value, str) and value.isascii() and "_" not in value else math.nan
    except ValueError:
        raise Wrong("is not a number") from None
    if not math.isfinite(number):
        raise Wrong("is not a number within range" if math.isinf(number) else "is not a number")
    return number


def _single(value: Any) -> float:
    number = double(value)
    single = _as_float32(number)
    if math.isinf(single) and math.isfinite(number):
        raise Wrong("is not a number within range")
    return single


def float_value(number: float) -> float | str:
    """Return a float as JSON shows it."""
    if math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def float32_value(number: float) -> float | str:
    """Return a 32-bit float with the fewest digits that mean the same 32 bits."""
    if not math.isfinite(number):
        return float_value(number)
    shortest = (float(f"{number:.{digits}g}") for digits in range(6, 9))
    return next((short for short in shortest if _as_float32(short) == number and abs(short) <= _LARGEST_FLOAT), number)


def _as_float32(number: float) -> float:
    try:
        return float(struct.unpack("f", struct.pack("f", number))[0])
    except OverflowError:
        return math.inf


def base64_text(value: bytes) -> str:
    """Return bytes as JSON shows them."""
    return base64.b64encode(value).decode("ascii")


def time_parts(value: Any) -> tuple[int, int]:
    """Return the seconds and nanoseconds since 1970 of an RFC 3339 time."""
    match = _TIME.fullmatch(text(value))
    if match is None:
        raise Wrong("is not a time of RFC 3339, such as 2024-01-31T12:00:00Z")
    year, month, day, hour, minute, second = map(int, match.groups()[:6])
    try:
        moment = datetime.datetime(year, month, day, hour, minute, second, tzinfo=datetime.UTC)
    except ValueError:
        raise Wrong("is not a time that exists") from None
    seconds = (moment - _EPOCH) // datetime.timedelta(seconds=1) - _offset_seconds(match)
    if not -62_135_596_800 <= seconds <= 253_402_300_799:
        raise Wrong("is not within the years 1 to 9999")
    return seconds, int((match[7] or "").ljust(9, "0"))


def _offset_seconds(match: re.Match[str]) -> int:
    if match[8] is None:
        return 0
    hours, minutes = int(match[9]), int(match[10])
    if hours > 23 or minutes > 59:
        raise Wrong("is not a time that exists")
    return (1 if match[8] == "+" else -1) * (hours * 3600 + minutes * 60)


def time_text(seconds: int, nanos: int) -> str:
    """Return a time as JSON shows it: RFC 3339 in UTC, with 0, 3, 6 or 9 decimals."""
    return f"{_second_text(seconds)}{_fraction(nanos)}Z"


@functools.lru_cache(maxsize=4096)
def _second_text(seconds: int) -> str:
    return (_EPOCH + datetime.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")


def duration_parts(value: Any) -> tuple[int, int]:
    """Return the seconds and nanoseconds of a duration such as `1.5s`; both carry its sign."""
    match = _DURATION.fullmatch(text(value))
    if match is None or int(match[2]) > _LONGEST_DURATION_SECONDS:
        raise Wrong("is not a duration in seconds, such as 1.5s")
    sign = -1 if match[1] else 1
    return sign * int(match[2]), sign * int((match[3] or "").ljust(9, "0"))


def duration_text(seconds: int, nanos: int) -> str:
    """Return a duration as JSON shows it."""
    sign = "-" if seconds < 0 or nanos < 0 else ""
    return f"{sign}{abs(seconds)}{_fraction(abs(nanos))}s"


def _fraction(nanos: int) -> str:
    if nanos == 0:
        return ""
    digits = f"{nanos:09d}"
    while digits.endswith("000"):
        digits = digits[:-3]
    return f".{digits}"


def _null(value: Any) -> int:
    if value is not None:
        raise Wrong("is not null")
    return 0


_INT32: Final = integer(-(2**31), 2**31 - 1)
_INT64: Final = integer(-(2**63), 2**63 - 1)
_UINT32: Final = integer(0, 2**32 - 1)
_UINT64: Final = integer(0, 2**64 - 1)
_CONVERTERS: Final[dict[int, Convert]] = {
    FieldDescriptor.TYPE_STRING: text,
    FieldDescriptor.TYPE_BOOL: boolean,
    FieldDescriptor.TYPE_BYTES: data,
    FieldDescriptor.TYPE_DOUBLE: double,
    FieldDescriptor.TYPE_FLOAT: _single,
    FieldDescriptor.TYPE_INT32: _INT32,
    FieldDescriptor.TYPE_SINT32: _INT32,
    FieldDescriptor.TYPE_SFIXED32: _INT32,
    FieldDescriptor.TYPE_INT64: _INT64,
    FieldDescriptor.TYPE_SINT64: _INT64,
    FieldDescriptor.TYPE_SFIXED64: _INT64,
    FieldDescriptor.TYPE_UINT32: _UINT32,
    FieldDescriptor.TYPE_FIXED32: _UINT32,
    FieldDescriptor.TYPE_UINT64: _UINT64,
    FieldDescriptor.TYPE_FIXED64: _UINT64,
}
