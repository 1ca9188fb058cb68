"""Named formats of text: which values fit, and the one spelling in which they are compared, hashed and kept."""

import re
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from kobklein import money, zones
from kobklein.options.v1 import options_pb2

_UUID: Final = re.compile("[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_CANONICAL_UUID: Final = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_DAY: Final = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DATE: Final = re.compile(
    rf"{_DAY.pattern}"
    r"([Tt ]([01][0-9]|2[0-3]):[0-5][0-9](:([0-5][0-9]|60)(\.[0-9]{1,40})?)?"
    r"([Zz]|[+ -]([01][0-9]|2[0-3]):[0-5][0-9])?)?"
)
"""A day, alone or with a time. The `+` of an offset that a client has not escaped in a query arrives as a space."""


class Format(NamedTuple):
    """A named format."""

    fits: Callable[[str], object]
    """Returns something true for a value in the one spelling."""
    respelled: Callable[[str], str]
    """Returns a value in the one spelling, whichever it came in; empty for a text that is no value."""
    refusal: Callable[[str], str]
    """Returns what a caller is told of a text that is no value."""
    pattern: str
    """Regular expression of every spelling, for the documentation."""

    def normal(self, text: str) -> str:
        """Return a value in the one spelling, and a text that is no value as it is."""
        return text if self.fits(text) else self.respelled(text) or text

    def wrong(self, text: str) -> str:
        """Return the fault of a text that is not in the one spelling; empty when it has none."""
        return "" if self.fits(text) else self.refusal(text)


def of(name: "options_pb2.Format.ValueType") -> Format:
    """Return a format by its name in the contract."""
    return _FORMATS[name]


def _respelled_uuid(text: str) -> str:
    return text.lower() if _UUID.fullmatch(text) else ""


def _written_day(text: str) -> str:
    """Return the day that a date or a date-time is written with, whatever its offset."""
    return text[:10] if _DATE.fullmatch(text) else ""


def _wrong_currency(code: str) -> str:
    capitals = code.upper()
    advice = f"; write {capitals}" if capitals in money.currencies() else ""
    return f"is not a currency of ISO 4217{advice}"


_FORMATS: Final[Mapping[int, Format]] = {
    options_pb2.FORMAT_UUID: Format(
        _CANONICAL_UUID.fullmatch, _respelled_uuid, lambda _: "is not an id (UUID)", _UUID.pattern
    ),
    options_pb2.FORMAT_DATE: Format(
        _DAY.fullmatch, _written_day, lambda _: "is not a date, such as 2024-01-31", _DATE.pattern
    ),
    options_pb2.FORMAT_CURRENCY: Format(
        lambda code: code in money.currencies(), lambda _: "", _wrong_currency, "[A-Z]{3}"
    ),
    options_pb2.FORMAT_TIME_ZONE: Format(
        lambda name: name in zones.names(),
        lambda _: "",
        lambda _: "is not an IANA time zone, such as America/Port-au-Prince",
        "[A-Za-z0-9_+/-]+",
    ),
}
