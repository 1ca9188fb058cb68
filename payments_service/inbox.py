"""The inbox of webhooks in the database: each event once. Callers own the transaction; nothing here commits."""

import dataclasses
import datetime
import uuid
from collections.abc import Iterator, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.dialects import postgresql

from kobklein import database
from payments_service import providers, repository
from payments_service.models import inbox_events, payments
from payments_service.states import EventMove, EventState

_NOW = sa.func.clock_timestamp()
_STATES: Final = {
    EventMove.FETCH: EventState.RECEIVED,
    EventMove.REPORT: EventState.UNAPPLIED,
    EventMove.IGNORE: EventState.IGNORED,
}
"""Where an event stands when it is stored: only events about a payment are left to be applied."""
_OUTCOMES: Final = {
    EventState.RECEIVED: "",
    EventState.UNAPPLIED: "moves money, and has no effect here",
    EventState.IGNORED: "ignored",
}


@dataclasses.dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event that is to be applied."""

    sequence: int
    event_id: str
    type: str
    object_id: str
    payload: bytes
    attempts: int
    payment_id: uuid.UUID | None
    """The payment that it is about, where that was known when it came."""


@dataclasses.dataclass(frozen=True, slots=True)
class NewEvent:
    """An event that is to be stored."""

    provider: str
    event: providers.Event
    payload: bytes


@dataclasses.dataclass(frozen=True, slots=True)
class SeenEvent:
    """An event as staff see it; never with its contents."""

    sequence: int
    provider: str
    event_id: str
    type: str
    object_id: str
    payment_id: uuid.UUID | None
    state: EventState
    outcome: str
    attempts: int
    event_time: datetime.datetime
    received_time: datetime.datetime
    applied_time: datetime.datetime | None


@dataclasses.dataclass(frozen=True, slots=True)
class Filters:
    """Conditions of a list of events; an empty one says nothing."""

    states: tuple[EventState, ...] = ()
    types: tuple[str, ...] = ()
    payment_id: uuid.UUID | None = None
    received_from: datetime.datetime | None = None
    received_before: datetime.datetime | None = None


async def insert(session: database.Session, arrived: Sequence[NewEvent]) -> set[tuple[str, str]]:
    """Store events, and return the provider and id of those that are new; they are applied later."""
    result = await session.execute(
        postgresql.insert(inbox_events)
        .values([_row(each) for each in arrived])
        .on_conflict_do_nothing(constraint="inbox_events_event_unique")
        .returning(inbox_events.c.provider, inbox_events.c.event_id)
    )
    return {(row.provider, row.event_id) for row in result}


async def due(session: database.Session, *, limit: int) -> list[StoredEvent]:
    """Lock and return due events, oldest first, and of each object only the first that is not applied yet.

    One that could not be read holds none of the later ones back: each only makes its payment due for a look. They are
    applied in the same transaction, so no lease is needed: what a dead worker held is free again.
    """
    earlier = orm.aliased(inbox_events)
    waits = (
        sa.exists()
        .where(earlier.c.object_id == inbox_events.c.object_id)
        .where(earlier.c.applied_time.is_(None), earlier.c.sequence < inbox_events.c.sequence, earlier.c.attempts == 0)
    )
    columns = [inbox_events.c[field.name] for field in dataclasses.fields(StoredEvent)]
    result = await session.execute(
        sa.select(*columns)
        .where(inbox_events.c.applied_time.is_(None), inbox_events.c.due_time <= sa.func.statement_timestamp(), ~waits)
        .order_by(inbox_events.c.sequence)
        .limit(limit)
        .with_for_update(skip_locked=True, of=inbox_events)
    )
    return [StoredEvent(**row._mapping) for row in result]


async def done(session: database.Session, events: Sequence[StoredEvent], *, state: EventState, outcome: str) -> None:
    """Stamp events, in the transaction of their effect."""
    await _update(session, events, applied_time=_NOW, state=state, outcome=outcome)


async def attribute(session: database.Session, event: StoredEvent, payment_id: uuid.UUID) -> None:
    """Note which payment an event is about, if that was not known when it came."""
    if event.payment_id is None:
        await _update(session, [event], payment_id=payment_id)


async def postpone(
    session: database.Session, event: StoredEvent, *, seconds: float, outcome: str, failed: bool
) -> None:
    """Leave an event for later, and say why; only a failure counts as an attempt."""
    due_time = repository.seconds_from_now(seconds)
    await _update(session, [event], due_time=due_time, outcome=outcome, attempts=event.attempts + int(failed))


async def backlog(session: database.Session) -> tuple[int, datetime.timedelta]:
    """Return how many events are not applied, and how long the oldest has waited."""
    age = sa.func.coalesce(_NOW - sa.func.min(inbox_events.c.received_time), datetime.timedelta())
    query = sa.select(sa.func.count(), age).where(inbox_events.c.applied_time.is_(None))
    count, oldest = (await session.execute(query)).one()
    return count, oldest


async def page(session: database.Session, filters: Filters, *, before: int | None, limit: int) -> list[SeenEvent]:
    """Return events, newest first, from before a sequence on."""
    columns = [inbox_events.c[field.name] for field in dataclasses.fields(SeenEvent)]
    query = sa.select(*columns).where(*_conditions(filters)).order_by(inbox_events.c.sequence.desc()).limit(limit)
    if before is not None:
        query = query.where(inbox_events.c.sequence < before)
    return [SeenEvent(**row._mapping) for row in await session.execute(query)]


def _conditions(filters: Filters) -> Iterator[sa.ColumnElement[bool]]:
    if filters.states == (EventState.UNAPPLIED,):
        yield inbox_events.c.state == sa.literal_column("'UNAPPLIED'")  # Written out, so that its own index serves it.
    elif filters.states:
        yield inbox_events.c.state.in_(filters.states)
    if filters.types:
        yield inbox_events.c.type.in_(filters.types)
    if filters.payment_id is not None:
        yield inbox_events.c.payment_id == filters.payment_id
    if filters.received_from is not None:
        yield inbox_events.c.received_time >= filters.received_from
    if filters.received_before is not None:
        yield inbox_events.c.received_time < filters.received_before


def _row(arrived: NewEvent) -> dict[str, Any]:
    event, state = arrived.event, _STATES[arrived.event.move]
    return {
        "provider": arrived.provider,
        "event_id": event.id,
        "type": event.type,
        "object_id": event.object_id,
        "payload": arrived.payload,
        "event_time": event.created_time,
        "applied_time": sa.null() if state is EventState.RECEIVED else _NOW,
        "state": state,
        "outcome": _OUTCOMES[state] if event.own else "of another account",
        "payment_id": sa.select(payments.c.id)
        .where(payments.c.stripe_payment_intent_id == event.object_id)
        .scalar_subquery(),
    }


async def _update(session: database.Session, events: Sequence[StoredEvent], **values: Any) -> None:
    mine = inbox_events.c.sequence.in_([event.sequence for event in events])
    await session.execute(sa.update(inbox_events).where(mine).values(**values))
