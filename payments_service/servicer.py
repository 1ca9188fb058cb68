"""The RPCs of this service: parse, call the use case in its transaction, render."""

import contextlib
import datetime
import uuid
from collections.abc import AsyncIterator, Collection
from typing import Any, Final

import grpc
from google.protobuf import empty_pb2

from kobklein import calls, database, errors, idempotency, pages
from kobklein.payments.v1 import payments_pb2, payments_pb2_grpc, provider_events_pb2
from payments_service import analytics, listings, messages, payments, reports, repository, states
from payments_service.changes import Changes
from payments_service.charges import Charges
from payments_service.listings import Sort
from payments_service.models import Payment, RecordedChange
from payments_service.providers import Provider
from payments_service.states import Method, Status
from payments_service.webhooks import Webhooks

_Context = grpc.aio.ServicerContext[Any, Any]
SERVICES: Final = tuple(
    service.full_name
    for file in (payments_pb2, provider_events_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
)


class PaymentsServicer(payments_pb2_grpc.PaymentsServiceServicer):
    """Takes payments, follows them to their end, and reports on them."""

    def __init__(
        self,
        sessions: database.Sessions,
        *,
        reading: database.Sessions,
        charges: Charges,
        webhooks: Webhooks,
        changes: Changes,
        provider: Provider,
        pager: pages.Pager,
        longest_watch_seconds: float,
        currencies: Collection[str],
    ) -> None:
        self._sessions = sessions
        self._reading = reading
        self._charges = charges
        self._webhooks = webhooks
        self._changes = changes
        self._provider = provider
        self._pager = pager
        self._longest_watch_seconds = longest_watch_seconds
        self._currencies = currencies

    async def CreatePayment(
        self, request: payments_pb2.CreatePaymentRequest, _context: _Context
    ) -> payments_pb2.Payment:
        """Create a payment."""
        new = messages.new_payment(request, messages.method(request.method), user_id=calls.current().subject)
        if new.method is Method.STRIPE:
            self._provider.check(new.amount, new.currency)

        async def work(session: database.Session) -> payments_pb2.Payment:
            errors.CurrencyNotOffered.check("currency", new.currency, self._currencies)
            return messages.render(await payments.create(session, new, actor=calls.current().subject))

        return messages.shown(await idempotency.once(self._sessions, request, work, payments_pb2.Payment))

    async def ProcessStripePayment(
        self, request: payments_pb2.ProcessStripePaymentRequest, _context: _Context
    ) -> payments_pb2.Payment:
        """Pay with a card through Stripe."""
        new = messages.new_payment(request, Method.STRIPE, user_id=calls.current().subject)
        answer = await self._charges.process(new, payment_method_id=request.payment_method_id, request=request)
        return messages.shown(answer)

    async def ReceiveWebhook(
        self, request: payments_pb2.ReceiveWebhookRequest, _context: _Context
    ) -> payments_pb2.ReceiveWebhookResponse:
        """Receive a provider's webhook."""
        received = await self._webhooks.receive(request.provider, request.payload, request.signature)
        return payments_pb2.ReceiveWebhookResponse(event_id=received.event_id, duplicate=received.duplicate)

    async def ConfirmPayment(
        self, request: payments_pb2.ConfirmPaymentRequest, _context: _Context
    ) -> payments_pb2.Payment:
        """Confirm a payment."""
        answer = await self._charges.confirm(
            uuid.UUID(request.id), payment_method_id=request.payment_method_id, request=request
        )
        return messages.shown(answer)

    async def ListPayments(
        self, request: payments_pb2.ListPaymentsRequest, _context: _Context
    ) -> payments_pb2.ListPaymentsResponse:
        """List payments."""
        filters, sort, limit = messages.filters(request), messages.sort(request), pages.size(request)
        after = self._position(request, sort)
        found = await database.transaction(
            self._reading,
            lambda session: listings.page(session, filters, sort, after=after, limit=limit + 1),
        )
        answer = payments_pb2.ListPaymentsResponse(payments=map(_visible, found[:limit]))
        if len(found) > limit:
            answer.next_page_token = self._pager.seal(request, _place(found[limit - 1], sort))
        return answer

    async def GetPaymentAnalytics(
        self, request: payments_pb2.GetPaymentAnalyticsRequest, _context: _Context
    ) -> payments_pb2.PaymentAnalytics:
        """Report on payments."""
        query = reports.query(request)
        found = await database.transaction(self._reading, lambda session: analytics.report(session, query))
        return reports.render(found)

    async def GetPayment(self, request: payments_pb2.GetPaymentRequest, _context: _Context) -> payments_pb2.Payment:
        """Get a payment."""
        return _visible(await self._get(uuid.UUID(request.id)))

    async def ListPaymentChanges(
        self, request: payments_pb2.ListPaymentChangesRequest, _context: _Context
    ) -> payments_pb2.ListPaymentChangesResponse:
        """List the changes of a payment."""
        payment_id, owner, limit = uuid.UUID(request.id), calls.current().owner, pages.size(request)
        place = self._pager.open(request)
        after = 0 if place is None else int(place[0])

        async def read(session: database.Session) -> list[RecordedChange]:
            await repository.get(session, payment_id, owner=owner, deleted=owner is None)
            return await repository.changes(session, payment_id, after=after, limit=limit + 1)

        found = await database.transaction(self._reading, read)
        answer = payments_pb2.ListPaymentChangesResponse(changes=map(messages.change_of, found[:limit]))
        if len(found) > limit:
            answer.next_page_token = self._pager.seal(request, [found[limit - 1].version])
        return answer

    async def WatchPayment(
        self, request: payments_pb2.WatchPaymentRequest, _context: _Context
    ) -> AsyncIterator[payments_pb2.Payment]:
        """Watch a payment, until nothing can change any more.

        Raises TimeoutError for a watch that lasts too long: not all is said, and its caller watches again.
        """
        payment_id = uuid.UUID(request.id)
        await self._get(payment_id)
        versions_ = self._changes.versions(payment_id, seconds=self._longest_watch_seconds)
        async with contextlib.aclosing(versions_) as versions:
            async for payment in versions:
                yield _visible(payment)
                if payment.status in states.FINAL:
                    return
        raise TimeoutError

    async def UpdatePayment(
        self, request: payments_pb2.UpdatePaymentRequest, _context: _Context
    ) -> payments_pb2.Payment:
        """Update a payment."""
        call, payment_id, change = calls.current(), uuid.UUID(request.id), messages.change(request)
        if change.status is Status.CANCELLED:
            return messages.shown(await self._charges.cancel(payment_id, change, request=request))

        async def work(session: database.Session) -> payments_pb2.Payment:
            updated = await payments.update(session, payment_id, change, owner=call.owner, actor=call.subject)
            return messages.render(updated)

        return messages.shown(await idempotency.once(self._sessions, request, work, payments_pb2.Payment))

    async def DeletePayment(self, request: payments_pb2.DeletePaymentRequest, _context: _Context) -> empty_pb2.Empty:
        """Delete a payment."""

        async def work(session: database.Session) -> empty_pb2.Empty:
            await payments.delete(session, uuid.UUID(request.id), etag=request.etag, actor=calls.current().subject)
            return empty_pb2.Empty()

        return await idempotency.once(self._sessions, request, work, empty_pb2.Empty)

    async def _get(self, payment_id: uuid.UUID) -> Payment:
        owner = calls.current().owner
        return await database.transaction(
            self._reading, lambda session: repository.get(session, payment_id, owner=owner)
        )

    def _position(self, request: payments_pb2.ListPaymentsRequest, sort: Sort) -> tuple[Any, uuid.UUID] | None:
        place = self._pager.open(request)
        if place is None:
            return None
        value, last_id = place
        return (datetime.datetime.fromisoformat(value) if sort.column == "created_time" else value), uuid.UUID(last_id)


def _visible(payment: Payment) -> payments_pb2.Payment:
    return messages.shown(messages.render(payment))


def _place(payment: Payment, sort: Sort) -> list[Any]:
    value = getattr(payment, sort.column)
    return [value.isoformat() if sort.column == "created_time" else value, str(payment.id)]
