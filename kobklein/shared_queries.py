"""Many questions answered by one query: those that come while one query runs share the next one."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class SharedQuery(Generic[K, V]):
    """Looks keys up with at most one query at a time."""

    def __init__(self, ask: Callable[[Sequence[K]], Awaitable[Mapping[K, V]]], *, most: int = 1000) -> None:
        """Look up by `ask`, which gets at most `most` different keys and returns the values of those that exist."""
        self._ask = ask
        self._most = most
        self._waiting: dict[K, asyncio.Future[V | None]] = {}
        self._asking: asyncio.Task[None] | None = None

    async def get(self, key: K) -> V | None:
        """Return the value of a key as a query finds it that begins after this call; None where there is none.

        Raises the query's own exceptions.
        """
        if key not in self._waiting:
            self._waiting[key] = asyncio.get_running_loop().create_future()
        future = self._waiting[key]
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask_all())
        return await asyncio.shield(future)

    async def _ask_all(self) -> None:
        try:
            while self._waiting:
                await self._ask_some()
        finally:
            self._asking = None

    async def _ask_some(self) -> None:
        batch = {key: self._waiting.pop(key) for key in list(self._waiting)[: self._most]}
        try:
            found = await self._ask(list(batch))
        except Exception as error:  # Each of those that wait answers for itself.
            for future in batch.values():
                future.set_exception(error)
                future.exception()  # The waiting callers may have left; the exception counts as retrieved then.
        else:
            for key, future in batch.items():
                future.set_result(found.get(key))
