"""One snapshot of the whole ledger, read by reports: in a thread, within a time limit, in no writer's way."""

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeVar

import psycopg
from psycopg import rows as psycopg_rows

from kobklein import database
from wallets_service import errors

T = TypeVar("T")
_OPTIONS: Final = "-c work_mem=64MB -c idle_in_transaction_session_timeout=600000"
_CANCEL_SECONDS: Final = 2.0


class Clock:
    """How long a report may still take, and each of its statements at most.

    It is stopped from another thread when its caller stops waiting.
    """

    def __init__(self, seconds: float = math.inf, *, statement_seconds: float = math.inf) -> None:
        self._end = time.monotonic() + seconds
        self._statement_seconds = statement_seconds
        self._connection: database.Connection | None = None

    @property
    def seconds(self) -> float:
        """How long the next statement may take. Raises LedgerTooLarge when no time is left."""
        left = min(self._end - time.monotonic(), self._statement_seconds)
        if left <= 0:
            raise errors.LedgerTooLarge
        return left

    @property
    def milliseconds(self) -> int:
        """The same as PostgreSQL wants it; 0 is without limit."""
        seconds = self.seconds
        return 0 if math.isinf(seconds) else max(1, math.ceil(seconds * 1000))

    def watch(self, connection: database.Connection) -> None:
        """Note what to cancel."""
        self._connection = connection

    def stop(self) -> None:
        """End the report at its next step, and the statement that runs for it now."""
        self._end = -math.inf
        if self._connection is not None and not self._connection.closed:
            with contextlib.suppress(psycopg.Error):
                self._connection.cancel_safe(timeout=_CANCEL_SECONDS)


class Snapshot:
    """A ledger that stands still, seen over one connection."""

    def __init__(self, connection: database.Connection, clock: Clock) -> None:
        self.connection = connection
        self._clock = clock

    def step(self) -> None:
        """Give the next statement what is left of the time; raises LedgerTooLarge when nothing is."""
        self.connection.execute("SELECT set_config('statement_timeout', %s, false)", (str(self._clock.milliseconds),))

    def rows(self, statement: str, parameters: Mapping[str, object] | None = None) -> list[dict[str, Any]]:
        """Return what a statement finds."""
        self.step()
        with self.connection.cursor(row_factory=psycopg_rows.dict_row) as cursor:
            return cursor.execute(statement.encode(), parameters).fetchall()

    def row(self, statement: str, parameters: Mapping[str, object] | None = None) -> dict[str, Any]:
        """Return the one row that a statement finds."""
        (row,) = self.rows(statement, parameters)
        return row


@contextlib.contextmanager
def connected(url: str, clock: Clock) -> Iterator[Snapshot]:
    """Yield a connection on which every statement still sees the newest state.

    Raises LedgerTooLarge when the time is over, Unavailable when the database is out of reach.
    """
    with database.translated(), _timely():
        silent_seconds = clock.seconds + database.SILENT_MARGIN_SECONDS
        connection = database.connect(url, options=_OPTIONS, silent_seconds=silent_seconds)
        with contextlib.closing(connection):
            clock.watch(connection)
            yield Snapshot(connection, clock)


@contextlib.contextmanager
def taken(url: str, clock: Clock) -> Iterator[Snapshot]:
    """Yield a snapshot; raises as `connected` does."""
    with connected(url, clock) as snapshot:
        snapshot.connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield snapshot


async def in_thread(work: Callable[[Clock], T], *, seconds: float) -> T:
    """Return what `work` returns within this time; a caller that stops waiting ends it."""
    clock = Clock(seconds)
    try:
        return await asyncio.to_thread(work, clock)
    except asyncio.CancelledError:
        clock.stop()
        raise


@contextlib.contextmanager
def _timely() -> Iterator[None]:
    try:
        yield
    except psycopg.errors.QueryCanceled as error:
        raise errors.LedgerTooLarge from error
