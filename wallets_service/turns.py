"""Turns: few at a time of the reads that may take long, so that they never take the connections that others need."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from kobklein import database

T = TypeVar("T")
_SHARE_OF_POOL: Final = 4
"""One in so many of the connections to the database."""
_SUMMED_AT_ONCE: Final = 500_000
_WALKED_AT_ONCE: Final = 100_000


class Turns:
    """A share of the connections to the database."""

    def __init__(
        self,
        sessions: database.Sessions,
        *,
        pool_size: int,
        summed_at_once: int = _SUMMED_AT_ONCE,
        walked_at_once: int = _WALKED_AT_ONCE,
    ) -> None:
        self.summed_at_once: Final = summed_at_once
        """How many transfers one statement may add up, so that it is long over when the database would cancel it."""
        self.walked_at_once: Final = walked_at_once
        """How many backdated transfers one statement may walk along; they lie anywhere in the table."""
        self._sessions = sessions
        self._turns = asyncio.Semaphore(max(1, pool_size // _SHARE_OF_POOL))

    async def transaction(self, work: Callable[[database.Session], Awaitable[T]]) -> T:
        """Run `work` as `database.transaction` does, in its turn.

        Whoever comes first goes first, so a long read had better be many short ones.
        """
        async with self._turns:
            return await database.transaction(self._sessions, work)
