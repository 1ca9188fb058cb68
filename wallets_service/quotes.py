"""Quotes: the price of a conversion, offered for a short time, and accepted once.

A quote is a row that nobody can change. That it was accepted is not written there, but is the fact that its transfers
are posted, whose ids are derived from its own: no write has to agree with another. The id of the first is in the row
from the beginning, since PostgreSQL, which keeps an accepted quote from being deleted, cannot derive it.
"""

import dataclasses
import datetime
import uuid
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from kobklein import database, ids, money
from kobklein import errors as kobklein_errors
from kobklein.database import Session
from wallets_service import addresses, conversions, errors, fee_legs, fee_schedule, fees, wallets
from wallets_service.ledger import book, entries
from wallets_service.ledger.group_commit import Ledger
from wallets_service.models import Quote
from wallets_service.rates import decimals, sources, table
from wallets_service.repository import quotes as repository


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is to be priced; one of the amounts is 0, and is what the price gives."""

    sell_currency: str
    sell_amount: int
    buy_currency: str
    buy_amount: int


class State(NamedTuple):
    """A quote, and what became of it."""

    quote: Quote
    accepted_time: datetime.datetime | None = None
    expired: bool = False
    """Whether its time is over, accepted or not."""
    sell_balance: int | None = None
    """What the acceptance left of the sold currency, fee and all, where a call accepted it; minor units."""
    buy_balance: int | None = None
    """The same of the bought currency."""


async def create(
    session: Session,
    asked: Asked,
    *,
    user_id: str,
    others: Sequence[sources.RateSource],
    lifetime: datetime.timedelta,
) -> State:
    """Price a conversion, at the rate of the table or else of the other sources, and offer it for `lifetime`.

    Its fee is that of now, of what is sold and in that currency, and stays when the schedule changes.

    Raises InvalidArgument, ConversionNotOffered and RateStale.
    """
    _check(asked)
    pair = asked.sell_currency, asked.buy_currency
    rate = sources.find((await table.read(session), *others), *pair)
    price = _price(asked, rate)
    terms = await fee_schedule.terms(session, currency=asked.sell_currency, type_=entries.CONVERSION)
    id_, now = ids.new(), await repository.now(session)
    quote = Quote(
        id=id_,
        user_id=user_id,
        sell_currency=asked.sell_currency,
        sell_amount=price.sell_amount,
        buy_currency=asked.buy_currency,
        buy_amount=price.buy_amount,
        spread_amount=price.spread_amount,
        fee_amount=fees.charged(price.sell_amount, terms),
        rate=rate.value,
        spread_parts_per_million=rate.spread_parts_per_million,
        rounding=decimals.text(price.rounding),
        rounding_currency=price.rounding_currency,
        rate_source=rate.source,
        rate_time=rate.time,
        transfer_id=ids.derived(id_, "sell"),
        created_time=now,
        expires_time=now + lifetime,
    )
    await repository.insert_quote(session, quote)
    return State(quote)


def _check(asked: Asked) -> None:
    if asked.sell_currency == asked.buy_currency:
        raise kobklein_errors.InvalidArgument.of("buy.currency", "is the one that is sold")
    if asked.sell_amount and asked.buy_amount:
        raise kobklein_errors.InvalidArgument.of("buy.amount", "is what the quote says when sell.amount is given")
    if not asked.sell_amount and not asked.buy_amount:
        raise kobklein_errors.InvalidArgument.of("sell.amount", "is required, or buy.amount is")


def _price(asked: Asked, rate: sources.Rate) -> conversions.Price:
    if asked.sell_amount:
        return conversions.selling(asked.sell_amount, rate)
    return conversions.buying(asked.buy_amount, rate)


async def get(session: Session, id_: uuid.UUID, *, owner: str | None) -> State:
    """Return a quote; raises QuoteNotFound, also for another's than `owner`, who sees that of nobody else."""
    found = await repository.get_quote(session, id_)
    if found is None or owner not in (None, found[0].user_id):
        raise errors.QuoteNotFound(id=id_)
    return State(*found)


