"""The arithmetic of conversions: nothing made, nothing lost, and every rounding in the platform's favour."""

import datetime
import itertools
import math
from collections.abc import Set
from fractions import Fraction
from typing import Final

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kobklein import errors, money
from wallets_service import conversions
from wallets_service import errors as service_errors
from wallets_service.rates import decimals, sources
from wallets_service.rates.sources import Rate

NOW: Final = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
CURRENCIES: Final = ("USD", "HTG", "JPY", "KWD")
MAX: Final = 10**money.MAX_DIGITS - 1


def rate(value: str | Fraction, *, sell: str = "USD", buy: str = "HTG", spread: int = 0, source: str = "table") -> Rate:
    return Rate(sell, buy, Fraction(value), spread, source, NOW)


def minor_rate(of: Rate) -> Fraction:
    """Return what one minor unit is worth in minor units, worked out another way than the module does."""
    return of.value * 10 ** money.exponent(of.buy_currency) / 10 ** money.exponent(of.sell_currency)


pairs = st.lists(st.sampled_from(CURRENCIES), min_size=2, max_size=2, unique=True)
values = st.one_of(
    st.integers(1, 10**21 - 1).map(lambda units: Fraction(units, 10**12)),
    st.fractions(Fraction(1, 1000), 1000).map(decimals.rounded_down),
)
spreads = st.one_of(st.sampled_from([0, 1, 15_000, 500_000]), st.integers(0, 500_000))
amounts = st.one_of(st.integers(1, 1000), st.integers(1, MAX))


@st.composite
def rates(draw: st.DrawFn) -> Rate:
    sell, buy = draw(pairs)
    return rate(draw(values), sell=sell, buy=buy, spread=draw(spreads))


def selling(amount: int, at: Rate) -> conversions.Price:
    """Return a price; examples that cannot be priced are passed over."""
    try:
        return conversions.selling(amount, at)
    except errors.InvalidArgument:
        assume(False)
        raise


def buying(amount: int, at: Rate) -> conversions.Price:
    try:
        return conversions.buying(amount, at)
    except errors.InvalidArgument:
        assume(False)
        raise


@given(amounts, rates())
def test_selling_sells_exactly_what_was_asked_and_rounds_what_is_bought_down(amount: int, at: Rate) -> None:
    price = selling(amount, at)
    assert price.sell_amount == amount
    assert price.buy_amount + price.rounding == amount * minor_rate(at) * at.share
    assert 0 <= price.rounding < 1
    assert price.rounding_currency == at.buy_currency


@given(amounts, rates())
def test_buying_buys_exactly_what_was_asked_and_rounds_what_is_sold_up(amount: int, at: Rate) -> None:
    price = buying(amount, at)
    assert price.buy_amount == amount
    assert (price.sell_amount - price.rounding) * minor_rate(at) * at.share == amount
    assert 0 <= price.rounding < 1
    assert price.rounding_currency == at.sell_currency


@given(amounts, rates(), st.booleans())
def test_what_is_bought_and_the_spread_are_all_that_what_is_sold_is_worth(amount: int, at: Rate, sells: bool) -> None:
    price = selling(amount, at) if sells else buying(amount, at)
    worth = price.sell_amount * minor_rate(at)
    assert 0 <= worth - (price.buy_amount + price.spread_amount) < 1
    assert price.spread_amount >= 0
    assert max(price.sell_amount, price.buy_amount + price.spread_amount) <= MAX


@given(amounts, rates())
def test_selling_leaves_the_platform_its_spread_to_less_than_one_minor_unit(amount: int, at: Rate) -> None:
    price = selling(amount, at)
    share = amount * minor_rate(at) * (1 - at.share)
    assert abs(price.spread_amount - share) < 1


@given(amounts, rates())
def test_without_a_spread_selling_costs_none(amount: int, at: Rate) -> None:
    price = selling(amount, rate(at.value, sell=at.sell_currency, buy=at.buy_currency))
    assert price.spread_amount == 0


