"""What is done now and then: old idempotency keys and abandoned payments go, and the gauges are read."""

import functools
from typing import Final

import structlog

from kobklein import database, idempotency
from payments_service import inbox, metrics, payments, repository
from payments_service.states import Status, Step

SECONDS: Final = 30.0
_log = structlog.get_logger()


async def run(sessions: database.Sessions, *, unprocessable_seconds: float) -> None:
    """Do it once; what fails is left to the next time.

    Died in between: each batch is a transaction of its own, and the rest is found again. The replica that comes first
    cancels a payment.
    """
    try:
        while await database.transaction(sessions, idempotency.forget):
            pass
        abandoned = functools.partial(payments.cancel_abandoned, seconds=unprocessable_seconds)
        while await database.transaction(sessions, abandoned):
            pass
        await database.transaction(sessions, measure)
    except Exception as error:  # None of it is urgent.
        _log.warning("housekeeping failed", error=repr(error))


async def measure(session: database.Session) -> None:
    """Set the gauges."""
    counts = await repository.counts(session)
    for status in Status:
        metrics.BY_STATUS.labels(status).set(counts.get(status, 0))
    overdue = await repository.overdue(session)
    for step in Step:
        metrics.OVERDUE_SECONDS.labels(step).set(overdue.get(step, 0.0))
    waiting, oldest = await inbox.backlog(session)
    metrics.INBOX_WAITING.set(waiting)
    metrics.INBOX_OVERDUE_SECONDS.set(oldest.total_seconds())
