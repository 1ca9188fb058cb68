"""Instants: which of a transfer's two times counts, and from when on nothing more can be recorded at an instant.

A batch has its transaction id before it reads its time, and is seen only once it has committed. So whatever it records
at an instant may still be unseen when that is over; but once every transaction that had an id by then has ended, all
is there for good. Only young instants need that look: the server ends every batch that lasts.
"""

import asyncio
import datetime
import enum
from collections.abc import Awaitable, Callable, Collection
from typing import Any, Final, TypeVar

import sqlalchemy as sa

from kobklein import database, errors
from wallets_service.ledger import batches

T = TypeVar("T")
LOOK_SECONDS: Final = 0.01
"""How long to wait between two looks."""
PATIENCE: Final = datetime.timedelta(seconds=10)
"""How long what runs at an instant may take to end; a batch takes less than one second."""
_FINAL_AFTER: Final = 2 * datetime.timedelta(seconds=batches.LONGEST_SECONDS)
"""From which age on an instant is final, whoever still runs: twice what a batch may take, for a commit that a slow disk
holds up is not ended by the server."""
LOOK: Final = f"""
    SELECT clock_timestamp() AS now, ARRAY(
        SELECT backend_xid::text FROM pg_stat_activity
        WHERE datname = current_database() AND backend_xid IS NOT NULL
          AND coalesce(xact_start > clock_timestamp() - interval '{_FINAL_AFTER.total_seconds()} seconds', true)
    ) AS running
"""  # noqa: S608  # a number of ours
"""What an instant is looked at with, each time in a transaction of its own: one sees the same for as long as it lasts.
Other databases of the server are left out, and what has lasted longer than a batch can, such as a migration. A start
that this role may not see counts as one of a batch."""


class Basis(enum.StrEnum):
    """Which of a transfer's two times counts."""

    RECORDED = "recorded"
    EFFECTIVE = "effective"


class Instant:
    """An instant that is looked at until it is final; the caller looks, with `LOOK`, and waits in between."""

    def __init__(self, at: datetime.datetime | None, *, field: str, patience: datetime.timedelta = PATIENCE) -> None:
        """Begin with an instant, None being the first look's own; `field` is what a request calls it."""
        self._at = at
        self._field = field
        self._patience = patience
        self._began: datetime.datetime | None = None
        self._running: set[str] = set()

    @property
    def time(self) -> datetime.datetime:
        """The instant, once it was looked at."""
        assert self._at is not None  # noqa: S101  # the first look sees to it
        return self._at

    def final(self, now: datetime.datetime, running: Collection[str]) -> bool:
        """Return whether nothing more can be recorded at it, by what a look finds: the time, and who runs.

        Raises InvalidArgument for an instant that is not there yet, and Unavailable when one that ran at it does not
        end.
        """
        if self._began is None:
            self._began, self._running = now, set(running)
            if self._at is not None and self._at > now:
                raise errors.InvalidArgument.of(self._field, "is in the future")
            self._at = now if self._at is None else self._at
        self._running.intersection_update(running)
        if not self._running or now - self.time > _FINAL_AFTER:
            return True
        if now - self._began > self._patience:
            raise errors.Unavailable(part="the end of a transaction that began before this instant")
        return False


async def settled(
    sessions: database.Sessions,
    at: datetime.datetime | None,
    *,
    field: str,
    patience: datetime.timedelta = PATIENCE,
) -> datetime.datetime:
    """Return an instant, now if none is given, once it is final; raises as `Instant.final` does.

    No connection is held in between.
    """
    instant = Instant(at, field=field, patience=patience)
    while not instant.final(*await database.transaction(sessions, _look)):  # noqa: ASYNC110  # its end sets no event
        await asyncio.sleep(LOOK_SECONDS)
    return instant.time


async def read_at_end(
    sessions: database.Sessions,
    read: Callable[[database.Session], Awaitable[T]],
    ended: Callable[[T], datetime.datetime | None],
) -> T:
    """Return what `read` finds, and if by that its time is over, read it again once that instant is final.

    `ended` returns when that was, or None. A batch that began before then may still be taking, or accepting, what reads
    as expired. Raises as `settled` does.
    """
    found = await database.transaction(sessions, read)
    if (end := ended(found)) is None:
        return found
    await settled(sessions, end, field="id")
    return await database.transaction(sessions, read)


async def _look(session: database.Session) -> tuple[Any, Any]:
    now, running = (await session.execute(sa.text(LOOK))).one()
    return now, running
