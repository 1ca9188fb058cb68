"""The currencies Stripe charges in: how many decimals they have, their limits and what they are worth.

The worth of one US dollar is a fixed, rounded figure: enough to convert fees and minimum amounts, never a market rate.
"""

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_HALF_UP, Decimal

from deploy.sandbox import errors

SETTLEMENT = "usd"
"""What the simulated account is paid in; charges in other currencies are converted."""

AMOUNT_LIMIT = 99_999_999

_PER_DOLLAR = """
usd 1 aed 3.67 afn 70 all 92 amd 388 ang 1.79 aoa 915 ars 1400 aud 1.52 awg 1.79 azn 1.70 bam 1.68 bbd 2 bdt 122
bgn 1.68 bhd 0.376 bif 2980 bmd 1 bnd 1.30 bob 6.91 brl 5.40 bsd 1 bwp 13.5 byn 3.2 bzd 2 cad 1.38 cdf 2500 chf 0.80
clp 950 cny 7.15 cop 4000 crc 505 cve 95 czk 21 djf 178 dkk 6.4 dop 61 dzd 130 egp 48.5 etb 140 eur 0.86 fjd 2.26
fkp 0.75 gbp 0.75 gel 2.7 gip 0.75 gmd 72 gnf 8650 gtq 7.66 gyd 209 hkd 7.8 hnl 26 htg 131 huf 337 idr 16500 ils 3.35
inr 88 isk 122 jmd 160 jod 0.709 jpy 148 kes 129 kgs 87.4 khr 4010 kmf 423 krw 1400 kwd 0.306 kyd 0.83 kzt 540 lak 21600
lbp 89500 lkr 302 lrd 200 lsl 17.4 mad 9.1 mdl 16.8 mga 4450 mkd 53 mmk 2100 mnt 3590 mop 8.03 mur 45.6 mvr 15.4
mwk 1735 mxn 18.6 myr 4.21 mzn 63.9 nad 17.4 ngn 1500 nio 36.8 nok 10 npr 141 nzd 1.72 omr 0.385 pab 1 pen 3.5 pgk 4.2
php 57.5 pkr 282 pln 3.65 pyg 7150 qar 3.64 ron 4.36 rsd 101 rub 82 rwf 1450 sar 3.75 sbd 8.2 scr 14.3 sek 9.4 sgd 1.29
shp 0.75 sle 23 sos 571 srd 38.6 std 21000 szl 17.4 thb 32.3 tjs 9.4 tnd 2.9 top 2.4 try 41.5 ttd 6.78 twd 30.3 tzs 2470
uah 41.3 ugx 3500 uyu 40 uzs 12200 vnd 26300 vuv 119 wst 2.7 xaf 564 xcd 2.7 xof 564 xpf 103 yer 239 zar 17.4 zmw 23.7
"""

_ZERO_DECIMAL = frozenset(
    ["bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf"]
)
_THREE_DECIMAL = frozenset(["bhd", "jod", "kwd", "omr", "tnd"])
_WHOLE_UNITS = frozenset(("isk", "ugx"))
"""Sent with two decimals that must be zero."""

_MINIMUMS = {
    "usd": 50, "aed": 200, "aud": 50, "brl": 50, "cad": 50, "chf": 50, "czk": 1500, "dkk": 250, "eur": 50, "gbp": 30,
    "hkd": 400, "huf": 17500, "inr": 50, "jpy": 50, "mxn": 1000, "myr": 200, "nok": 300, "nzd": 50, "pln": 200,
    "ron": 200, "sek": 300, "sgd": 50, "thb": 1000,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Currency:
    """One presentment currency."""

    code: str
    decimals: int
    per_dollar: Decimal
    minimum: int
    step: int
    """Amounts must be a multiple of it."""

    @property
    def exchange_rate(self) -> Decimal:
        """US dollars for one unit."""
        return 1 / self.per_dollar

    def to_settlement(self, amount: int) -> int:
        """Minor units of US dollars for `amount` minor units, rounded half up, sign kept."""
        dollars = Decimal(amount).scaleb(-self.decimals) / self.per_dollar
        return int(dollars.scaleb(2).to_integral_value(ROUND_HALF_UP))


def _currency(code: str, per_dollar: Decimal) -> Currency:
    decimals = 0 if code in _ZERO_DECIMAL else 3 if code in _THREE_DECIMAL else 2
    half_dollar = (per_dollar / 2).scaleb(decimals).to_integral_value(ROUND_CEILING)
    step = 10 if code in _THREE_DECIMAL else 100 if code in _WHOLE_UNITS else 1
    return Currency(code, decimals, per_dollar, _MINIMUMS.get(code, int(half_dollar)), step)


_words = _PER_DOLLAR.split()
CURRENCIES = {code: _currency(code, Decimal(rate)) for code, rate in zip(_words[::2], _words[1::2], strict=True)}


def known(code: str) -> Currency:
    """The currency of this code, in either case."""
    currency = CURRENCIES.get(code.lower())
    if currency is None:
        raise errors.InvalidParameter(f"Invalid currency: {code}", param="currency")
    return currency


def written(amount: int, code: str) -> str:
    """An amount as people write it, such as `1,250.00 USD`."""
    decimals = known(code).decimals
    return f"{Decimal(amount).scaleb(-decimals):,.{decimals}f} {code.upper()}"


def check_amount(amount: int, code: str) -> None:
    """Refuse an amount that cannot be charged in this currency."""
    currency = known(code)
    if amount > AMOUNT_LIMIT:
        message = f"Amount must be no more than {AMOUNT_LIMIT} {code}"
        raise errors.InvalidParameter(message, code="amount_too_large", param="amount")
    if amount < currency.minimum:
        message = f"Amount must be at least {currency.minimum} {code}, which is 0.50 US dollars or its equivalent"
        raise errors.InvalidParameter(message, code="amount_too_small", param="amount")
    if amount % currency.step:
        message = f"Invalid amount: {code} amounts must be divisible by {currency.step}"
        raise errors.InvalidParameter(message, code="parameter_invalid_integer", param="amount")
