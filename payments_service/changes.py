"""Who waits for a payment hears of its changes, whichever replica makes them."""

import asyncio
import collections
import contextlib
import math
import uuid
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Final

import psycopg
import sqlalchemy
import structlog

from kobklein import database
from payments_service import repository
from payments_service.models import Payment
from payments_service.states import Step

CHANNEL: Final = "payments"
"""PostgreSQL notifies it of each new version of a payment, by a trigger: `<id> <step>`."""
_PING_SECONDS: Final = 20.0
_log = structlog.get_logger()


class Changes:
    """One connection that listens for all; polling is the net for what is lost while it is away."""

    def __init__(self, sessions: database.Sessions, *, poll_seconds: float) -> None:
        self._sessions = sessions
        self._poll_seconds = poll_seconds
        self._waiting: collections.defaultdict[uuid.UUID, set[asyncio.Event]] = collections.defaultdict(set)
        self.settlement_due = asyncio.Event()
        """Set when some payment has become ready to be settled."""

    async def listen(self, url: str) -> None:
        """Pass notifications on, for ever; reconnects by itself."""
        while True:
            try:
                await self._listen(url)
            except (psycopg.Error, OSError) as error:
                _log.warning("not listening", error=type(error).__name__)
            self._wake_all()
            await asyncio.sleep(self._poll_seconds)

    async def _listen(self, url: str) -> None:
        plain = sqlalchemy.make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        async with await psycopg.AsyncConnection.connect(plain, autocommit=True, connect_timeout=5) as connection:
            await connection.execute(f"LISTEN {CHANNEL}")
            self._wake_all()
            while True:
                async for notification in connection.notifies(timeout=_PING_SECONDS):
                    self._pass_on(notification.payload)
                await connection.execute("SELECT 1")

    def _pass_on(self, payload: str) -> None:
        payment_id, _, step = payload.partition(" ")
        if step == Step.SETTLE:
            self.settlement_due.set()
        for event in self._waiting.get(uuid.UUID(payment_id), ()):
            event.set()

    def _wake_all(self) -> None:
        self.settlement_due.set()
        for events in self._waiting.values():
            for event in events:
                event.set()

    async def versions(self, payment_id: uuid.UUID, *, deadline: float = math.inf) -> AsyncGenerator[Payment]:
        """Yield a payment as it is, then after each change, until the loop's clock reaches `deadline`.

        It listens before it reads, so no change is missed in between; changes that come fast may be seen as one.
        Raises PaymentNotFound once the payment is deleted.
        """
        clock = asyncio.get_running_loop().time
        seen = 0
        with self._subscribed(payment_id) as event:
            while not seen or clock() < deadline:
                event.clear()
                async with self._sessions() as session:
                    payment = await repository.get(session, payment_id)
                if payment.version != seen:
                    seen = payment.version
                    yield payment
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._poll_seconds):
                        await event.wait()

    async def until(self, payment_id: uuid.UUID, reached: Callable[[Payment], bool], *, seconds: float) -> Payment:
        """Return a payment once `reached` holds for it, or as it is when the time is over."""
        latest: Payment | None = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), contextlib.aclosing(self.versions(payment_id)) as versions:
                async for latest in versions:
                    if reached(latest):
                        return latest
        if latest is not None:
            return latest
        async with self._sessions() as session:
            return await repository.get(session, payment_id)

    @contextlib.contextmanager
    def _subscribed(self, payment_id: uuid.UUID) -> Iterator[asyncio.Event]:
        event = asyncio.Event()
        self._waiting[payment_id].add(event)
        try:
            yield event
        finally:
            self._waiting[payment_id].discard(event)
            if not self._waiting[payment_id]:
                del self._waiting[payment_id]
