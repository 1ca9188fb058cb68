"""The end of holds whose time is over.

Their time stands in the database alone, and every reader and every batch goes by it: an expired hold is free money
whether or not any process ran since. Giving it back only writes that down.
"""

import asyncio
import collections
import contextlib
import functools
import uuid
from collections.abc import Sequence
from typing import Final

import structlog

from kobklein import database, server
from wallets_service import metrics
from wallets_service.ledger.entries import Key, Release
from wallets_service.ledger.group_commit import Ledger
from wallets_service.repository import holds as repository

_log = structlog.get_logger()
_PAGE: Final = 500
_MOST_PAGES: Final = 20
"""How much one round gives back at most: it must end soon when the process leaves."""


def sweeping(
    sessions: database.Sessions, ledger: Ledger, *, seconds: float
) -> contextlib.AbstractAsyncContextManager[None]:
    """Give expired holds back every so many seconds while inside; an error only costs a round."""

    async def round_() -> None:
        try:
            await sweep(sessions, ledger)
        except Exception as error:  # Whatever it is, such as a database that is away: the next round tries again.
            metrics.HOLD_SWEEPS_FAILED.inc()
            _log.warning("expired holds are not given back yet", error=repr(error))

    return server.repeating(round_, seconds=seconds)


async def sweep(
    sessions: database.Sessions, ledger: Ledger, *, account_id: uuid.UUID | None = None, page: int = _PAGE
) -> None:
    """Give back every hold whose time is over, or those that one account pays, a page of them at a time.

    Any number of replicas may do so at once: the ledger finds a hold that has ended and leaves it as it is. The walk
    goes past what cannot be given back, so that one bad row keeps nobody's money.
    """
    after: repository.Position | None = None
    for _ in range(_MOST_PAGES):
        due = await database.transaction(
            sessions, functools.partial(repository.list_due, account_id=account_id, after=after, limit=page)
        )
        await _release(ledger, due)
        if len(due) < page:
            return
        after = due[-1].expires_time, due[-1].id


async def _release(ledger: Ledger, due: Sequence[repository.Due]) -> None:
    """Release holds in a call for each account: they share batches, and one that fails fails by itself."""
    by_account = collections.defaultdict[Key, list[Release]](list)
    for hold in due:
        debit_key, credit_key = (hold.debit_account, hold.currency), (hold.credit_account, hold.currency)
        by_account[debit_key].append(Release(str(hold.id), debit_key, credit_key, expiry=True))
    answers = await asyncio.gather(*map(ledger.post, by_account.values()), return_exceptions=True)
    for key, answer in zip(by_account, answers, strict=True):
        if isinstance(answer, BaseException):
            metrics.HOLD_RELEASES_FAILED.inc()
            _log.warning("expired holds of an account are not given back yet", account=key, error=repr(answer))
