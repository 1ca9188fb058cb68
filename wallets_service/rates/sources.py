"""Rates, the interface of what provides them, and which of several sources has the say."""

import contextlib
import dataclasses
import datetime
import itertools
from collections.abc import Mapping, Sequence, Set
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

    def stations(self, known: Set[str]) -> Set[str]:
        """Return the currencies through which a way between others could lead, beside those that are known as such.

        Of currencies that are all alike to this, one will do.
        """


def find(sources: Sequence[RateSource], sell_currency: str, buy_currency: str) -> Rate:
    """Return the rate of the first source that has one.

    Raises ConversionNotOffered when none has, and RateStale when one that is asked is out of date. A rate is not
    offered either when it is of a round, there and back or through other currencies, in which money grows: rates that
    are set by hand, or come from two sources, can disagree that far.
    """
    rate = _first(sources, sell_currency, buy_currency)
    if rate is None:
        raise errors.ConversionNotOffered(sell_currency=sell_currency, buy_currency=buy_currency)
    rates = _around(sources, sell_currency, buy_currency)
    while round_ := gaining_round(rates):
        if rate in round_:
            _log.error("rates give money away", round=[_described(each) for each in round_])
            raise errors.ConversionNotOffered(sell_currency=sell_currency, buy_currency=buy_currency)
        rates = [each for each in rates if each not in round_]  # None of those is offered either.
    return rate


def gaining_round(rates: Sequence[Rate]) -> Sequence[Rate]:
    """Return rates by which one after the other money comes back as more than it was; none if there is no such round.

    What is best to be had of each currency is worked out in rounds, each by one more rate (Bellman and Ford). Without
    gain, no way is longer than there are currencies: what still gets better then has come around. It is exact, since
    the least gain is one.
    """
    best = {currency: Fraction(1) for rate in rates for currency in (rate.sell_currency, rate.buy_currency)}
    by: dict[str, Rate] = {}
    better = ""
    for _ in best:
        better = ""
        for rate in rates:
            worth = best[rate.sell_currency] * rate.value * rate.share
            if worth > best[rate.buy_currency]:
                better = rate.buy_currency
                best[better], by[better] = worth, rate
        if not better:
            return ()
    for _ in best:  # From a way that leads out of the round, back into it.
        better = by[better].sell_currency
    return _round(by, better) if better else ()


def _round(by: Mapping[str, Rate], currency: str) -> Sequence[Rate]:
    """Return the rates, from the first to the last, by which a currency came of itself."""
    round_ = [by[currency]]
    while round_[-1].sell_currency != currency:
        round_.append(by[round_[-1].sell_currency])
    return round_[::-1]


def _around(sources: Sequence[RateSource], *pair: str) -> list[Rate]:
    """Return the rates between all currencies through which a round by this pair could lead."""
    stations = set(pair)
    for source in sources:
        stations |= source.stations(stations)
    pairs = itertools.permutations(sorted(stations), 2)
    return [rate for each in pairs if (rate := _fresh(sources, *each)) is not None]


def _fresh(sources: Sequence[RateSource], sell_currency: str, buy_currency: str) -> Rate | None:
    """Return the rate of a pair; a source that is out of date offers no way for now."""
    with contextlib.suppress(errors.RateStale):
        return _first(sources, sell_currency, buy_currency)
    return None


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
