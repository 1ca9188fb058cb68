"""What a conversion gives and takes: exact arithmetic, in whole minor units that fall in the platform's favour.

One minor unit of the sold currency is worth `rate * 10**(decimals bought - decimals sold)` minor units of the bought
one; what is sold times that is the gross. The user gets the gross less the spread, rounded down. What is left of the
gross, in whole minor units, is the spread; the rest, less than one minor unit, stays in the liquidity. Where the user
fixes what to buy, what to sell for it is rounded up, and what that brings is part of the spread too. So always

    bought + spread = ⌊sold * rate⌋
"""

import dataclasses
import math
from fractions import Fraction
from typing import Final

from kobklein import errors, money
from wallets_service.rates.sources import Rate

_MAX_AMOUNT: Final = 10**money.MAX_DIGITS - 1


@dataclasses.dataclass(frozen=True, slots=True)
class Price:
    """The amounts of a conversion, in minor units."""

    sell_amount: int
    buy_amount: int
    """What the user gets."""
    spread_amount: int
    """What of the bought currency the platform keeps."""
    rounding: Fraction
    """What rounding took from the user, in minor units of `rounding_currency`: at least 0, and less than 1."""
    rounding_currency: str


def selling(amount: int, rate: Rate) -> Price:
    """Return what selling exactly `amount` minor units gives.

    Raises InvalidArgument, which names `sell.amount`, when that is nothing, or more than MAX_DIGITS digits.
    """
    gross = amount * _minor_rate(rate)
    net = gross * rate.share
    if gross > _MAX_AMOUNT:
        raise _too_large("sell.amount", rate.buy_currency)
    bought = math.floor(net)
    if bought == 0:
        raise errors.InvalidArgument.of("sell.amount", f"is too small to buy any {rate.buy_currency}")
    return Price(amount, bought, math.floor(gross) - bought, net - bought, rate.buy_currency)


def buying(amount: int, rate: Rate) -> Price:
    """Return what buying exactly `amount` minor units takes.

    Raises InvalidArgument, which names `buy.amount`, when that is more than MAX_DIGITS digits.
    """
    needed = amount / (_minor_rate(rate) * rate.share)
    sold = math.ceil(needed)
    gross = sold * _minor_rate(rate)
    for moved, currency in ((sold, rate.sell_currency), (gross, rate.buy_currency)):
        if moved > _MAX_AMOUNT:
            raise _too_large("buy.amount", currency)
    return Price(sold, amount, math.floor(gross) - amount, sold - needed, rate.sell_currency)


def effective_rate(*, sell_amount: int, sell_currency: str, buy_amount: int, buy_currency: str) -> Fraction:
    """Return how many units are got for one unit that is given; no fee is in it."""
    return Fraction(buy_amount, sell_amount) * Fraction(10) ** (
        money.exponent(sell_currency) - money.exponent(buy_currency)
    )


def _minor_rate(rate: Rate) -> Fraction:
    """Return how many minor units one minor unit is worth."""
    return rate.value * Fraction(10) ** (money.exponent(rate.buy_currency) - money.exponent(rate.sell_currency))


def _too_large(field: str, currency: str) -> errors.InvalidArgument:
    return errors.InvalidArgument.of(
        field, f"is too large: more than {money.MAX_DIGITS} digits of {currency} would move"
    )
