"""Which card payments begin: as many as can be served in time, and every repetition of one that has begun.

A call goes well if it waits no longer than `target_seconds` until it is recorded. That wait is spent in this process
and its database alone. So a slow provider, for which a call waits later, does not lower the limit; a busy machine does.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Final

from kobklein import admission as common
from kobklein import calls, database, errors, idempotency, shared_queries
from kobklein.admission import Ticket
from payments_service import metrics
from payments_service.settings import CardAdmissionSettings

_Key = tuple[str, str]
_TOLERATED: Final = 0.5
"""Share of calls that may wait longer than the target."""


class ChargeAdmission:
    """Admits the calls of this process that charge cards."""

    def __init__(self, sessions: database.Sessions, settings: CardAdmissionSettings) -> None:
        """Look keys up with `sessions`, whose connections must not be those that admitted calls wait for."""
        self._sessions = sessions
        self._settings = settings
        self._admission = common.Admission(settings, tolerated=_TOLERATED)
        self._keys: shared_queries.SharedQuery[_Key, bool] = shared_queries.SharedQuery(self._known)
        metrics.ADMISSION_LIMIT.set_function(lambda: self._admission.limit)
        metrics.UNDER_WAY.set_function(lambda: self._admission.under_way)

    async def enter(self) -> Ticket | None:
        """Admit the current call; raises Overloaded when too many are under way.

        A call whose idempotency key is known is served all the same, without a ticket: its payment is recorded, and it
        gets the answer or is told that the first call still runs, either of which costs little.
        """
        ticket = self._admission.enter()
        if ticket is None and not await self._is_repetition():
            raise self._refusal()
        metrics.ADMITTED.labels("yes" if ticket else "repetition").inc()
        return ticket

    def check_in_time(self, ticket: Ticket | None) -> None:
        """Raise Overloaded for a call that has waited too long to be recorded; its transaction must not commit."""
        if ticket is not None and self._admission.age(ticket) > self._settings.queue_seconds:
            raise self._refusal()

    def begun(self, ticket: Ticket | None) -> None:
        """Note that a call is recorded, or that it was too late for that."""
        if ticket is not None:
            waited = self._admission.age(ticket)
            metrics.QUEUE_SECONDS.observe(waited)
            self._admission.judge(ticket, good=waited <= self._settings.target_seconds)

    def leave(self, ticket: Ticket | None) -> None:
        """Note that a call has ended."""
        if ticket is not None:
            self._admission.leave()

    def _refusal(self) -> errors.Overloaded:
        metrics.ADMITTED.labels("no").inc()
        return errors.Overloaded(retry_after_seconds=self._admission.retry_seconds())

    async def _is_repetition(self) -> bool:
        call = calls.current()
        if call.idempotency_key:
            with contextlib.suppress(errors.Unavailable, TimeoutError):
                async with asyncio.timeout(self._settings.queue_seconds):
                    return bool(await self._keys.get((call.subject, call.idempotency_key)))
        return False

    async def _known(self, keys: Sequence[_Key]) -> Mapping[_Key, bool]:
        found = await database.transaction(self._sessions, lambda session: idempotency.known(session, keys))
        return dict.fromkeys(found, True)