async def accept(
    sessions: database.Sessions, ledger: Ledger, id_: uuid.UUID, *, owner: str | None, acceptance_id: uuid.UUID
) -> State:
    """Convert at the quoted price, all legs together or none, and return the quote as it is then.

    All is decided by the ledger, under the locks of the accounts and by the database's clock. `acceptance_id` is part
    of the transfers: the same one again, at whatever time, finds them and is answered as at first; another one finds
    ids that belong to other content. A process that dies before the batch commits leaves nothing, and afterwards all.

    Raises QuoteNotFound, QuoteExpired, QuoteAlreadyAccepted, and the ledger's refusals; after those of wallets, such as
    InsufficientFunds, the quote is as open as before.
    """
    quote = (await database.transaction(sessions, lambda session: get(session, id_, owner=owner))).quote
    transfers = legs(quote, acceptance_id)
    first, *_ = outcomes = await ledger.post(transfers)
    if isinstance(first, entries.Posting):
        balances = _balances(quote, [each for each in outcomes if isinstance(each, entries.Posting)])
        return State(quote, first.created_time, False, *balances)
    raise _refusal(quote, transfers[0], outcomes)


def legs(quote: Quote, acceptance_id: uuid.UUID) -> list[entries.Transfer]:
    """Return the transfers of a quote, linked: what is sold and its fee, what is bought, and the spread.

    Fee and spread are none where they are 0. All carry the acceptance, so that another one is other content.
    """
    wallet = wallets.address(quote.user_id)
    moves = [
        (quote.transfer_id, wallet, addresses.LIQUIDITY, quote.sell_amount, quote.sell_currency, entries.CONVERSION),
        (_leg_id(quote, "fee"), wallet, addresses.FEES, quote.fee_amount, quote.sell_currency, fee_legs.TYPE),
        (_leg_id(quote, "buy"), addresses.LIQUIDITY, wallet, quote.buy_amount, quote.buy_currency, entries.CONVERSION),
        (
            _leg_id(quote, "spread"),
            addresses.LIQUIDITY,
            addresses.SPREAD,
            quote.spread_amount,
            quote.buy_currency,
            entries.CONVERSION,
        ),
    ]
    common: dict[str, Any] = {
        "description": _description(quote),
        "metadata": {"quote_id": str(quote.id), "acceptance_id": str(acceptance_id)},
        "expires_time": quote.expires_time,
    }
    made = [
        entries.Transfer(str(id_), debit, credit, amount, currency, type_, linked=True, **common)
        for id_, debit, credit, amount, currency, type_ in moves
        if amount
    ]
    made[-1] = dataclasses.replace(made[-1], linked=False)
    return made


def _balances(quote: Quote, postings: Sequence[entries.Posting]) -> tuple[int, int]:
    """Return what the legs of a quote left in the user's two wallets."""
    wallet = wallets.address(quote.user_id)
    sold = [each.debit_balance_after for each in postings if each.transfer.debit_account == wallet]
    bought = [each.credit_balance_after for each in postings if each.transfer.credit_account == wallet]
    return sold[-1], bought[-1]


def _leg_id(quote: Quote, leg: str) -> uuid.UUID:
    return ids.derived(quote.id, leg)


def _description(quote: Quote) -> str:
    sold = money.render(quote.sell_amount, quote.sell_currency)
    bought = money.render(quote.buy_amount, quote.buy_currency)
    return f"{sold} {quote.sell_currency} into {bought} {quote.buy_currency}"


def _refusal(quote: Quote, sold: entries.Transfer, outcomes: Sequence[book.Outcome]) -> kobklein_errors.Error:
    """Return why a quote is not accepted: what the ledger has against the first leg that it has anything against."""
    refusal = fee_legs.refusal(outcomes, sold, quote.fee_amount)
    assert refusal is not None  # noqa: S101  # the first leg is not posted, so one of them is refused by itself
    if isinstance(refusal, errors.TransferTooLate):
        return errors.QuoteExpired(id=quote.id)
    if isinstance(refusal, errors.TransferIdReused):
        return errors.QuoteAlreadyAccepted(id=quote.id)
    return refusal


def effective_rate(quote: Quote) -> Fraction:
    """Return how many units the user gets for one unit given, after spread and rounding and before the fee."""
    return conversions.effective_rate(
        sell_amount=quote.sell_amount,
        sell_currency=quote.sell_currency,
        buy_amount=quote.buy_amount,
        buy_currency=quote.buy_currency,
    )
