"""The streams that a service holds open: how many, how many of them of one caller, and for how long they may go on."""

import asyncio
import collections
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Final

from kobklein import auth, errors
from kobklein.settings import ServiceSettings

_MOST_OF_A_CALLER: Final = 20
"""How many streams one caller may have open at once."""
_SHARE_OF_CALLS: Final = 4
"""One in so many of the calls that a service serves at a time may be a stream; the others are never waited out."""


class Streams:
    """Every open stream of one process."""

    def __init__(self, verifier: auth.Verifier, settings: ServiceSettings) -> None:
        self._verifier = verifier
        self._recheck_seconds = settings.recheck_seconds
        self._most = max(1, settings.concurrent_calls // _SHARE_OF_CALLS)
        self._open = 0
        self._of_caller: collections.Counter[str] = collections.Counter()

    @contextlib.asynccontextmanager
    async def one_more(self, caller: auth.Caller | None) -> AsyncIterator[None]:
        """Serve a stream inside, for as long as its caller may have it.

        A stream outlives the moment at which its caller was proved; so the token is proved again and again, and once it
        has expired or its subject is revoked, what runs inside is cancelled. One task must enter, run and leave it.
        Raises RateLimited when the caller has too many streams, TooManyStreams when all callers together have, and
        Unauthenticated once the token is good no more.
        """
        with self._counted(caller.subject if caller else ""):
            if caller is None:
                yield
                return
            async with self._while_proved(caller):
                yield

    @contextlib.contextmanager
    def _counted(self, subject: str) -> Iterator[None]:
        if self._of_caller[subject] >= _MOST_OF_A_CALLER:
            raise errors.RateLimited(retry_after_seconds=5)
        if self._open >= self._most:
            raise errors.TooManyStreams
        self._open += 1
        self._of_caller[subject] += 1
        try:
            yield
        finally:
            self._open -= 1
            self._of_caller[subject] -= 1
            if not self._of_caller[subject]:
                del self._of_caller[subject]

    @contextlib.asynccontextmanager
    async def _while_proved(self, caller: auth.Caller) -> AsyncIterator[None]:
        right = asyncio.timeout(None)
        try:
            async with right:
                guard = asyncio.create_task(self._guard(caller, right))
                try:
                    yield
                finally:
                    guard.cancel()
        except TimeoutError as error:
            if right.expired():
                raise guard.result() from error
            raise

    async def _guard(self, caller: auth.Caller, right: asyncio.Timeout) -> errors.Unauthenticated:
        """Let the right run out once the caller's token proves nothing any more, and return why."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._recheck_seconds)
            try:
                self._verifier.verify(caller.token)
            except errors.Unauthenticated as error:
                right.reschedule(loop.time())
                return error
