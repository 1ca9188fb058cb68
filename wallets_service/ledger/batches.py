"""A batch of operations is one transaction: locked, decided and written whole, and run again whole when it must be.

Writers block: each belongs to a thread. Waiting for the database in a thread costs a fraction of what it costs in an
event loop, and a batch of single calls is little else.
"""

import dataclasses
import datetime
import random
import time
from collections.abc import Callable, Collection, Sequence
from typing import Final

import psycopg
import structlog

from kobklein import database, errors
from wallets_service import metrics
from wallets_service.ledger import decisions, lookups, postings
from wallets_service.ledger.book import Decision, Outcome, State
from wallets_service.ledger.entries import Id, Key, Operation, Posting
from wallets_service.ledger.known import Known
from wallets_service.settings import Isolation

_log = structlog.get_logger()
MAX_ATTEMPTS: Final = 6
_MAX_WAITS: Final = 2
"""How often a batch waits for locks that somebody else keeps."""
LONGEST_SECONDS: Final = 30
"""How long a transaction of a batch may last; the server ends it then. No transfer is recorded later than so long after
its time."""
_PART_TRANSFERS: Final = 200
"""How many transfers are written by one statement, when there are more."""
_OPTIONS: Final = (
    "-c statement_timeout=10000 -c lock_timeout=1000"
    f" -c transaction_timeout={LONGEST_SECONDS * 1000}"
    # Every statement of a batch is a look-up by key. Plans are made once, perhaps while the tables are still small, and
    # must not be the ones that only suit small tables.
    " -c plan_cache_mode=force_generic_plan -c jit=off"
    " -c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off"
)
_LEVELS: Final = {
    Isolation.READ_COMMITTED: psycopg.IsolationLevel.READ_COMMITTED,
    Isolation.SERIALIZABLE: psycopg.IsolationLevel.SERIALIZABLE,
}


class _LostRaceError(Exception):
    """Another transaction opened an account that this one decided to open."""


_REPEATABLE: Final = (psycopg.OperationalError, psycopg.InterfaceError, psycopg.errors.UniqueViolation, _LostRaceError)
"""What another run of the whole batch can settle: lost races (40001, 40P01, an account, a transfer or a hold that
another transaction wrote first), a database that is away, and a connection lost while committing, which may have
succeeded: the next run finds the transfers by their ids."""
_WAITED: Final = (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled)
_OF_SOME_ROWS: Final = (*_WAITED, psycopg.errors.UniqueViolation, psycopg.errors.TransactionRollback, _LostRaceError)


class BlockedError(Exception):
    """A batch cannot be written because of some of its rows, and nothing of it was; a part of it might be."""


class KeptError(BlockedError):
    """A batch cannot be written because somebody keeps some of its accounts locked."""

    def __init__(self, keys: Collection[Key]) -> None:
        super().__init__(keys)
        self.keys = keys


