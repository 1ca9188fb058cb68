"""Money as an integer of minor units and an ISO 4217 currency, and its exact way from and to decimal text.

Nothing in the platform computes with floats or decimals; they exist only as text, at the edge.
"""

import re
from typing import Final

from kobklein import errors

MAX_DIGITS: Final = 15
"""Most digits of an amount in minor units: those of Decimal(15,2), in every currency.

An int64 holds the sum of 9,223 such amounts: sums are numeric in SQL and whole numbers of any size in Python, and one
that does not fit where it has to go is an error.
"""

_EXPONENTS: Final[dict[str, int]] = {
    code: exponent
    for exponent, codes in {
        0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF",
        2: (
            "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY "
            "COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR "
            "ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK "
            "MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP "
            "SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VES WST XCD XCG YER ZAR "
            "ZMW ZWG"
        ),
        3: "BHD IQD JOD KWD LYD OMR TND",
    }.items()
    for code in codes.split()
}
_CURRENCIES: Final = frozenset(_EXPONENTS)
_MOST_DECIMALS: Final = max(_EXPONENTS.values())
_DECIMAL: Final = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?")


class InvalidAmount(ValueError):
    """Text that is not an exact amount of its currency; the message says why and is fit for the caller."""


class UnknownCurrency(ValueError):
    """A currency that is not an active ISO 4217 code with 0, 2 or 3 decimals."""


def exponent(currency: str) -> int:
    """Return how many decimals `currency` has; raises UnknownCurrency."""
    try:
        return _EXPONENTS[currency]
    except KeyError:
        raise UnknownCurrency(f"{currency!r} is not a currency of ISO 4217") from None


def currencies() -> frozenset[str]:
    """Return every currency the platform knows."""
    return _CURRENCIES


def parse(text: str, currency: str) -> int:
    """Return the minor units that decimal `text` stands for, exactly.

    Raises InvalidAmount for anything but plain decimal digits, for more decimals than the currency has, and for more
    than MAX_DIGITS digits; raises UnknownCurrency. Nothing is ever rounded.
    """
    decimals = exponent(currency)
    sign, whole, fraction = _parts(text)
    if len(fraction) > decimals:
        raise InvalidAmount(f"has more than the {decimals} decimals of {currency}")
    return int(sign + _digits(whole + fraction.ljust(decimals, "0")))


def check_form(text: str) -> None:
    """Raise InvalidAmount for decimal `text` that is no amount in any currency."""
    _, whole, fraction = _parts(text)
    if len(fraction) > _MOST_DECIMALS:
        raise InvalidAmount(f"has more than {_MOST_DECIMALS} decimals")
    _digits(whole + fraction)


def _parts(text: str) -> tuple[str, str, str]:
    """Return the sign, the digits before the point and those behind it."""
    if len(text) > 2 * MAX_DIGITS:
        raise InvalidAmount(f"has more than {MAX_DIGITS} digits")
    match = _DECIMAL.fullmatch(text)
    if match is None:
        raise InvalidAmount("is not a plain decimal number, such as 100.00")
    return match[1], match[2], match[3] or ""


def _digits(digits: str) -> str:
    """Return the digits of an amount without the zeros in front."""
    significant = digits.lstrip("0") or "0"
    if len(significant) > MAX_DIGITS:
        raise InvalidAmount(f"has more than {MAX_DIGITS} digits")
    return significant


def in_64_bits(amount: int, currency: str, *, name: str) -> int:
    """Return a sum of amounts that a message can carry; raises SumOverflow, with its name, for any other."""
    if -(2**63) <= amount < 2**63:
        return amount
    raise errors.SumOverflow(sum=name, currency=currency)


def render(minor_units: int, currency: str) -> str:
    """Return `minor_units` as decimal text with all the decimals of `currency`; raises UnknownCurrency."""
    decimals = exponent(currency)
    if decimals == 0:
        return str(minor_units)
    sign = "-" if minor_units < 0 else ""
    digits = str(abs(minor_units)).rjust(decimals + 1, "0")
    return f"{sign}{digits[:-decimals]}.{digits[-decimals:]}"
