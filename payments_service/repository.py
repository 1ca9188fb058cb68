"""The payments in the database. Callers own the transaction; nothing here commits."""

import dataclasses
import datetime
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import exc

from kobklein import database
from payments_service import errors, models, states
from payments_service.models import Payment, RecordedChange, payment_changes, payments
from payments_service.states import Method, Status, Step, Trigger

PROVIDER_STEPS = (Step.AUTHORISE, Step.CONFIRM, Step.FETCH, Step.CANCEL)
"""The steps that ask the provider."""
_NOW = sa.func.clock_timestamp()
_STATEMENT_TIME = sa.func.statement_timestamp()
"""For conditions: unlike the clock it stands still during a statement, so that an index can serve it."""


class Superseded(Exception):
    """Somebody else has claimed the payment since, so that this write would be stale."""


@dataclasses.dataclass(frozen=True, slots=True)
class Cause:
    """What leads to a change."""

    trigger: Trigger
    event_id: str = ""
    """The provider's event, if it was one."""


CALL = Cause(Trigger.CALL)
TIMER = Cause(Trigger.TIMER)


@dataclasses.dataclass(frozen=True, slots=True)
class Mark:
    """Who changes a payment, by doing what and why; it goes into the audit trail."""

    actor: str
    what: str
    cause: Cause


NO_FAILURE: Final = {"failure_code": "", "failure_message": "", "failure_field": ""}
"""Columns of a payment of which nothing is left to say why it did not succeed."""


def seconds_from_now(seconds: float) -> sa.ColumnElement[datetime.datetime]:
    """Return a moment by the database's clock, which all replicas share."""
    return _NOW + datetime.timedelta(seconds=seconds)


async def insert(session: database.Session, values: Mapping[str, Any], mark: Mark) -> Payment:
    """Insert a payment; raises ReferenceTaken."""
    try:
        result = await session.execute(sa.insert(payments).values(**values).returning(payments))
    except exc.IntegrityError as error:
        if database.constraint(error) == "payments_reference_unique":
            raise errors.ReferenceTaken(reference=values["reference"], user_id=values["user_id"]) from error
        raise
    payment = models.payment(result.one())
    await _record(session, [(None, payment)], mark)
    return payment


async def get(
    session: database.Session,
    payment_id: uuid.UUID,
    *,
    owner: str | None = None,
    lock: bool = False,
    deleted: bool = False,
) -> Payment:
    """Return a payment that is `owner`'s, if one is given; raises PaymentNotFound.

    One that has been deleted is found with `deleted` only.
    """
    query = sa.select(payments).where(payments.c.id == payment_id)
    if not deleted:
        query = query.where(payments.c.deleted_time.is_(None))
    if owner is not None:
        query = query.where(payments.c.user_id == owner)
    row = (await session.execute(query.with_for_update() if lock else query)).first()
    if row is None:
        raise errors.PaymentNotFound(id=payment_id)
    return models.payment(row)


async def get_many(session: database.Session, payment_ids: Sequence[uuid.UUID]) -> list[Payment]:
    """Return those of the payments that exist, deleted ones too."""
    query = sa.select(payments).where(payments.c.id.in_(payment_ids))
    return [models.payment(row) for row in await session.execute(query)]


async def versions(session: database.Session, payment_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, int]:
    """Return the versions of those of the payments that exist and have not been deleted."""
    query = sa.select(payments.c.id, payments.c.version).where(
        payments.c.id.in_(payment_ids), payments.c.deleted_time.is_(None)
    )
    return {row.id: row.version for row in await session.execute(query)}


async def write(session: database.Session, payment: Payment, values: Mapping[str, Any], mark: Mark) -> Payment:
    """Change a payment and add to its audit trail.

    Raises IllegalMove for a move that the table does not have, and Superseded when the payment has been claimed by
    somebody else since it was read.
    """
    states.check(payment.status, values.get("status", payment.status))
    result = await session.execute(
        sa.update(payments)
        .where(payments.c.id == payment.id, payments.c.fence == payment.fence)
        .values(**values, version=payments.c.version + 1, updated_time=_NOW)
        .returning(payments)
    )
    row = result.first()
    if row is None:
        raise Superseded
    changed = models.payment(row)
    await _record(session, [(payment, changed)], mark)
    return changed


