"""The document that a rate source serves, read exactly from its text.

    {"base": "USD", "time": "2026-11-24T12:00:00Z", "rates": {"HTG": "131.25", "EUR": 0.92}}

One unit of `base` is worth `rates[X]` units of X, as a string or as a number; either is read from its digits and never
becomes a float. Currencies that the platform does not know, and other members, are passed over. Anything else that is
not as it should be makes the whole document wrong: who gives one absurd rate is not believed the others.
"""

import dataclasses
import datetime
import json
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Final

from kobklein import money
from wallets_service.rates import decimals

CLOCK_SKEW: Final = datetime.timedelta(seconds=60)
"""How far a source's clock may be ahead of this one."""
_NUMBER: Final = re.compile(r"[0-9]{1,12}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?")
_LEAST: Final = Fraction(1, 10**decimals.PLACES)


class Refused(ValueError):
    """What a source serves is not believed; the message says why, and holds nothing of the document but names."""


@dataclasses.dataclass(frozen=True, slots=True)
class Document:
    """The rates of one instant, all from one currency."""

    base: str
    time: datetime.datetime
    rates: Mapping[str, Fraction]
    """Units of each currency for one unit of `base`, which is 1 itself."""


def parse(raw: bytes, *, now: datetime.datetime) -> Document:
    """Return a document; raises Refused."""
    content = _json(raw)
    if not isinstance(content, dict):
        raise Refused("it is not an object")
    base = content.get("base")
    if not isinstance(base, str) or base not in money.currencies():
        raise Refused("base is not a currency")
    rates = _rates(content.get("rates"))
    if rates.setdefault(base, Fraction(1)) != 1:
        raise Refused(f"{base} is not worth itself")
    if len(rates) == 1:
        raise Refused("it has no rates")
    return Document(base, _time(content.get("time"), now), rates)


def _json(raw: bytes) -> Any:
    try:
        return json.loads(
            raw.decode(), parse_float=str, parse_int=str, parse_constant=_constant, object_pairs_hook=_object
        )
    except (ValueError, RecursionError) as error:
        raise Refused("it is not JSON, or names something twice") from error


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name stands twice")
    return members


def _rates(content: Any) -> dict[str, Fraction]:
    if not isinstance(content, dict):
        raise Refused("rates is not an object")
    return {currency: _rate(currency, content[currency]) for currency in content if currency in money.currencies()}


def _rate(currency: str, content: Any) -> Fraction:
    if not isinstance(content, str) or _NUMBER.fullmatch(content) is None:
        raise Refused(f"the rate of {currency} is not a number above zero")
    value = Fraction(content)
    if not _LEAST <= value < decimals.MAX_VALUE:
        raise Refused(f"the rate of {currency} is out of all reason")
    return value


def _time(content: Any, now: datetime.datetime) -> datetime.datetime:
    try:
        time = datetime.datetime.fromisoformat(content)
        ahead = time - now
    except (TypeError, ValueError, OverflowError) as error:  # Among them: a time without its zone.
        raise Refused("time is not an instant of RFC 3339") from error
    if ahead > CLOCK_SKEW:
        raise Refused("time lies in the future")
    return time.astimezone(datetime.UTC)