@given(amounts, rates(), spreads, st.booleans())
def test_there_and_back_never_profits_the_user(amount: int, at: Rate, spread_back: int, buys_back: bool) -> None:
    back_value = decimals.rounded_down(1 / at.value)
    assume(back_value > 0)
    back = rate(back_value, sell=at.buy_currency, buy=at.sell_currency, spread=spread_back)
    assert not sources.gaining_round([at, back])
    there = selling(amount, at)
    if not buys_back:
        assert selling(there.buy_amount, back).buy_amount <= amount
        return
    again = buying(amount, back)  # To have again what was sold takes at least what it gave.
    assert again.sell_amount >= there.buy_amount


@given(amounts, rates())
def test_the_effective_rate_is_never_better_than_the_rate(amount: int, at: Rate) -> None:
    for price in (selling(amount, at), buying(amount, at)):
        got = conversions.effective_rate(
            sell_amount=price.sell_amount,
            sell_currency=at.sell_currency,
            buy_amount=price.buy_amount,
            buy_currency=at.buy_currency,
        )
        assert 0 < got <= at.value * at.share


@pytest.mark.parametrize(
    ("pair", "value", "spread", "asked", "expected"),
    [
        ("USD/HTG", "131.25", 15_000, 10_001, (10_001, 1_292_941, 19_690, "0.78125")),
        ("USD/JPY", "150.5", 0, 199, (199, 299, 0, "0.495")),
        ("JPY/USD", "0.0066", 0, 199, (199, 131, 0, "0.34")),
        ("KWD/JPY", "490", 10_000, 1_001, (1_001, 485, 5, "0.5851")),
        ("JPY/KWD", "0.00204", 0, 1, (1, 2, 0, "0.04")),
    ],
)
def test_currencies_of_any_decimals_are_sold(
    pair: str, value: str, spread: int, asked: int, expected: tuple[int, int, int, str]
) -> None:
    sell, buy = pair.split("/")
    price = conversions.selling(asked, rate(value, sell=sell, buy=buy, spread=spread))
    shown = price.sell_amount, price.buy_amount, price.spread_amount, decimals.text(price.rounding)
    assert shown == expected


def test_who_buys_less_than_the_smallest_unit_to_sell_is_worth_pays_that_unit() -> None:
    price = conversions.buying(100, rate("25000", buy="VND"))
    assert (price.sell_amount, price.buy_amount, price.spread_amount) == (1, 100, 150)
    assert decimals.text(price.rounding) == "0.6"


@pytest.mark.parametrize(
    ("amount", "value", "spread", "wrong"),
    [
        (1, "0.99", 0, "too small"),
        (1, "1", 1, "too small"),
        (MAX, "1.000000000001", 0, "too large"),
        (MAX, "1.9", 500_000, "too large"),  # What the user gets would fit; what moves does not.
    ],
)
def test_what_selling_cannot_give_names_the_amount_to_sell(amount: int, value: str, spread: int, wrong: str) -> None:
    with pytest.raises(errors.InvalidArgument, match=wrong) as caught:
        conversions.selling(amount, rate(value, spread=spread))
    assert [each.field for each in caught.value.violations] == ["sell.amount"]


@pytest.mark.parametrize(("amount", "value", "spread"), [(MAX, "0.99", 0), (MAX, "2", 500_000)])
def test_what_buying_cannot_take_names_the_amount_to_buy(amount: int, value: str, spread: int) -> None:
    with pytest.raises(errors.InvalidArgument, match="too large") as caught:
        conversions.buying(amount, rate(value, spread=spread))
    assert [each.field for each in caught.value.violations] == ["buy.amount"]


def test_the_largest_amount_is_still_converted() -> None:
    assert conversions.selling(MAX, rate("1")).buy_amount == MAX
    assert conversions.buying(MAX, rate("1")).sell_amount == MAX


@given(st.integers(0, 10**24))
def test_a_decimal_survives_the_way_to_text_and_back(units: int) -> None:
    value = Fraction(units, 10**12)
    text = decimals.text(value)
    assert Fraction(text) == value == decimals.rounded_down(value)
    assert not (text.endswith("0") and "." in text)