async def reschedule(
    session: database.Session,
    payment: Payment,
    *,
    seconds: float,
    step: Step | None = None,
    event_id: str = "",
    unknown: bool = False,
) -> Payment:
    """Let go of a payment until its step, or another one, is due; raises Superseded.

    `event_id` is the provider's event that makes it due. `unknown` notes that the claim ends without an outcome; the
    next claim, which has another fence, outdates the note.
    No caller sees a difference, so the version stays.
    """
    result = await session.execute(
        sa.update(payments)
        .where(payments.c.id == payment.id, payments.c.fence == payment.fence)
        .values(
            leased_until=None,
            due_time=seconds_from_now(seconds),
            step=step or payment.step,
            attempts=payment.attempts if step in (None, payment.step) else 0,
            due_event=event_id,
            unknown_fence=payment.fence if unknown else payment.unknown_fence,
        )
        .returning(payments)
    )
    row = result.first()
    if row is None:
        raise Superseded
    return models.payment(row)


async def let_go(session: database.Session, claimed: Sequence[Payment], *, seconds: float) -> None:
    """Let go of claimed payments until their step is due again; those that others have claimed since stay theirs."""
    await session.execute(
        sa.update(payments).where(_still_held(claimed)).values(leased_until=None, due_time=seconds_from_now(seconds))
    )


async def claim(
    session: database.Session, payment_id: uuid.UUID, *, lease_seconds: float, step: Step | None = None
) -> Payment | None:
    """Claim one payment for its step, or for another `step`, due or not; None while somebody else has it.

    Whoever claims gets a new fence: writes of an earlier holder fail from now on. It counts as no attempt, so that a
    caller who asks often does not make the next one by itself later.
    """
    result = await session.execute(
        sa.update(payments)
        .where(payments.c.id == payment_id, payments.c.step.in_(PROVIDER_STEPS), _free())
        .values(
            **_claimed(lease_seconds), attempts=sa.func.greatest(payments.c.attempts, 1), step=step or payments.c.step
        )
        .returning(payments)
    )
    row = result.first()
    return models.payment(row) if row is not None else None


