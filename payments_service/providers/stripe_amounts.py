"""Amounts as Stripe wants them; its minor units are not always those of ISO 4217."""

from typing import Final

from kobklein import errors, money

MAX_DIGITS: Final = 8
"""Most digits of an amount at Stripe."""
_ZERO_DECIMAL: Final = frozenset(
    ["BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF"],
)
"""Currencies that Stripe counts in whole units."""
_TWO_DECIMAL: Final = frozenset({"ISK", "UGX"})
"""Currencies without minor units that Stripe nevertheless counts in hundredths."""


def to_stripe(amount: int, currency: str) -> int:
    """Return minor units of ISO 4217 as Stripe's; raises InvalidArgument for what Stripe cannot express."""
    shift = _stripe_exponent(currency) - money.exponent(currency)
    if shift >= 0:
        converted: int = amount * 10**shift
    else:
        converted, rest = divmod(amount, 10**-shift)
        if rest:
            raise errors.InvalidArgument.of("amount", f"has decimals, and cards are charged whole {currency} only")
    if money.exponent(currency) == 3 and converted % 10:
        raise errors.InvalidArgument.of("amount", f"must end in 0: cards are charged hundredths of {currency} only")
    if converted >= 10**MAX_DIGITS:
        raise errors.InvalidArgument.of("amount", f"is more than a card can be charged at once in {currency}")
    return converted


def from_stripe(amount: int, currency: str) -> int:
    """Return Stripe's minor units as those of ISO 4217; raises ValueError for an amount that ISO cannot express."""
    shift = _stripe_exponent(currency) - money.exponent(currency)
    if shift <= 0:
        scaled: int = amount * 10**-shift
        return scaled
    whole: int
    whole, rest = divmod(amount, 10**shift)
    if rest:
        raise ValueError(f"{amount} of Stripe's units is no whole amount of {currency}")
    return whole


def _stripe_exponent(currency: str) -> int:
    if currency in _ZERO_DECIMAL:
        return 0
    if currency in _TWO_DECIMAL:
        return 2
    return money.exponent(currency)
