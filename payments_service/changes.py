"""Who waits for a payment hears of its changes, whichever replica makes them.

However many wait, they are read together: one query for all that hear of a change at the same time, and one a second
that looks for changes that were not told.
"""

import asyncio
import collections
import contextlib
import math
import uuid
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from typing import Final

import psycopg
import structlog

from kobklein import database, shared_queries
from payments_service import errors, repository
from payments_service.models import Payment
from payments_service.states import Step

CHANNEL: Final = "payments"
"""PostgreSQL notifies it of each new version of a payment, by a trigger: `<id> <version> <step>`."""
_PING_SECONDS: Final = 20.0
_log = structlog.get_logger()


class _Waiter:
    """What has been heard of a payment since its waiter last looked."""

    def __init__(self) -> None:
        self._heard = asyncio.Event()
        self._version = 0
        self._payment: Payment | None = None

    def tell(self, payment: Payment) -> None:
        """Say how the payment now is."""
        if payment.version >= self._version:
            self._payment = payment
            self._heard.set()

    def hint(self, version: float) -> None:
        """Say that there is a version, so that the waiter reads it if it is new to it."""
        if version > self._version:
            self._heard.set()

    async def wait(self, seconds: float) -> None:
        """Wait for news, but not for ever."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._heard.wait()

    def take(self) -> Payment | None:
        """Return how the payment was last said to be, once."""
        self._heard.clear()
        payment, self._payment = self._payment, None
        return payment

    def saw(self, payment: Payment) -> Payment:
        """Remember which version the waiter knows."""
        self._version = payment.version
        return payment


class Changes:
    """Steps of this process announce their changes; one connection listens for those of others; `poll` is the net."""

    def __init__(self, sessions: database.Sessions, *, poll_seconds: float) -> None:
        self._sessions = sessions
        self._poll_seconds = poll_seconds
        self._payments: shared_queries.SharedQuery[uuid.UUID, Payment] = shared_queries.SharedQuery(self._read_many)
        self._waiters: collections.defaultdict[uuid.UUID, set[_Waiter]] = collections.defaultdict(set)
        self.settlement_due = asyncio.Event()
        """Set when some payment has become ready to be settled."""

    async def listen(self, url: str) -> None:
        """Pass notifications on, for ever; reconnects by itself."""
        while True:
            try:
                await self._listen(url)
            except (psycopg.Error, OSError) as error:
                _log.warning("not listening", error=type(error).__name__)
            await asyncio.sleep(self._poll_seconds)

    async def _listen(self, url: str) -> None:
        silent_seconds = _PING_SECONDS + database.SILENT_MARGIN_SECONDS
        async with await database.connect_async(url, silent_seconds=silent_seconds, autocommit=True) as connection:
            await connection.execute(f"LISTEN {CHANNEL}")
            self._wake_all()
            while True:
                async for notification in connection.notifies(timeout=_PING_SECONDS):
                    self._pass_on(notification.payload)
                await connection.execute("SELECT 1")

    def _pass_on(self, payload: str) -> None:
        payment_id, version, step = payload.split(" ")
        if step == Step.SETTLE:
            self.settlement_due.set()
        for waiter in self._waiters.get(uuid.UUID(payment_id), ()):
            waiter.hint(int(version))

    def _wake_all(self) -> None:
        """Let everybody look: what happened while nobody listened is not told again."""
        self.settlement_due.set()
        for waiters in self._waiters.values():
            for waiter in waiters:
                waiter.hint(math.inf)

    def tell(self, payment: Payment) -> None:
        """Tell the waiters of this process how a payment is after a commit, so that they need not read it."""
        for waiter in self._waiters.get(payment.id, ()):
            waiter.tell(payment)

    async def poll(self) -> int:
        """Look once, for all that wait, whether there are versions that they have not heard of; return 0.

        A payment that is not found has a version that is new to everybody, who then learn that it is deleted.
        """
        payment_ids = list(self._waiters)
        if payment_ids:
            found = await database.transaction(
                self._sessions, lambda session: repository.versions(session, payment_ids)
            )
            for payment_id in payment_ids:
                for waiter in self._waiters.get(payment_id, ()):
                    waiter.hint(found.get(payment_id, math.inf))
        return 0

    async def versions(self, payment_id: uuid.UUID, *, seconds: float) -> AsyncGenerator[Payment]:
        """Yield a payment as it is, then after each change of its version, until the time is over.

        It listens before it reads, so no change is missed in between; changes that come fast may be seen as one.
        Raises PaymentNotFound once the payment is deleted.
        """
        clock = asyncio.get_running_loop().time
        deadline = clock() + seconds
        with self._waiting(payment_id) as waiter:
            seen = _there(waiter.saw(await self._read(payment_id)))
            yield seen
            while clock() < deadline:
                await waiter.wait(deadline - clock())
                payment = _there(waiter.saw(waiter.take() or await self._read(payment_id)))
                if payment.version > seen.version:
                    seen = payment
                    yield payment

    async def until(self, payment: Payment, reached: Callable[[Payment], bool], *, seconds: float) -> Payment:
        """Return a payment once `reached` holds for it, or as it is when the time is over; also a deleted one."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + seconds
        with self._waiting(payment.id) as waiter:
            waiter.saw(payment)
            while not reached(payment) and clock() < deadline:
                await waiter.wait(min(self._poll_seconds, deadline - clock()))
                payment = waiter.saw(waiter.take() or await self._read(payment.id))
        return payment

    async def _read(self, payment_id: uuid.UUID) -> Payment:
        payment = await self._payments.get(payment_id)
        if payment is None:
            raise errors.PaymentNotFound(id=payment_id)
        return payment

    async def _read_many(self, payment_ids: Sequence[uuid.UUID]) -> Mapping[uuid.UUID, Payment]:
        found = await database.transaction(self._sessions, lambda session: repository.get_many(session, payment_ids))
        return {payment.id: payment for payment in found}

    @contextlib.contextmanager
    def _waiting(self, payment_id: uuid.UUID) -> Iterator[_Waiter]:
        waiter = _Waiter()
        self._waiters[payment_id].add(waiter)
        try:
            yield waiter
        finally:
            self._waiters[payment_id].discard(waiter)
            if not self._waiters[payment_id]:
                del self._waiters[payment_id]


def _there(payment: Payment) -> Payment:
    if payment.deleted_time is not None:
        raise errors.PaymentNotFound(id=payment.id)
    return payment
