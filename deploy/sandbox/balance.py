"""Balance transactions: what each money movement does to the account, after fees and conversion."""

from typing import Any

from deploy.sandbox import currencies, listings
from deploy.sandbox.clock import DAY
from deploy.sandbox.parameters import Arguments, Fields, Text, Unsupported
from deploy.sandbox.state import State
from deploy.sandbox.store import Object

FEE_PER_TEN_THOUSAND = 290
FEE_FIXED_CENTS = 30
PENDING_DAYS = 2

RETRIEVE = Fields({})
LIST = listings.parameters(currency=Text(), source=Text(), type=Text(), payout=Unsupported())
BALANCE = Fields({})


def post(
    state: State,
    kind: str,
    source: Object,
    *,
    amount: int,
    fee: int = 0,
    category: str | None = None,
    settled: bool = False,
) -> Object:
    """Book `amount` minor units of the source's currency (negative: money leaves), less a fee in cents."""
    currency = currencies.known(source["currency"])
    cents = currency.to_settlement(amount)
    now = state.clock.now()
    transaction = {
        "id": state.identifier("txn"),
        "object": "balance_transaction",
        "amount": cents,
        "available_on": now if settled or cents < 0 else now + PENDING_DAYS * DAY,
        "balance_type": "payments",
        "created": now,
        "currency": currencies.SETTLEMENT,
        "description": source.get("description"),
        "exchange_rate": None if currency.code == currencies.SETTLEMENT else round(float(currency.exchange_rate), 9),
        "fee": fee,
        "fee_details": [_fee(fee)] if fee else [],
        "net": cents - fee,
        "reporting_category": category or kind,
        "source": source["id"],
        "status": "available" if settled or cents < 0 else "pending",
        "type": kind,
    }
    state.store.put(transaction)
    return transaction


def charge(state: State, charge: Object, *, settled: bool) -> Object:
    """Book what a charge collected, less Stripe's fee: 2.9 % and 30 cents, rounded half up."""
    cents = currencies.known(charge["currency"]).to_settlement(charge["amount_captured"])
    fee = (cents * FEE_PER_TEN_THOUSAND + 5000) // 10_000 + FEE_FIXED_CENTS
    return post(state, "charge", charge, amount=charge["amount_captured"], fee=fee, settled=settled)


def retrieve(state: State, arguments: Arguments) -> Object:
    """One balance transaction."""
    return _current(state, state.get("balance_transaction", arguments["id"]))


def list_(state: State, arguments: Arguments) -> Object:
    """Balance transactions, newest first."""
    page = listings.page(state, "balance_transaction", "/v1/balance_transactions", arguments)
    page["data"] = [_current(state, transaction) for transaction in page["data"]]
    return page


def balance(state: State, _arguments: Arguments) -> Object:
    """What the account holds, available and pending."""
    row = state.store.execute(
        "SELECT coalesce(sum(body ->> '$.net') FILTER (WHERE body ->> '$.available_on' <= ?1), 0),"
        " coalesce(sum(body ->> '$.net') FILTER (WHERE body ->> '$.available_on' > ?1), 0)"
        " FROM objects WHERE kind = 'balance_transaction'",
        (state.clock.now(),),
    ).fetchone()
    available, pending = (_holding(amount) for amount in row)
    return {"object": "balance", "available": [available], "livemode": False, "pending": [pending]}


def _current(state: State, transaction: Object) -> Object:
    if transaction["available_on"] <= state.clock.now():
        transaction["status"] = "available"
    return transaction


def _holding(amount: int) -> dict[str, Any]:
    return {"amount": amount, "currency": currencies.SETTLEMENT, "source_types": {"card": amount}}


def _fee(amount: int) -> dict[str, Any]:
    return {
        "amount": amount,
        "application": None,
        "currency": currencies.SETTLEMENT,
        "description": "Stripe processing fees",
        "type": "stripe_fee",
    }
