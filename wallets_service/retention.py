"""The end of quotes that nobody accepted: kept for a while after their time, then deleted.

An accepted quote stays for as long as the ledger: it says what its transfers are for. The database itself refuses to
delete it.
"""

import contextlib
import datetime
import functools
from typing import Final

import structlog

from kobklein import database, server
from wallets_service.repository import quotes as repository

_log = structlog.get_logger()
KEPT: Final = datetime.timedelta(days=30)
"""How long a quote can be asked for after its time; longer than idempotency keys may answer with it."""
_PAGE: Final = 1_000
_MOST_PAGES: Final = 20
"""How much one round looks at: it must end soon when the process leaves."""


def forgetting(sessions: database.Sessions, *, seconds: float) -> contextlib.AbstractAsyncContextManager[None]:
    """Delete old quotes every so many seconds while inside; an error only costs a round.

    Where the last round ended is only remembered to not walk past all that was ever accepted again; a process that
    starts anew does so once.
    """
    reached: repository.Position | None = None

    async def round_() -> None:
        nonlocal reached
        try:
            reached = await forget(sessions, after=reached)
        except Exception as error:  # Old quotes do no harm; the next round tries again.
            _log.warning("old quotes stay", error=repr(error))

    return server.repeating(round_, seconds=seconds)


async def forget(
    sessions: database.Sessions, *, after: repository.Position | None = None, page: int = _PAGE
) -> repository.Position | None:
    """Delete what expired KEPT ago or earlier without being accepted, the oldest first; return how far it came.

    It looks at no more than _MOST_PAGES pages, each in a transaction of its own, and the next call goes on from there.
    Any number of replicas may do so at once, and a process that dies leaves whole pages.
    """
    for _ in range(_MOST_PAGES):
        walked = await database.transaction(
            sessions, functools.partial(repository.delete_unaccepted, kept=KEPT, after=after, limit=page)
        )
        after = walked[-1] if walked else after
        if len(walked) < page:
            break
    return after
