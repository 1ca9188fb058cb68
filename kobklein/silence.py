"""Connections to PostgreSQL that give a silent server up.

A server can stop without dying: its machine hangs, or its processes are frozen. The kernel below it still acknowledges
data, so neither keepalives nor TCP's own time-out ends the wait, and another primary may have taken over long
ago. So each connection here bounds the wait for an answer itself. A connection that has waited too long is closed, and
the call fails with psycopg.OperationalError, as it does when the server hangs up: a lost connection has one meaning.
"""

from typing import Any, Final, TypeVar

import psycopg
import structlog
from psycopg import abc

_log = structlog.get_logger()
_Result = TypeVar("_Result")
_INTERVAL_SECONDS: Final = 0.1
"""How often a wait looks for signals, as in psycopg."""


class Connection(psycopg.Connection[tuple[Any, ...]]):
    """A connection for one thread."""

    silent_seconds: float | None = None
    """How long an answer may take; None is without limit."""

    def wait(
        self, gen: abc.PQGen[_Result], interval: float = _INTERVAL_SECONDS, timeout: float | None = None
    ) -> _Result:
        """Wait as psycopg does, for `silent_seconds` at most where the caller gives no time."""
        try:
            return super().wait(gen, interval, timeout or self.silent_seconds)
        except psycopg.OperationalError as error:
            if timeout is None and _timed_out(error, self):
                self.close()
                raise _lost(self.silent_seconds) from error
            raise


class AsyncConnection(psycopg.AsyncConnection[tuple[Any, ...]]):
    """A connection for coroutines."""

    silent_seconds: float | None = None
    """How long an answer may take; None is without limit."""

    async def wait(
        self,
        gen: abc.PQGen[_Result],
        interval: float = _INTERVAL_SECONDS,
        timeout: float | None = None,  # noqa: ASYNC109  # psycopg's own signature
    ) -> _Result:
        """Wait as psycopg does, for `silent_seconds` at most where the caller gives no time."""
        try:
            return await super().wait(gen, interval, timeout or self.silent_seconds)
        except psycopg.OperationalError as error:
            if timeout is None and _timed_out(error, self):
                await self.close()
                raise _lost(self.silent_seconds) from error
            raise


def _timed_out(error: psycopg.OperationalError, connection: Connection | AsyncConnection) -> bool:
    """Return whether a wait ended by its time: the server said nothing, and the connection is still there."""
    return error.sqlstate is None and not connection.closed


def _lost(seconds: float | None) -> psycopg.OperationalError:
    _log.error("the database is silent; its connection is closed", seconds=seconds)
    return psycopg.OperationalError(f"the server said nothing for {seconds:g} seconds")
