"""Webhooks: stored once as they come, applied afterwards, in order for each payment.

An event moves nothing by itself: it makes its payment due for a look, and the provider's own answer counts. So events
may come twice, late and out of order, and a thief of the webhook's secret cannot pay with it.
"""

import asyncio
import dataclasses
import uuid
from collections import defaultdict
from collections.abc import Sequence

import structlog

from kobklein import database
from kobklein import errors as common_errors
from payments_service import decisions, errors, inbox, metrics, providers, repository
from payments_service.arrivals import Arrivals
from payments_service.inbox import StoredEvent
from payments_service.models import Payment
from payments_service.settings import InboxSettings, MoneyPathSettings
from payments_service.states import EventMove, EventState, Status, Step

_log = structlog.get_logger()
_OUTCOME_LENGTH = 500
_KEPT_STEPS = (Step.AUTHORISE, Step.CANCEL)
"""Steps that an event makes due as they are: the first one finds the intent, the other one closes it."""


class Contradiction(Exception):
    """Money that an event tells of has no place in its payment; a person has to look."""


class _Unreadable(Exception):
    """An event that we cannot read, at least not in this release."""


class _Busy(Exception):
    """The payment is held by a running step, whose result comes first."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Result:
    """What became of an event."""

    state: EventState
    outcome: str


@dataclasses.dataclass(frozen=True, slots=True)
class Received:
    """An event that is stored."""

    event_id: str
    duplicate: bool


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
        if new:
            _tell(event)
        self.received.set()
        return Received(event.id, duplicate=not new)

    async def apply_due(self) -> int:
        """Apply a batch of events in one transaction, and return how many there were.

        Died before the commit: nothing has happened. Died after it: the events are stamped, and are not seen again.
        """
        try:
            count, done = await database.transaction(self._sessions, self._apply_batch)
        except common_errors.Unavailable:
            raise
        except Exception as error:
            _log.warning("a batch of events failed; they are applied one by one", error=type(error).__name__)
            count, done = await database.transaction(self._sessions, self._apply_first)
        for result, events in done.items():
            metrics.EVENTS.labels(result.state.lower()).inc(len(events))
            if result.state is EventState.UNAPPLIED:
                for event in events:
                    _alarm(event.event_id, event.type, event.object_id, result.outcome)
        if count:
            self._step_due.set()
        return count

    async def _apply_batch(self, session: database.Session) -> tuple[int, dict[_Result, list[StoredEvent]]]:
        events = await inbox.due(session, limit=self._settings.batch_size)
        return len(events), await self._apply_all(session, events)

    async def _apply_first(self, session: database.Session) -> tuple[int, dict[_Result, list[StoredEvent]]]:
        """Apply the first due event; one that fails waits as one that we cannot read does, and lets the others pass."""
        events = await inbox.due(session, limit=1)
        try:
            async with session.begin_nested():
                return len(events), await self._apply_all(session, events)
        except common_errors.Unavailable:
            raise
        except Exception as error:
            _log.exception("an event failed", event_id=events[0].event_id)
            result = await self._unreadable(session, events[0], f"failed: {type(error).__name__}")
            return 1, {} if result is None else await self._stamped(session, {result: events})

    async def _apply_all(
        self, session: database.Session, events: list[StoredEvent]
    ) -> dict[_Result, list[StoredEvent]]:
        intents = {event.sequence: self._intent(event) for event in events}
        known = [intent for intent in intents.values() if intent is not None]
        payments = await repository.by_intents(
            session,
            intent_ids=[intent.id for intent in known],
            payment_ids=[intent.payment_id for intent in known if intent.payment_id],
        )
        done: defaultdict[_Result, list[StoredEvent]] = defaultdict(list)
        for event in events:
            result = await self._attempt(session, event, intents[event.sequence], payments)
            if result is not None:
                done[result].append(event)
        return await self._stamped(session, done)

    async def _stamped(
        self, session: database.Session, done: dict[_Result, list[StoredEvent]]
    ) -> dict[_Result, list[StoredEvent]]:
        for result, events in done.items():
            await inbox.done(session, events, state=result.state, outcome=result.outcome)
        return done

    def _intent(self, event: StoredEvent) -> providers.Intent | None:
        try:
            return self._provider.intent(event.payload)
        except ValueError as error:
            _log.warning("unreadable event", event_id=event.event_id, error=str(error))
            return None

    async def _attempt(
        self,
        session: database.Session,
        event: StoredEvent,
        intent: providers.Intent | None,
        payments: Sequence[Payment],
    ) -> _Result | None:
        """Return what became of one event, or None if it stays for later.

        An event that we cannot read is tried again, as the next release may read it; in the end a person has to.
        """
        try:
            return await self._apply(session, event, intent, payments)
        except _Busy:
            seconds = self._settings.busy_seconds
            await inbox.postpone(session, event, seconds=seconds, outcome="busy", failed=False)
            return None
        except Contradiction as error:
            return _Result(EventState.UNAPPLIED, str(error)[:_OUTCOME_LENGTH])
        except _Unreadable as error:
            return await self._unreadable(session, event, str(error))

    async def _unreadable(self, session: database.Session, event: StoredEvent, why: str) -> _Result | None:
        """Return that an event is left to a person once its retries are used up; else None, and it is tried again."""
        if event.attempts >= len(self._settings.retry_schedule):
            return _Result(EventState.UNAPPLIED, why)
        seconds = decisions.pause(self._settings.retry_schedule, event.attempts + 1)
        await inbox.postpone(session, event, seconds=seconds, outcome=why, failed=True)
        return None

    async def _apply(
        self,
        session: database.Session,
        event: StoredEvent,
        intent: providers.Intent | None,
        payments: Sequence[Payment],
    ) -> _Result:
        """Return what became of an event."""
        if intent is None:
            raise _Unreadable("an intent that we cannot read")
        payment = _payment_of(intent, payments)
        if payment is None:
            return _Result(EventState.IGNORED, "not ours")
        await inbox.attribute(session, event, payment.id)
        if payment.status is not Status.PROCESSING or payment.step is Step.SETTLE:
            _check_known(payment, intent)
            return _NOTHING_NEW
        if not decisions.decide(payment, intent, settings=self._path_settings, expired=False).news(payment):
            return _NOTHING_NEW
        await self._make_due(session, payment, event)
        return _Result(EventState.APPLIED, "fetch")

    async def _make_due(self, session: database.Session, payment: Payment, event: StoredEvent) -> None:
        if await repository.leased(session, payment):
            raise _Busy
        step = payment.step if payment.step in _KEPT_STEPS else Step.FETCH
        await repository.reschedule(session, payment, seconds=0, step=step, event_id=event.event_id)


_NOTHING_NEW = _Result(EventState.APPLIED, "nothing new")


def _tell(event: providers.Event) -> None:
    """Count and log, once, an event that is not going to be applied."""
    if not event.own:
        metrics.EVENTS.labels("other_account").inc()
        _log.warning("event of another account", event_id=event.id, type=event.type)
    elif event.move is EventMove.REPORT:
        _alarm(event.id, event.type, event.object_id, "nothing here applies it")


def _alarm(event_id: str, kind: str, object_id: str, why: str) -> None:
    metrics.EVENTS_UNAPPLIED.labels(kind).inc()
    _log.error("event moves money and is not applied", event_id=event_id, type=kind, object=object_id, why=why)


def _payment_of(intent: providers.Intent, payments: Sequence[Payment]) -> Payment | None:
    """Return the payment an intent belongs to; raises Contradiction for one that names a payment and is not its own."""
    for payment in payments:
        if payment.stripe_payment_intent_id == intent.id:
            return payment
    found = _by_id(intent.payment_id, payments)
    if found is not None and found.stripe_payment_intent_id is not None:
        raise Contradiction(f"payment {found.id} has another intent")
    if found is None and intent.payment_id is not None and intent.received_amount:
        raise Contradiction(f"an intent that was paid names payment {intent.payment_id}, which is not here")
    return found


def _by_id(payment_id: uuid.UUID | None, payments: Sequence[Payment]) -> Payment | None:
    return next((payment for payment in payments if payment.id == payment_id), None)


def _check_known(payment: Payment, intent: providers.Intent) -> None:
    """Raise Contradiction for an event that tells of money which its payment, at rest, does not know of."""
    if intent.received_amount and not payment.received_amount:
        raise Contradiction(f"payment {payment.id} is {payment.status}, and its intent has been paid")
