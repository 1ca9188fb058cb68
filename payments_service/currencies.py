"""The currencies of this service are compared with the ledger's: whatever is paid here must fit into a wallet there."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import structlog

from kobklein import configuration, errors
from payments_service.wallets import Ledger

_log = structlog.get_logger()


class CurrenciesDifferError(configuration.NotToServeError):
    """This service offers a currency that the ledger does not."""


class Agreement:
    """Whether the ledger offers all that this service does: unknown until it answers for the first time."""

    def __init__(self, ledger: Ledger, currencies: Sequence[str], *, poll_seconds: float) -> None:
        self._ledger = ledger
        self._currencies = currencies
        self._poll_seconds = poll_seconds
        self._reached = False

    def check(self) -> None:
        """Raise Unavailable until the ledger has answered."""
        if not self._reached:
            raise errors.Unavailable(part="the ledger, whose currencies are not known yet,")

    @contextlib.asynccontextmanager
    async def inquiry(self) -> AsyncIterator[None]:
        """Ask the ledger until it answers; cancel the task inside, and raise CurrenciesDifferError, if it disagrees."""
        try:
            async with asyncio.TaskGroup() as tasks:
                asking = tasks.create_task(self._ask())
                yield
                asking.cancel()
        except* CurrenciesDifferError as found:
            disagreement = found.exceptions[0]
        else:
            return
        raise disagreement

    async def _ask(self) -> None:
        while not self._reached:
            try:
                offered = await self._ledger.currencies()
            except errors.Unavailable as error:
                _log.warning("the ledger does not tell its currencies: not ready", error=repr(error.__cause__))
                await asyncio.sleep(self._poll_seconds)
                continue
            missing = [currency for currency in self._currencies if currency not in offered]
            if missing:
                raise CurrenciesDifferError(
                    f"PAYMENTS_CURRENCIES has {', '.join(missing)}, which the ledger does not offer: "
                    f"its WALLETS_CURRENCIES are {', '.join(offered)}"
                )
            self._reached = True