def test_what_has_no_end_is_cut() -> None:
    assert decimals.text(Fraction(2, 3)) == "0.666666666666"
    assert decimals.rounded_down(Fraction(2, 3)) == Fraction("0.666666666666")


class Fixed:
    """A source with rates that never change."""

    def __init__(self, *fixed: Rate, stale: bool = False) -> None:
        self._fixed, self._stale = fixed, stale

    def rate(self, sell_currency: str, buy_currency: str) -> Rate | None:

        if self._stale:
            raise service_errors.RateStale(source="fixed")
        pair = (sell_currency, buy_currency)
        return next((each for each in self._fixed if (each.sell_currency, each.buy_currency) == pair), None)

    def rates(self) -> list[Rate]:
        return list(self._fixed)

    def stations(self, _known: Set[str]) -> set[str]:
        return {currency for each in self._fixed for currency in (each.sell_currency, each.buy_currency)}


def test_the_first_source_that_has_a_rate_has_the_say() -> None:
    first, second = rate("131"), rate("132", source="http")
    other = rate("0.9", buy="EUR", source="http")
    served = (Fixed(first), Fixed(second, other))
    assert sources.find(served, "USD", "HTG") == first
    assert sources.find(served, "USD", "EUR") == other
    assert sources.every(served) == [other, first]


def test_a_source_that_is_not_needed_may_be_stale() -> None:

    served = (Fixed(rate("131")), Fixed(stale=True))
    assert sources.find(served, "USD", "HTG").value == 131
    with pytest.raises(service_errors.RateStale):
        sources.find(served, "HTG", "USD")


def test_a_rate_is_offered_as_long_as_going_there_and_back_gains_nothing() -> None:
    there, back = rate("2", spread=500_000), rate("1", sell="HTG", buy="USD", source="http")
    assert sources.find((Fixed(there), Fixed(back)), "USD", "HTG") == there

    better = rate("1.000000000001", sell="HTG", buy="USD", source="http")
    for pair in (("USD", "HTG"), ("HTG", "USD")):
        with pytest.raises(service_errors.ConversionNotOffered):
            sources.find((Fixed(there), Fixed(better)), *pair)


def test_no_rate_of_a_round_in_which_money_grows_is_offered_and_every_other_one_is() -> None:
    """One dollar becomes 1.0348 by going round; none of the three has a rate back."""
    round_ = (
        rate("131.25", spread=15_000),
        rate("0.0075", sell="HTG", buy="EUR", spread=15_000),
        rate("1.10", sell="EUR", buy="USD", spread=15_000),
    )
    aside = rate("150", buy="JPY"), rate("0.0066", sell="JPY", buy="USD")
    served = (Fixed(*round_, *aside),)
    for each in round_:
        with pytest.raises(service_errors.ConversionNotOffered):
            sources.find(served, each.sell_currency, each.buy_currency)
    for each in aside:
        assert sources.find(served, each.sell_currency, each.buy_currency) == each
    assert sources.find((Fixed(*round_[:2], *aside),), "USD", "HTG") == round_[0]


ROUNDS: Final = [
    tuple(zip(order, (*order[1:], order[0]), strict=True))
    for length in (2, 3, 4)
    for order in itertools.permutations(["USD", "HTG", "EUR", "JPY"], length)
]
codes = st.sampled_from(["USD", "HTG", "EUR", "JPY"])
tables = st.dictionaries(
    st.tuples(codes, codes).filter(lambda pair: pair[0] != pair[1]), st.integers(1, 40), max_size=12
)


@given(tables)
def test_only_rates_of_gaining_rounds_are_refused_and_those_that_are_left_have_none(
    tenths: dict[tuple[str, str], int],
) -> None:
    fixed = Fixed(*(rate(Fraction(value, 10), sell=sell, buy=buy) for (sell, buy), value in tenths.items()))
    gaining = [set(each) for each in ROUNDS if math.prod(Fraction(tenths.get(pair, 0), 10) for pair in each) > 1]
    refused = set()
    for pair in tenths:
        try:
            sources.find((fixed,), *pair)
        except service_errors.ConversionNotOffered:
            refused.add(pair)
    assert refused <= set().union(*gaining)
    assert all(each & refused for each in gaining)
