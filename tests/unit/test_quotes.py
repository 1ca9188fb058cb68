"""The transfers of a quote: each minor unit that leaves an account comes into another, and all legs are one group."""

import collections
import datetime
import uuid
from fractions import Fraction
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from kobklein import money
from wallets_service import quotes
from wallets_service.ledger import entries
from wallets_service.models import Quote

NOW: Final = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
MOST: Final = 10**money.MAX_DIGITS - 1
ACCEPTANCE: Final = uuid.UUID(int=7)
amounts, extras = st.integers(1, MOST), st.just(0) | st.integers(1, MOST)


@st.composite
def offered(draw: st.DrawFn) -> Quote:
    return Quote(
        id=draw(st.uuids()),
        user_id="ana",
        sell_currency="USD",
        sell_amount=draw(amounts),
        buy_currency="HTG",
        buy_amount=draw(amounts),
        spread_amount=draw(extras),
        fee_amount=draw(extras),
        rate=Fraction(1),
        transfer_id=draw(st.uuids()),
        expires_time=NOW,
    )


@given(offered())
def test_the_user_pays_what_is_sold_and_the_fee_and_gets_what_is_bought(quote: Quote) -> None:
    balances: collections.Counter[entries.Key] = collections.Counter()
    for leg in quotes.legs(quote, ACCEPTANCE):
        balances[leg.debit_key] -= leg.amount
        balances[leg.credit_key] += leg.amount
    assert {key: balance for key, balance in balances.items() if balance} == {
        key: balance
        for key, balance in {
            ("user/ana", "USD"): -(quote.sell_amount + quote.fee_amount),
            ("fees", "USD"): quote.fee_amount,
            ("fx/liquidity", "USD"): quote.sell_amount,
            ("user/ana", "HTG"): quote.buy_amount,
            ("fx/spread", "HTG"): quote.spread_amount,
            ("fx/liquidity", "HTG"): -(quote.buy_amount + quote.spread_amount),
        }.items()
        if balance
    }


@given(offered())
def test_all_legs_are_one_group_of_one_acceptance_in_time(quote: Quote) -> None:
    legs = quotes.legs(quote, ACCEPTANCE)
    assert [leg.linked for leg in legs] == [True] * (len(legs) - 1) + [False]
    assert len({leg.id for leg in legs}) == len(legs) == 2 + bool(quote.spread_amount) + bool(quote.fee_amount)
    assert legs[0].id == str(quote.transfer_id)
    for leg in legs:
        assert (leg.amount > 0, leg.expires_time) == (True, NOW)
        assert leg.metadata == {"quote_id": str(quote.id), "acceptance_id": str(ACCEPTANCE)}
        assert leg.type == ("FEE" if leg.credit_account == "fees" else "CONVERSION")
    again = quotes.legs(quote, uuid.UUID(int=8))
    assert [leg.id for leg in again] == [leg.id for leg in legs]
    assert all(one != other for one, other in zip(again, legs, strict=True))


@given(offered())
def test_the_fee_follows_what_it_is_charged_for(quote: Quote) -> None:
    places = [leg.credit_account for leg in quotes.legs(quote, ACCEPTANCE)]
    assert places[: 1 + bool(quote.fee_amount)] == ["fx/liquidity", "fees"][: 1 + bool(quote.fee_amount)]
    assert places.count("fees") == bool(quote.fee_amount)
