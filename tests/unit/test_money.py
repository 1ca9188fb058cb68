"""Money is exact: text to minor units and back, never through a float."""

import decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kobklein import errors, money

LARGEST = 10**money.MAX_DIGITS - 1


@given(st.integers(-LARGEST, LARGEST), st.sampled_from(sorted(money.currencies())))
def test_rendered_money_parses_to_the_same_minor_units(minor_units: int, currency: str) -> None:
    assert money.parse(money.render(minor_units, currency), currency) == minor_units


@given(st.integers(-LARGEST, LARGEST), st.sampled_from(["JPY", "HTG", "KWD"]))
def test_rendered_money_is_the_decimal_of_its_minor_units(minor_units: int, currency: str) -> None:
    exact = decimal.Decimal(minor_units).scaleb(-money.exponent(currency))
    assert decimal.Decimal(money.render(minor_units, currency)) == exact


@pytest.mark.parametrize(
    ("text", "currency", "minor_units"),
    [
        ("100", "HTG", 10000),
        ("100.5", "HTG", 10050),
        ("100.50", "HTG", 10050),
        ("0.01", "USD", 1),
        ("007", "JPY", 7),
        ("1.005", "KWD", 1005),
        ("-3.20", "USD", -320),
        ("9999999999999.99", "USD", LARGEST),
    ],
)
def test_plain_decimal_text_is_exact(text: str, currency: str, minor_units: int) -> None:
    assert money.parse(text, currency) == minor_units


@pytest.mark.parametrize(
    "text",
    [
        "",
        " 1",
        "1 ",
        "1.",
        ".5",
        "1,5",
        "1e2",
        "1E2",
        "+1",
        "--1",
        "0x10",
        "NaN",
        "Infinity",
        "1_000",
        "١٢",
        "1.2.3",
        "1\n",
    ],
)
def test_text_that_is_not_a_plain_decimal_is_refused(text: str) -> None:
    with pytest.raises(money.InvalidAmount, match="plain decimal"):
        money.parse(text, "HTG")


@pytest.mark.parametrize(("text", "currency"), [("1.001", "USD"), ("1.0", "JPY"), ("1.0001", "KWD"), ("1.000", "HTG")])
def test_more_decimals_than_the_currency_has_are_refused(text: str, currency: str) -> None:
    with pytest.raises(money.InvalidAmount, match="decimals of"):
        money.parse(text, currency)


@pytest.mark.parametrize("text", ["10000000000000.00", "9" * 400, "1" + "0" * 15])
def test_more_than_fifteen_digits_are_refused(text: str) -> None:
    with pytest.raises(money.InvalidAmount, match="15 digits"):
        money.parse(text, "USD")


@pytest.mark.parametrize("currency", ["", "usd", "XXX", "ABC", "HTGG"])
def test_an_unknown_currency_is_refused(currency: str) -> None:
    with pytest.raises(money.UnknownCurrency):
        money.parse("1", currency)
    with pytest.raises(money.UnknownCurrency):
        money.render(1, currency)


def test_exponents_are_those_of_iso_4217() -> None:
    assert {code: money.exponent(code) for code in ("JPY", "MGA", "HTG", "USD", "BHD", "UGX", "ISK")} == {
        "JPY": 0,
        "MGA": 2,
        "HTG": 2,
        "USD": 2,
        "BHD": 3,
        "UGX": 0,
        "ISK": 0,
    }


@pytest.mark.parametrize("amount", [0, 2**63 - 1, -(2**63)])
def test_a_sum_within_64_bits_passes(amount: int) -> None:
    assert money.in_64_bits(amount, "HTG", name="the sum") == amount


@pytest.mark.parametrize("amount", [2**63, -(2**63) - 1, 10**30])
def test_a_sum_beyond_64_bits_is_an_error_that_names_it(amount: int) -> None:
    with pytest.raises(errors.SumOverflow, match="the sum in HTG is more than 64 bits hold"):
        money.in_64_bits(amount, "HTG", name="the sum")