class Writer:
    """Writes batches over a connection of its own, which is made anew when it is lost."""

    def __init__(
        self,
        url: str,
        isolation: Isolation,
        zone: datetime.tzinfo = datetime.UTC,
        *,
        silent_seconds: float = database.WRITER_SILENT_SECONDS,
    ) -> None:
        self._url = url
        self._silent_seconds = silent_seconds
        self._isolation = isolation
        self._zone = zone
        self._known = Known()
        self._locked: frozenset[lookups.Locked] = frozenset()
        self._connection: database.Connection | None = None

    def post(self, operations: Sequence[Operation]) -> list[Outcome]:
        """Decide and record the operations in one transaction, and return what became of each, once it is durable.

        Raises KeptError when somebody keeps some of its accounts locked, BlockedError when it cannot be written for
        other rows of its own, and Unavailable when the database is out of reach: what became of it is then open, and
        posting it again tells.
        """
        metrics.BATCH_TRANSFERS.observe(len(operations))
        with metrics.BATCH_SECONDS.time():
            return self._repeated(self._run, operations)

    def preview(self, operations: Sequence[Operation]) -> list[Outcome]:
        """Return what would become of the operations now. Nothing is locked, and nothing recorded.

        What is recorded already is returned as it is; what would be, without a time.
        """
        return self._repeated(self._try, operations)

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()

    def _repeated(
        self,
        run: Callable[[database.Connection, Sequence[Operation]], list[Outcome]],
        operations: Sequence[Operation],
    ) -> list[Outcome]:
        for attempt in range(1, MAX_ATTEMPTS + 1):
            try:
                return run(self._connected(), operations)
            except lookups.ClockBehindError as error:
                _log.error("the clock went back", operations=len(operations), error=str(error))
                raise BlockedError from error
            except _REPEATABLE as error:
                _log.warning("batch repeated", attempt=attempt, operations=len(operations), error=repr(error))
                if attempt >= (_MAX_WAITS if isinstance(error, _WAITED) else MAX_ATTEMPTS):
                    raise BlockedError if isinstance(error, _OF_SOME_ROWS) else unavailable() from error
            metrics.BATCHES_REPEATED.inc()
            time.sleep(random.uniform(0, 0.02 * 2**attempt))  # noqa: S311  # jitter, not a secret
        raise AssertionError  # pragma: no cover  # the last attempt raised

    def _run(self, connection: database.Connection, operations: Sequence[Operation]) -> list[Outcome]:
        try:
            return self._written(connection, operations)
        except psycopg.errors.LockNotAvailable as error:
            # Who has kept a row since the wait before this one is not about to let it go, as another batch is.
            before, self._locked = self._locked, lookups.locked_elsewhere(connection, operations)
            kept = {key for key, _ in before & self._locked}
            if kept:
                raise KeptError(kept) from error
            raise

    def _written(self, connection: database.Connection, operations: Sequence[Operation]) -> list[Outcome]:
        known, self._known = self._known, Known()  # Whatever goes wrong could come from what is remembered.
        with connection.pipeline(), connection.transaction():
            state = lookups.read(connection, operations, known, zone=self._zone)
            # PostgreSQL writes a part while the next one is decided; accounts that are new have to be opened first.
            size = 0 if state.missing else _PART_TRANSFERS
            written = 0
            for decision in decisions.decide_in_parts(operations, state, size=size):
                if state.missing:
                    _open_accounts(connection, decision, state)
                for start in range(written, len(decision.postings), _PART_TRANSFERS):
                    part = decision.postings[start : start + _PART_TRANSFERS]
                    postings.write_transfers(connection, part, state.time, first_place=start)
                written = len(decision.postings)
            postings.write_accounts(connection, decision, state)
        known.remember(state, decision)
        self._known = known
        return decision.outcomes

    def _try(self, connection: database.Connection, operations: Sequence[Operation]) -> list[Outcome]:
        with connection.pipeline(), connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            state = lookups.read(connection, operations, Known(), zone=self._zone, lock=False)
        decision = decisions.decide(operations, state)
        tried = {posting.transfer.id for posting in decision.postings}
        return [_without_time(outcome, tried) for outcome in decision.outcomes]

    def _connected(self) -> database.Connection:
        if self._connection is None or self._connection.broken or self._connection.closed:
            self._connection = database.connect(self._url, options=_OPTIONS, silent_seconds=self._silent_seconds)
            self._connection.prepare_threshold = 0  # Every statement is run again and again.
            self._connection.set_isolation_level(_LEVELS[self._isolation])
        return self._connection


def unavailable() -> errors.Unavailable:
    """Return what callers are told when nothing can be written for them now."""
    return errors.Unavailable(part="the ledger's database")


def _without_time(outcome: Outcome, tried: Collection[Id]) -> Outcome:
    if isinstance(outcome, Posting) and outcome.transfer.id in tried:
        return dataclasses.replace(outcome, created_time=None)
    return outcome


def _open_accounts(connection: database.Connection, decision: Decision, state: State) -> None:
    new = [account for key, account in decision.accounts.items() if key in state.missing]
    if new and not postings.open_accounts(connection, new, state.time):
        raise _LostRaceError
