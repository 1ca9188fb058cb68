"""What a transfer costs: arithmetic in whole minor units."""

import datetime
import fractions
import math
import uuid
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wallets_service import fees, transfers
from wallets_service.ledger import decisions, entries
from wallets_service.ledger.book import State

NOW: Final = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
MOST: Final = 9_999_999_999_999
amounts = st.integers(1, MOST)
parts = st.integers(0, 1_000_000)


@st.composite
def terms(draw: st.DrawFn) -> fees.Terms:
    floor = draw(st.integers(0, MOST))
    return fees.Terms(
        fixed_amount=draw(st.integers(0, MOST)),
        parts_per_million=draw(parts),
        floor_amount=floor,
        cap_amount=draw(st.none() | st.integers(floor, MOST)),
    )


@given(amounts, terms(), st.integers(-1, 2))
def test_what_the_payer_pays_is_what_the_payee_and_the_platform_get(
    amount: int, given_terms: fees.Terms, spare: int
) -> None:
    """To the last minor unit: with one less than both, neither moves."""
    fee = fees.charged(amount, given_terms)
    order = transfers.Order(user_id="ana", to_user_id="ben", amount=amount, currency="HTG")
    opened = {(address, "HTG"): entries.opened((address, "HTG")) for address in ("user/ana", "user/ben", "fees")}
    opened["user/ana", "HTG"] = opened["user/ana", "HTG"]._replace(balance=amount + fee + spare)
    legs = transfers._legs(order.transfer(uuid.UUID(int=1)), fee)
    decision = decisions.decide(legs, State(accounts=opened, time=NOW))
    after = {address: account.balance for (address, _), account in {**opened, **decision.accounts}.items()}
    if spare < 0:
        assert after == {"user/ana": amount + fee + spare, "user/ben": 0, "fees": 0}
    else:
        assert after == {"user/ana": spare, "user/ben": amount, "fees": fee}


@given(amounts, terms(), st.data())
def test_what_is_due_of_a_hold_is_what_a_transfer_of_what_is_posted_costs(
    amount: int, given_terms: fees.Terms, data: st.DataObject
) -> None:
    posted = data.draw(st.integers(1, amount))
    assert fees.due(given_terms, 0) == 0
    assert fees.due(given_terms, posted) == fees.charged(posted, given_terms) <= fees.charged(amount, given_terms)


@given(amounts, terms())
def test_a_fee_is_within_its_bounds_and_never_negative(amount: int, given_terms: fees.Terms) -> None:
    fee = fees.charged(amount, given_terms)
    assert 0 <= given_terms.floor_amount <= fee
    assert given_terms.cap_amount is None or fee <= given_terms.cap_amount


@given(amounts, amounts, terms())
def test_more_never_costs_less(one: int, other: int, given_terms: fees.Terms) -> None:
    small, large = sorted((one, other))
    assert fees.charged(small, given_terms) <= fees.charged(large, given_terms)


@given(amounts, terms())
def test_a_fee_is_the_exact_one_rounded_down_and_then_bounded(amount: int, given_terms: fees.Terms) -> None:
    exact = given_terms.fixed_amount + fractions.Fraction(amount * given_terms.parts_per_million, 1_000_000)
    cap = math.inf if given_terms.cap_amount is None else given_terms.cap_amount
    assert fees.charged(amount, given_terms) == min(max(math.floor(exact), given_terms.floor_amount), cap)


@given(st.lists(amounts, min_size=1, max_size=20), parts)
def test_rounding_takes_less_than_one_unit_from_the_platform_and_nothing_from_the_payer(
    split: list[int], parts_per_million: int
) -> None:
    by_part = fees.Terms(parts_per_million=parts_per_million)
    lost = fees.charged(sum(split), by_part) - sum(fees.charged(amount, by_part) for amount in split)
    assert 0 <= lost < len(split)


@pytest.mark.parametrize(
    ("amount", "given_terms", "fee"),
    [
        (2500, fees.FREE, 0),
        (2500, fees.Terms(parts_per_million=10_000), 25),
        (99, fees.Terms(parts_per_million=10_000), 0),
        (199, fees.Terms(parts_per_million=10_000), 1),
        (199, fees.Terms(fixed_amount=500, parts_per_million=10_000), 501),
        (199, fees.Terms(parts_per_million=10_000, floor_amount=100), 100),
        (5_000_000, fees.Terms(parts_per_million=10_000, cap_amount=25_000), 25_000),
        (1, fees.Terms(parts_per_million=1_000_000), 1),
        (1, fees.Terms(fixed_amount=500, cap_amount=0), 0),
        (MOST, fees.Terms(fixed_amount=MOST, parts_per_million=1_000_000), 2 * MOST),
    ],
)
def test_a_fee_is_a_fixed_part_and_a_part_of_the_amount(amount: int, given_terms: fees.Terms, fee: int) -> None:
    assert fees.charged(amount, given_terms) == fee


@pytest.mark.parametrize(
    "wrong",
    [
        {"floor_amount": 2, "cap_amount": 1},
        {"cap_amount": -1},
        {"fixed_amount": -1},
        {"floor_amount": -1},
        {"parts_per_million": -1},
        {"parts_per_million": 1_000_001},
    ],
    ids=str,
)
def test_impossible_terms_cannot_be_made(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"fee|cap"):
        fees.Terms(**wrong)
