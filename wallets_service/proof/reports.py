"""Reports on the whole ledger as calls ask for them: in a thread each, few at a time, within the time of the call."""

import asyncio
import contextlib
import datetime
from collections.abc import AsyncIterator
from typing import Final

from wallets_service.instants import Basis
from wallets_service.proof import chain, snapshots, trial_balances, verification
from wallets_service.settings import Settings

_AT_ONCE: Final = 2
"""More would only share the same processor and disk; the others wait, which counts as their time."""
_MARGIN: Final = 0.9
"""How much of a call's time a report gets, so that a refusal still reaches the caller."""


class Reports:
    """Makes reports from the database of these settings."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.database_url.get_secret_value()
        self._trusted = settings.trusted_seal_keys
        self._longest = settings.longest_report_seconds
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def verify(self, head: chain.Head | None, *, seconds: float | None) -> verification.Report:
        """Verify the ledger; raises as `verification.verify` does. `seconds` is what is left of the call, if known."""
        async with self._turn(seconds) as left:
            return await snapshots.in_thread(
                lambda clock: verification.verify(self._url, clock, head=head, trusted=self._trusted), seconds=left
            )

    async def trial_balance(
        self, *, at: datetime.datetime | None, basis: Basis, currency: str, seconds: float | None
    ) -> trial_balances.TrialBalance:
        """Draw up a trial balance; raises as `trial_balances.draw_up` does."""
        async with self._turn(seconds) as left:
            return await snapshots.in_thread(
                lambda clock: trial_balances.draw_up(self._url, clock, at=at, basis=basis, currency=currency),
                seconds=left,
            )

    @contextlib.asynccontextmanager
    async def _turn(self, seconds: float | None) -> AsyncIterator[float]:
        """Wait for a turn, and yield what is left of the time."""
        clock = asyncio.get_running_loop().time
        end = clock() + _MARGIN * min(self._longest if seconds is None else seconds, self._longest)
        async with self._turns:
            yield end - clock()