async def claim_due(
    session: database.Session, steps: Sequence[Step], *, limit: int, lease_seconds: float
) -> list[Payment]:
    """Claim payments whose step is due, oldest first; those that others are claiming right now are passed over."""
    due = (
        sa.select(payments.c.id)
        .where(payments.c.step.in_(steps), payments.c.due_time <= _STATEMENT_TIME, _free())
        .order_by(payments.c.due_time)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    result = await session.execute(
        sa.update(payments)
        .where(payments.c.id == due.c.id)
        .values(**_claimed(lease_seconds), attempts=payments.c.attempts + 1)
        .returning(payments)
    )
    return [models.payment(row) for row in result]


async def complete(session: database.Session, claimed: Sequence[Payment], mark: Mark) -> list[Payment]:
    """Mark settled payments COMPLETED; those that somebody else has claimed since are passed over.

    Rows are locked in the order of their ids, so that two writers of many payments never wait for each other.
    """
    before = {payment.id: payment for payment in claimed}
    mine = _still_held(claimed)
    await session.execute(sa.select(payments.c.id).where(mine).order_by(payments.c.id).with_for_update())
    result = await session.execute(
        sa.update(payments)
        .where(mine)
        .values(
            status=Status.COMPLETED,
            step=None,
            due_time=None,
            leased_until=None,
            completed_time=_NOW,
            updated_time=_NOW,
            version=payments.c.version + 1,
        )
        .returning(payments)
    )
    completed = [models.payment(row) for row in result]
    if completed:
        await _record(session, [(before[payment.id], payment) for payment in completed], mark)
    return completed


async def by_intents(
    session: database.Session, *, intent_ids: Iterable[str], payment_ids: Iterable[uuid.UUID]
) -> list[Payment]:
    """Return and lock, in the order of their ids, the payments that intents belong to, whichever way they are known."""
    query = (
        sa.select(payments)
        .where(sa.or_(payments.c.stripe_payment_intent_id.in_(list(intent_ids)), payments.c.id.in_(list(payment_ids))))
        .order_by(payments.c.id)
        .with_for_update()
    )
    return [models.payment(row) for row in await session.execute(query)]


async def was_pending(session: database.Session, payment_id: uuid.UUID) -> bool:
    """Return whether a payment was recorded as PENDING, and not by the call that charges it."""
    first = (payment_changes.c.payment_id == payment_id, payment_changes.c.version == 1)
    return await session.scalar(sa.select(payment_changes.c.after).where(*first)) is Status.PENDING


async def changes(session: database.Session, payment_id: uuid.UUID, *, after: int, limit: int) -> list[RecordedChange]:
    """Return the changes of a payment behind a version, oldest first."""
    columns = [payment_changes.c[field.name] for field in dataclasses.fields(RecordedChange)]
    result = await session.execute(
        sa.select(*columns)
        .where(payment_changes.c.payment_id == payment_id, payment_changes.c.version > after)
        .order_by(payment_changes.c.version)
        .limit(limit)
    )
    return [RecordedChange(**row._mapping) for row in result]


async def abandoned(
    session: database.Session, methods: Iterable[Method], *, seconds: float, limit: int
) -> list[Payment]:
    """Return and lock PENDING payments by these methods that are older; those that others hold are passed over."""
    query = (
        sa.select(payments)
        .where(payments.c.status == sa.literal_column("'PENDING'"), payments.c.deleted_time.is_(None))
        .where(payments.c.method.in_(list(methods)))
        .where(payments.c.created_time <= _STATEMENT_TIME - datetime.timedelta(seconds=seconds))
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return [models.payment(row) for row in await session.execute(query)]


async def counts(session: database.Session) -> dict[Status, int]:
    """Return how many payments stand in each status; deleted ones do not count."""
    query = sa.select(payments.c.status, sa.func.count()).where(payments.c.deleted_time.is_(None))
    return dict((await session.execute(query.group_by(payments.c.status))).all())


async def overdue(session: database.Session) -> dict[Step, float]:
    """Return for how many seconds the oldest due payment of each step has been waiting."""
    age = sa.func.extract("epoch", _NOW - sa.func.min(payments.c.due_time))
    query = sa.select(payments.c.step, age).where(payments.c.step.is_not(None), payments.c.due_time <= _STATEMENT_TIME)
    return {step: float(seconds) for step, seconds in await session.execute(query.group_by(payments.c.step))}


async def leased(session: database.Session, payment: Payment) -> bool:
    """Return whether somebody holds the payment right now."""
    free = await session.scalar(sa.select(_free()).where(payments.c.id == payment.id))
    return not free


def _free() -> sa.ColumnElement[bool]:
    return sa.func.coalesce(payments.c.leased_until <= _STATEMENT_TIME, sa.true())


def _still_held(claimed: Sequence[Payment]) -> sa.ColumnElement[bool]:
    return sa.tuple_(payments.c.id, payments.c.fence).in_([(payment.id, payment.fence) for payment in claimed])


def _claimed(lease_seconds: float) -> dict[str, Any]:
    return {
        "fence": payments.c.fence + 1,
        "leased_until": seconds_from_now(lease_seconds),
    }


async def _record(session: database.Session, changes: Sequence[tuple[Payment | None, Payment]], mark: Mark) -> None:
    await session.execute(
        sa.insert(payment_changes),
        [
            {
                "payment_id": after.id,
                "version": after.version,
                "actor": mark.actor,
                "what": mark.what,
                "before": before.status if before else None,
                "after": after.status,
                "trigger": mark.cause.trigger,
                "event_id": mark.cause.event_id,
            }
            for before, after in changes
        ],
    )
