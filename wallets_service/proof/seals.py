"""The sealer: binds what is committed into the chain, a moment later, so that no writer waits for it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

import structlog

from kobklein import database, server
from wallets_service import metrics
from wallets_service.proof import chain
from wallets_service.repository import seals as repository

_log = structlog.get_logger()
RUN_TRANSFERS: Final = 1_000
"""How many transfers one seal binds at most: with its digests, it is read and written as one row."""
_RUNS_PER_ROUND: Final = 40
"""How many seals are made before anybody looks whether to go on: a process that leaves waits for a round or two."""
_OPTIONS: Final = "-c statement_timeout=10000 -c idle_in_transaction_session_timeout=30000"


class Sealer:
    """Appends to the chain over a connection of its own, in a thread, so that hashing stops nobody else for long.

    Any number of replicas may have one: a lock that ends with the transaction lets one append at a time, and the number
    of a seal is a key. A seal is one transaction: a process that dies leaves a whole chain, and the next round goes on
    from its end.
    """

    def __init__(
        self,
        url: str,
        key: chain.Key,
        *,
        runs_per_round: int = _RUNS_PER_ROUND,
        silent_seconds: float = database.WRITER_SILENT_SECONDS,
    ) -> None:
        self._url = url
        self._silent_seconds = silent_seconds
        self._key = key
        self._runs_per_round = runs_per_round
        self._connection: database.Connection | None = None

    @contextlib.asynccontextmanager
    async def running(self, *, pause_seconds: float) -> AsyncIterator[None]:
        """Seal again and again until left, without a pause while more waits; then once more, for what came last."""
        try:
            async with server.repeating(self._round, seconds=pause_seconds):
                yield
        finally:
            await self._round()
            self.close()

    async def _round(self) -> bool:
        try:
            return await asyncio.to_thread(self.seal)
        except Exception as error:  # Whatever it is, the next round goes on where the chain ends.
            metrics.SEAL_ROUNDS_FAILED.inc()
            _log.warning("transfers wait to be sealed", error=repr(error))
            return False

    def seal(self) -> bool:
        """Seal what is committed, as far as one round goes, and return whether that left more to seal, as far as known.

        While another replica seals, nothing is done.
        """
        connection = self._connected()
        # First, so that it shows whatever keeps this round from sealing.
        metrics.SEAL_LAG_SECONDS.set(repository.waiting_seconds(connection))
        for _ in range(self._runs_per_round):
            with connection.transaction():
                count = self._append(connection) if repository.lock(connection) else 0
            if count < RUN_TRANSFERS:
                return False
        return True

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()

    def _append(self, connection: database.Connection) -> int:
        """Append one seal to the chain if there is something to seal, and return of how many transfers."""
        previous = repository.latest(connection)
        after = previous.last if previous else None
        rows = list(repository.unsealed_rows(connection, after=after, limit=RUN_TRANSFERS))
        if rows:
            seal = chain.sealed(previous, rows, self._key, sealed_microseconds=repository.clock(connection))
            repository.append(connection, seal)
            metrics.SEALED_TRANSFERS.set(seal.head.sequence)
        return len(rows)

    def _connected(self) -> database.Connection:
        if self._connection is None or self._connection.closed or self._connection.broken:
            self._connection = database.connect(self._url, options=_OPTIONS, silent_seconds=self._silent_seconds)
        return self._connection
