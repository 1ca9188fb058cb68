"""Stripe's own minor units."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kobklein import errors, money
from payments_service.providers import stripe_amounts


@pytest.mark.parametrize(
    ("amount", "currency", "at_stripe"),
    [
        (10_000, "USD", 10_000),
        (10_000, "HTG", 10_000),
        (500, "JPY", 500),
        (500, "XAF", 500),
        (12_340, "KWD", 12_340),
        (500, "ISK", 50_000),
        (500, "UGX", 50_000),
        (500_00, "MGA", 500),
        (99_999_999, "USD", 99_999_999),
    ],
)
def test_amounts_go_to_stripe_and_come_back(amount: int, currency: str, at_stripe: int) -> None:
    assert stripe_amounts.to_stripe(amount, currency) == at_stripe
    assert stripe_amounts.from_stripe(at_stripe, currency) == amount


@pytest.mark.parametrize(
    ("amount", "currency"),
    [(100_000_000, "USD"), (1_000_000, "ISK"), (12_345, "KWD"), (50_050, "MGA"), (10_000_000_000, "MGA")],
)
def test_what_stripe_cannot_express_is_refused_by_the_field(amount: int, currency: str) -> None:
    with pytest.raises(errors.InvalidArgument) as refusal:
        stripe_amounts.to_stripe(amount, currency)
    assert [violation.field for violation in refusal.value.violations] == ["amount"]


@pytest.mark.parametrize(
    ("currency", "most"),
    [("USD", "999999.99"), ("JPY", "99999999"), ("ISK", "999999"), ("KWD", "99999.99"), ("MGA", "99999999.00")],
)
def test_the_most_that_is_charged_is_told_in_decimals_and_is_taken(currency: str, most: str) -> None:
    with pytest.raises(errors.InvalidArgument, match=f"must be at most {most}0? {currency}"):
        stripe_amounts.to_stripe(10**15 - 10**3, currency)
    stripe_amounts.to_stripe(money.parse(most, currency), currency)  # Raises nothing.


def test_half_a_krona_from_stripe_is_no_amount() -> None:
    with pytest.raises(ValueError, match="no whole amount"):
        stripe_amounts.from_stripe(150, "ISK")


@given(currency=st.sampled_from(sorted(money.currencies())), amount=st.integers(1, 10**15 - 1))
def test_whatever_goes_to_stripe_comes_back_the_same(currency: str, amount: int) -> None:
    try:
        at_stripe = stripe_amounts.to_stripe(amount, currency)
    except errors.InvalidArgument:
        return
    assert 0 < at_stripe < 10**8
    assert stripe_amounts.from_stripe(at_stripe, currency) == amount
