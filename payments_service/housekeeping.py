"""What is done now and then: old idempotency keys go, and the gauges are read."""

from typing import Final

import structlog

from kobklein import database, idempotency
from payments_service import inbox, metrics, repository
from payments_service.states import Status, Step

SECONDS: Final = 30.0
_log = structlog.get_logger()


async def run(sessions: database.Sessions) -> None:
    """Do it once; what fails is left to the next time."""
    try:
        while await database.transaction(sessions, idempotency.forget):
            pass
        await database.transaction(sessions, measure)
    except Exception as error:  # Neither is urgent.
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
