"""Webhooks on their way into the inbox: those that come while one transaction commits share the next one."""

import asyncio
import dataclasses
from typing import Final

from kobklein import database
from payments_service import inbox, providers

MOST: Final = 200
"""Most events of one transaction."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Arrival:
    provider: str
    event: providers.Event
    payload: bytes
    stored: asyncio.Future[bool]


class Arrivals:
    """Stores events, many at once when many come; whoever brings one hears when it is safe."""

    def __init__(self, sessions: database.Sessions) -> None:
        self._sessions = sessions
        self._waiting: list[_Arrival] = []
        self._storing: asyncio.Task[None] | None = None

    async def store(self, provider: str, event: providers.Event, payload: bytes) -> bool:
        """Store an event, and return whether it is new; when this returns, it is on disk."""
        arrival = _Arrival(provider, event, payload, asyncio.get_running_loop().create_future())
        self._waiting.append(arrival)
        if self._storing is None:
            self._storing = asyncio.create_task(self._store_all())
        return await arrival.stored

    async def _store_all(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
                await self._store(batch)
        finally:
            self._storing = None

    async def _store(self, batch: list[_Arrival]) -> None:
        """Store a batch; whatever goes wrong is said to everybody in it, and each provider sends its event again."""
        events = [inbox.NewEvent(arrival.provider, arrival.event, arrival.payload) for arrival in batch]
        try:
            new = await database.transaction(self._sessions, lambda session: inbox.insert(session, events))
        except Exception as error:  # Each caller answers for itself.
            for arrival in batch:
                if not arrival.stored.done():
                    arrival.stored.set_exception(error)
            return
        for arrival in batch:
            key = (arrival.provider, arrival.event.id)
            if not arrival.stored.done():
                arrival.stored.set_result(key in new)
            new.discard(key)
