"""Turns: few at a time of the reads that may take long, so that they never take the connections that others need."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from kobklein import database

T = TypeVar("T")
_SHARE_OF_POOL: Final = 4
"""One in so many of the connections to the database."""


class Turns:
    """A share of the connections to the database."""

    def __init__(self, sessions: database.Sessions, *, pool_size: int) -> None:
        self._sessions = sessions
        self._turns = asyncio.Semaphore(max(1, pool_size // _SHARE_OF_POOL))

    async def transaction(self, work: Callable[[database.Session], Awaitable[T]]) -> T:
        """Run `work` as `database.transaction` does, in its turn.

        Whoever comes first goes first, so a long read had better be many short ones.
        """
        async with self._turns:
            return await database.transaction(self._sessions, work)
