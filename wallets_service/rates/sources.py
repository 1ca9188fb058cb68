"""Rates, the interface of what provides them, and which of several sources has the say."""

import contextlib
import dataclasses
import datetime
from collections.abc import Sequence
from fractions import Fraction
from typing import Final, Protocol

import structlog

from wallets_service import errors
from wallets_service.rates import decimals

_log = structlog.get_logger()
MILLION: Final = 1_000_000


@dataclasses.dataclass(frozen=True, slots=True)
class Rate:
    """What one currency is worth in another, and what the platform keeps of it."""

    sell_currency: str
    buy_currency: str
    value: Fraction
    """Units of the bought currency for one unit of the sold one: above 0, and of at most twelve decimals."""
    spread_parts_per_million: int
    source: str
    time: datetime.datetime
    """When it was set, or what time its source gives."""

    @property
    def share(self) -> Fraction:
        """The part of what is bought that the user gets."""
        return Fraction(MILLION - self.spread_parts_per_million, MILLION)


class RateSource(Protocol):
    """Provides rates out of memory, so that no caller waits for anybody."""

    def rate(self, sell_currency: str, buy_currency: str) -> Rate | None:
        """Return a rate of now, or None if the source has none for this pair; raises RateStale."""

    def rates(self) -> Sequence[Rate]:
        """Return the rates of now to show; none while they are stale."""


def find(sources: Sequence[RateSource], sell_currency: str, buy_currency: str) -> Rate:
    """Return the rate of the first source that has one.

    Raises ConversionNotOffered when none has, and RateStale when one that is asked is out of date. A rate at which
    money would grow by going there and back is not offered either: rates that are set by hand, or come from two
    sources, can disagree that far.
    """
    rate = _first(sources, sell_currency, buy_currency)
    if rate is None:
        raise errors.ConversionNotOffered(sell_currency=sell_currency, buy_currency=buy_currency)
    back = None
    with contextlib.suppress(errors.RateStale):  # There is no way back for now.
        back = _first(sources, buy_currency, sell_currency)
    if back is not None and gains(rate, back):
        _log.error("rates give money away", there=_described(rate), back=_described(back))
        raise errors.ConversionNotOffered(sell_currency=sell_currency, buy_currency=buy_currency)
    return rate


def gains(there: Rate, back: Rate) -> bool:
    """Return whether who changes money and changes it back has more than before."""
    return there.value * there.share * back.value * back.share > 1


def every(sources: Sequence[RateSource]) -> list[Rate]:
    """Return the rates of all sources, of several for one pair the first, by currencies."""
    found: dict[tuple[str, str], Rate] = {}
    for source in sources:
        for rate in source.rates():
            found.setdefault((rate.sell_currency, rate.buy_currency), rate)
    return [found[pair] for pair in sorted(found)]


def _first(sources: Sequence[RateSource], sell_currency: str, buy_currency: str) -> Rate | None:
    for source in sources:
        rate = source.rate(sell_currency, buy_currency)
        if rate is not None:
            return rate
    return None


def _described(rate: Rate) -> str:
    return f"{rate.source}: {rate.sell_currency} to {rate.buy_currency} at {decimals.text(rate.value)}"
