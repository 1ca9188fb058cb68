"""The messages of conversions."""

from fractions import Fraction

from kobklein.wallets.v1 import conversions_pb2
from wallets_service import quotes
from wallets_service.messages import common
from wallets_service.rates import decimals, sources


def asked(request: conversions_pb2.CreateQuoteRequest) -> quotes.Asked:
    """Return what a request wants priced."""
    return quotes.Asked(
        sell_currency=request.sell.currency,
        sell_amount=request.sell.amount,
        buy_currency=request.buy.currency,
        buy_amount=request.buy.amount,
    )


def rate_value(message: conversions_pb2.Rate) -> Fraction:
    """Return a rate from its text, whose form the contract has checked."""
    return Fraction(message.rate)


def quote(state: quotes.State) -> conversions_pb2.Quote:
    """Return a quote."""
    row, accepted_time = state.quote, state.accepted_time
    message = conversions_pb2.Quote(
        id=str(row.id),
        user_id=row.user_id,
        sell=conversions_pb2.Money(amount=row.sell_amount, currency=row.sell_currency),
        buy=conversions_pb2.Money(amount=row.buy_amount, currency=row.buy_currency),
        spread=conversions_pb2.Money(amount=row.spread_amount, currency=row.buy_currency),
        fee=conversions_pb2.Money(amount=row.fee_amount, currency=row.sell_currency),
        rate=decimals.text(row.rate),
        spread_parts_per_million=row.spread_parts_per_million,
        effective_rate=decimals.text(quotes.effective_rate(row)),
        rounding=row.rounding,
        rounding_currency=row.rounding_currency,
        rate_source=row.rate_source,
        rate_time=common.timestamp(row.rate_time),
        status=_status(state),
        expires_time=common.timestamp(row.expires_time),
        created_time=common.timestamp(row.created_time),
        accepted_time=common.optional_timestamp(accepted_time),
        transaction_id="" if accepted_time is None else str(row.transfer_id),
    )
    if state.sell_balance is not None and state.buy_balance is not None:
        message.sell_balance.CopyFrom(conversions_pb2.Money(amount=state.sell_balance, currency=row.sell_currency))
        message.buy_balance.CopyFrom(conversions_pb2.Money(amount=state.buy_balance, currency=row.buy_currency))
    return message


def _status(state: quotes.State) -> "conversions_pb2.QuoteStatus.ValueType":
    if state.accepted_time is not None:
        return conversions_pb2.QUOTE_STATUS_ACCEPTED
    return conversions_pb2.QUOTE_STATUS_EXPIRED if state.expired else conversions_pb2.QUOTE_STATUS_OPEN


def rate(found: sources.Rate) -> conversions_pb2.Rate:
    """Return a rate."""
    return conversions_pb2.Rate(
        sell_currency=found.sell_currency,
        buy_currency=found.buy_currency,
        rate=decimals.text(found.value),
        spread_parts_per_million=found.spread_parts_per_million,
        source=found.source,
        updated_time=common.timestamp(found.time),
    )
