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


_LEAST: Final = {
    "USD": 50, "AED": 200, "AUD": 50, "BRL": 50, "CAD": 50, "CHF": 50, "CZK": 1500, "DKK": 250, "EUR": 50, "GBP": 30,
    "HKD": 400, "HUF": 17500, "INR": 50, "JPY": 50, "MXN": 1000, "MYR": 200, "NOK": 300, "NZD": 50, "PLN": 200,
    "RON": 200, "SEK": 300, "SGD": 50, "THB": 1000,
}  # fmt: skip
"""The least that Stripe charges, in its units, as docs.stripe.com/currencies lists it; only Stripe decides by it."""


def too_small(currency: str) -> str:
    """Return what a caller is told of an amount that Stripe says is too small."""
    if currency in _LEAST:
        least = money.render(from_stripe(_LEAST[currency], currency), currency)
        return f"must be at least {least} {currency}, the least that a card is charged"
    return f"must be worth at least 0.50 USD in {currency}, the least that a card is charged"


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
        most = money.render(
            from_stripe(10**MAX_DIGITS - 1 - (10**MAX_DIGITS - 1) % _step(currency), currency), currency
        )
        raise errors.InvalidArgument.of(
            "amount", f"must be at most {most} {currency}, the most that a card is charged at once"
        )
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


def _step(currency: str) -> int:
    """Return what Stripe's units of a currency are a multiple of."""
    return 100 if currency in _TWO_DECIMAL else 10 if money.exponent(currency) == 3 else 1


def _stripe_exponent(currency: str) -> int:
    if currency in _ZERO_DECIMAL:
        return 0
    if currency in _TWO_DECIMAL:
        return 2
    return money.exponent(currency)
