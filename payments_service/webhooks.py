"""Webhooks: stored once as they come, applied afterwards, in order for each payment.

An event never makes a step at the provider; it applies a truth that cannot change any more, or makes its payment due
for a look. Both are harmless to repeat, and neither depends on what came before.
"""

import asyncio
import dataclasses
import uuid
from collections import defaultdict
from collections.abc import Sequence

import sqlalchemy as sa
import structlog

from kobklein import database
from kobklein import errors as common_errors
from payments_service import decisions, errors, inbox, metrics, providers, repository, states
from payments_service.arrivals import Arrivals
from payments_service.inbox import StoredEvent
from payments_service.models import Payment
from payments_service.repository import Mark
from payments_service.settings import InboxSettings, MoneyPathSettings
from payments_service.states import EventMove, IntentStatus, Status, Step

_log = structlog.get_logger()
_OUTCOME_LENGTH = 500


class Unexpected(Exception):
    """An event that contradicts its payment; it stays in the inbox, visible, until a person has looked at it."""


@dataclasses.dataclass(frozen=True, slots=True)
class Received:
    """An event that is stored."""

    event_id: str
    duplicate: bool


class _Busy(Exception):
    """The payment is held by a running step, whose result comes first."""


class Webhooks:
    """Receives the events of a provider, and applies them."""

    def __init__(
        self,
        sessions: database.Sessions,
        *,
        provider: providers.Provider,
        settings: InboxSettings,
        path_settings: MoneyPathSettings,
        step_due: asyncio.Event,
    ) -> None:
        self._sessions = sessions
        self._arrivals = Arrivals(sessions)
        self._provider = provider
        self._settings = settings
        self._path_settings = path_settings
        self._step_due = step_due
        self.received = asyncio.Event()
        """Set when an event has come in."""

    async def receive(self, provider: str, payload: bytes, signature: str) -> Received:
        """Store a webhook once it is proved to be the provider's; when this returns, it cannot be lost.

        Raises UnknownProvider, InvalidSignature and InvalidArgument.
        """
        if provider != "stripe":
            raise errors.UnknownProvider(provider=provider)
        if not 0 < len(payload) <= self._settings.payload_bytes:
            raise common_errors.InvalidArgument.of("payload", f"is not 1 to {self._settings.payload_bytes} bytes")
        event = self._provider.event(payload, signature)
        new = await self._arrivals.store(provider, event, payload)
        metrics.EVENTS.labels("stored" if new else "duplicate").inc()
        self.received.set()
        return Received(event.id, duplicate=not new)

    async def apply_due(self) -> int:
        """Apply a batch of events in one transaction, and return how many there were.

        Died before the commit: nothing has happened. Died after it: the events are stamped, and are not seen again.
        """
        count = await database.transaction(self._sessions, self._apply_batch)
        if count:
            self._step_due.set()
        return count

    async def _apply_batch(self, session: database.Session) -> int:
        events = await inbox.due(session, limit=self._settings.batch_size)
        intents = {event.sequence: self._intent(event) for event in events}
        known = [intent for intent in intents.values() if intent is not None]
        payments = await repository.by_intents(
            session,
            intent_ids=[intent.id for intent in known],
            payment_ids=[intent.payment_id for intent in known if intent.payment_id],
        )
        done: defaultdict[str, list[StoredEvent]] = defaultdict(list)
        for event in events:
            outcome = await self._attempt(session, event, intents[event.sequence], payments)
            if outcome is not None:
                done[outcome].append(event)
        for outcome, applied in done.items():
            await inbox.applied(session, applied, outcome=outcome)
            metrics.EVENTS.labels(outcome).inc(len(applied))
        return len(events)

    def _intent(self, event: StoredEvent) -> providers.Intent | None:
        try:
            return self._provider.intent(event.payload)
        except ValueError as error:
            _log.error("unreadable event", event_id=event.event_id, error=str(error))
            return None

    async def _attempt(
        self,
        session: database.Session,
        event: StoredEvent,
        intent: providers.Intent | None,
        payments: Sequence[Payment],
    ) -> str | None:
        """Return what became of one event, or None if it stays; whatever is wrong with it stays its own trouble."""
        try:
            return await self._apply(session, event, intent, payments)
        except (_Busy, repository.Superseded):  # Another event of this batch may have moved the payment.
            seconds = self._settings.busy_seconds
            await inbox.postpone(session, event, seconds=seconds, outcome="busy", failed=False)
        except (Unexpected, ValueError, KeyError, sa.exc.IntegrityError, sa.exc.DataError) as error:
            _log.error("event not applied", event_id=event.event_id, error=str(error))
            seconds = decisions.pause(self._settings.retry_schedule, event.attempts + 1)
            reason = str(error)[:_OUTCOME_LENGTH]
            await inbox.postpone(session, event, seconds=seconds, outcome=reason, failed=True)
        return None

    async def _apply(
        self,
        session: database.Session,
        event: StoredEvent,
        intent: providers.Intent | None,
        payments: Sequence[Payment],
    ) -> str:
        """Return what became of an event; its writes happen wholly or not at all."""
        if intent is None:
            raise Unexpected("an intent that we cannot read")
        payment = _payment_of(intent, payments)
        if payment is None:
            return "not ours"
        if payment.status is not Status.PROCESSING or payment.step is Step.SETTLE:
            return _late(payment, intent)
        async with session.begin_nested():
            if states.EVENT_MOVES[event.type] is EventMove.APPLY:
                await self._apply_truth(session, event, payment, intent)
                return "applied"
            await self._make_due(session, payment, intent)
            return "fetch"

    async def _apply_truth(
        self, session: database.Session, event: StoredEvent, payment: Payment, intent: providers.Intent
    ) -> None:
        """Record a state that is final at the provider; a step that runs meanwhile finds its fence outdated."""
        decision = decisions.decide(payment, intent, settings=self._path_settings, expired=False)
        step = decision.values["step"]
        values = {
            **decision.values,
            "fence": payment.fence + 1,
            "attempts": 0,
            "leased_until": None,
            "due_time": repository.seconds_from_now(decision.due_seconds) if step else None,
        }
        await repository.write(session, payment, values, Mark(f"webhook {event.event_id}", decision.what))

    async def _make_due(self, session: database.Session, payment: Payment, intent: providers.Intent) -> None:
        if await repository.leased(session, payment):
            raise _Busy
        step = Step.CANCEL if payment.step is Step.CANCEL else Step.FETCH
        await repository.reschedule(session, payment, seconds=0, step=step, intent_id=intent.id)


def _payment_of(intent: providers.Intent, payments: Sequence[Payment]) -> Payment | None:
    """Return the payment an intent belongs to; raises Unexpected if the payment has another intent already."""
    for payment in payments:
        if payment.stripe_payment_intent_id == intent.id:
            return payment
    found = _by_id(intent.payment_id, payments)
    if found is not None and found.stripe_payment_intent_id is not None:
        raise Unexpected(f"payment {found.id} has another intent")
    return found


def _by_id(payment_id: uuid.UUID | None, payments: Sequence[Payment]) -> Payment | None:
    return next((payment for payment in payments if payment.id == payment_id), None)


def _late(payment: Payment, intent: providers.Intent) -> str:
    """Return that an event changes nothing, as its payment knows; raises Unexpected for money after the end."""
    unpaid = payment.received_amount == 0
    if intent.status is IntentStatus.SUCCEEDED and unpaid:
        raise Unexpected(f"payment {payment.id} is {payment.status}, and its intent has been paid")
    return "nothing new"
