"""Free data: what was sent is what is recorded, and nothing else is the same."""

import contextlib
import decimal
import json
import math
import re
from typing import Any, Final

from google.protobuf import json_format, struct_pb2

_TRUTHS: Final = {"true": True, "false": False}
_NUMBER: Final = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
"""A number as JSON writes it."""


class FreeData(dict[str, Any]):
    """An object of JSON, which equals another one only as JSON does: Python takes true for 1."""

    __hash__ = None  # As that of every dictionary.

    def __eq__(self, other: object) -> bool:
        """Return whether another object holds the same, key by key and value by value."""
        return isinstance(other, dict) and _same(self, other)

    def __ne__(self, other: object) -> bool:
        """Return whether it does not."""
        return not self == other


def of_message(sent: struct_pb2.Struct) -> FreeData:
    """Return the free data of a request."""
    return FreeData(json_format.MessageToDict(sent))


def loads(text: str) -> FreeData:
    """Return the free data that a JSONB column holds as text, equal to what was stored.

    Every number of free data is a double, and PostgreSQL writes numbers out in full: 1e23 comes back as a whole number
    of 24 digits, which no double equals.
    """
    return FreeData(json.loads(text, parse_int=float))


def readings(text: str) -> list[str | float | bool]:
    """Return every value that a text of a query may mean: the text itself, and the number or truth value it writes.

    A number means one only if it is that of a double as it is written: no other number is ever recorded.
    """
    if text in _TRUTHS:
        return [text, _TRUTHS[text]]
    if _NUMBER.fullmatch(text):
        number = float(text)
        with contextlib.suppress(decimal.InvalidOperation):  # Of exponents beyond all numbers.
            if math.isfinite(number) and decimal.Decimal(text) == decimal.Decimal(repr(number)):
                return [text, number]
    return [text]


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return (
            isinstance(other, dict) and one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
        )
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(_same, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)
