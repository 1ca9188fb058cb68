"""Very many amounts, split by fees and conversions as they come: no minor unit is made, lost or charged twice."""

import math
import random
from fractions import Fraction
from typing import Final

import pytest

from kobklein import errors, money
from tests.sizes import size
from wallets_service import conversions, fees
from wallets_service.rates.sources import Rate

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(3_600)]
CASES: Final = size(5_000, 500_000)
CURRENCIES: Final = ("USD", "HTG", "JPY", "KWD")
MOST: Final = 10**money.MAX_DIGITS - 1


def amount(dice: random.Random) -> int:
    """Return an amount of any length: as often small as large."""
    return dice.randint(1, 10 ** dice.randint(1, money.MAX_DIGITS) - 1)


def test_a_fee_takes_from_the_payer_what_the_platform_gets() -> None:
    dice = random.Random(14)
    for _ in range(CASES):
        least, moved = dice.choice((0, amount(dice))), amount(dice)
        terms = fees.Terms(
            fixed_amount=dice.choice((0, amount(dice))),
            parts_per_million=dice.choice((0, 1, dice.randint(0, 1_000_000))),
            floor_amount=least,
            cap_amount=dice.choice((None, least, least + amount(dice))),
        )
        fee = fees.charged(moved, terms)
        exact = terms.fixed_amount + Fraction(moved * terms.parts_per_million, 1_000_000)
        bounded = max(exact, least) if terms.cap_amount is None else min(max(exact, least), terms.cap_amount)
        assert type(fee) is int, terms
        assert 0 <= bounded - fee < 1, (moved, terms)


def test_a_conversion_gives_and_keeps_all_that_is_sold() -> None:
    dice, priced = random.Random(15), 0
    for _ in range(CASES):
        sell, buy = dice.sample(CURRENCIES, 2)
        value = Fraction(dice.randint(1, 10**21 - 1), 10 ** dice.randint(12, 21))
        at = Rate(sell, buy, value, dice.choice((0, 15_000, dice.randint(0, 500_000))), "table", None)
        price_of = dice.choice((conversions.selling, conversions.buying))
        try:
            price = price_of(amount(dice), at)
        except errors.InvalidArgument:
            continue  # Too little to buy anything for, or more than an amount can be.
        priced += 1
        worth = price.sell_amount * value * Fraction(10) ** (money.exponent(buy) - money.exponent(sell))
        assert price.buy_amount + price.spread_amount == math.floor(worth), (price, at)
        assert min(price.buy_amount, price.spread_amount + 1) > 0, (price, at)
        assert price.buy_amount <= worth * at.share, (price, at)
    assert priced > CASES / 4
