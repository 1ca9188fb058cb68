"""The RPCs of conversions."""

import datetime
import uuid
from collections.abc import Collection, Sequence
from typing import Any

import grpc
from google.protobuf import empty_pb2

from kobklein import calls, database, errors, idempotency, ids
from kobklein.wallets.v1 import conversions_pb2, conversions_pb2_grpc
from wallets_service import instants, quotes
from wallets_service.ledger.group_commit import Ledger
from wallets_service.messages import conversions as messages
from wallets_service.rates import sources, table

_Context = grpc.aio.ServicerContext[Any, Any]


class ConversionsServicer(conversions_pb2_grpc.ConversionsServiceServicer):
    """Quotes and makes conversions."""

    def __init__(
        self,
        sessions: database.Sessions,
        ledger: Ledger,
        others: Sequence[sources.RateSource],
        *,
        quote_lifetime: datetime.timedelta,
        currencies: Collection[str],
    ) -> None:
        """Sell these currencies at rates of the table, and of `others` where it has none."""
        self._currencies = currencies
        self._sessions = sessions
        self._ledger = ledger
        self._others = others
        self._quote_lifetime = quote_lifetime

    async def CreateQuote(
        self, request: conversions_pb2.CreateQuoteRequest, _context: _Context
    ) -> conversions_pb2.Quote:
        """Create a quote."""
        user_id = request.user_id or calls.current().subject

        async def effect(session: database.Session) -> conversions_pb2.Quote:
            errors.CurrencyNotOffered.check("buy.currency", request.buy.currency, self._currencies)
            state = await quotes.create(
                session,
                messages.asked(request),
                user_id=user_id,
                others=self._others,
                lifetime=self._quote_lifetime,
            )
            return messages.quote(state)

        return await idempotency.once(self._sessions, request, effect, conversions_pb2.Quote)

    async def GetQuote(self, request: conversions_pb2.GetQuoteRequest, _context: _Context) -> conversions_pb2.Quote:
        """Get a quote."""
        owner = calls.current().owner
        state = await instants.read_at_end(
            self._sessions,
            lambda session: quotes.get(session, uuid.UUID(request.id), owner=owner),
            lambda state: state.quote.expires_time if state.expired and state.accepted_time is None else None,
        )
        return messages.quote(state)

    async def AcceptQuote(
        self, request: conversions_pb2.AcceptQuoteRequest, _context: _Context
    ) -> conversions_pb2.Quote:
        """Accept a quote; a caller's key means the same acceptance for ever, not only for as long as keys are kept."""
        call, id_ = calls.current(), uuid.UUID(request.id)
        acceptance_id = ids.new()
        if call.idempotency_key:
            acceptance_id = ids.derived(id_, f"accepted by {call.subject} with {call.idempotency_key}")

        async def effect(_shared_id: uuid.UUID) -> conversions_pb2.Quote:
            return messages.quote(
                await quotes.accept(self._sessions, self._ledger, id_, owner=call.owner, acceptance_id=acceptance_id)
            )

        return await idempotency.repeatable(self._sessions, request, effect, conversions_pb2.Quote)

    async def SetRate(self, request: conversions_pb2.SetRateRequest, _context: _Context) -> conversions_pb2.Rate:
        """Set a rate."""

        async def effect(session: database.Session) -> conversions_pb2.Rate:
            rate = await table.set_(
                session,
                sell_currency=request.rate.sell_currency,
                buy_currency=request.rate.buy_currency,
                value=messages.rate_value(request.rate),
                spread_parts_per_million=request.rate.spread_parts_per_million,
                reason=request.reason,
            )
            return messages.rate(rate)

        return await idempotency.once(self._sessions, request, effect, conversions_pb2.Rate)

    async def DeleteRate(self, request: conversions_pb2.DeleteRateRequest, _context: _Context) -> empty_pb2.Empty:
        """Delete a rate."""

        async def effect(session: database.Session) -> empty_pb2.Empty:
            await table.delete(
                session,
                sell_currency=request.sell_currency,
                buy_currency=request.buy_currency,
                reason=request.reason,
            )
            return empty_pb2.Empty()

        return await idempotency.once(self._sessions, request, effect, empty_pb2.Empty)

    async def ListRates(
        self, _request: conversions_pb2.ListRatesRequest, _context: _Context
    ) -> conversions_pb2.ListRatesResponse:
        """List rates."""
        read = await database.transaction(self._sessions, table.read)
        return conversions_pb2.ListRatesResponse(rates=map(messages.rate, sources.every((read, *self._others))))
