"""The loops that finish what calls began, and what a crash left behind."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import structlog

from kobklein import errors, origins
from payments_service import money_path
from payments_service.models import Payment
from payments_service.money_path import MoneyPath

_log = structlog.get_logger()
T = TypeVar("T")
Work = Callable[[], Awaitable[int]]


@contextlib.asynccontextmanager
async def kept(name: str, work: Work, *, wake: asyncio.Event, poll_seconds: float) -> AsyncIterator[None]:
    """Run `work` beside the body: at once while it finds something, else when woken, and now and then without.

    On leaving, a run comes to its end: cut off, it could leave a half-open connection to the database behind.
    """
    leaving = asyncio.Event()
    task = asyncio.create_task(_keep(name, work, wake=wake, poll_seconds=poll_seconds, leaving=leaving))
    try:
        yield
    finally:
        leaving.set()
        wake.set()
        await task


async def _keep(name: str, work: Work, *, wake: asyncio.Event, poll_seconds: float, leaving: asyncio.Event) -> None:
    """Nothing that happens in `work` ends the loop: what it was to do is in the database, and is found there again."""
    while not leaving.is_set():
        wake.clear()
        try:
            found = await work()
        except Exception:  # A loop that ends would strand every payment.
            _log.exception("work failed", worker=name)
            await asyncio.sleep(poll_seconds)
            continue
        if not found:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(poll_seconds):
                    await wake.wait()


class Background:
    """Tasks that outlive the call that started them, and are waited for when the process leaves."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, T], *, done: Callable[[], None] = lambda: None) -> asyncio.Task[T]:
        """Start a task; what it raises is logged, unless it is an answer to a caller."""
        task = asyncio.create_task(work)
        self._tasks.add(task)

        def ended(task: asyncio.Task[T]) -> None:
            self._tasks.discard(task)
            error = None if task.cancelled() else task.exception()
            if isinstance(error, errors.Unavailable):
                _log.warning("background task put off", error=str(error))
            elif error is not None and not isinstance(error, errors.Error):
                _log.error("background task failed", exc_info=error)
            done()

        task.add_done_callback(ended)
        return task

    async def drain(self, seconds: float) -> None:
        """Wait for the tasks, and cancel those that take longer; their leases run out, and others take over."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        for task in set(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class Recovery:
    """Takes the due steps that nobody holds, several at once."""

    def __init__(self, path: MoneyPath, background: Background, *, concurrent: int) -> None:
        self._path = path
        self._background = background
        self._concurrent = concurrent
        self._running = 0
        self.wake = asyncio.Event()

    async def run(self) -> int:
        """Start as many due steps as there is room for, and return how many."""
        room = self._concurrent - self._running
        claimed = await self._path.claim_due(limit=room) if room > 0 else []
        for payment in claimed:
            self._start(payment)
        return len(claimed)

    def _start(self, payment: Payment) -> None:
        self._running += 1
        self._background.start(self._advance(payment), done=self._ended)

    async def _advance(self, payment: Payment) -> None:
        """Take the step in the payment's own name, since no request waits for it."""
        with origins.scope(origins.Origin(str(payment.id))):
            await self._path.advance(payment, money_path.cause(payment))

    def _ended(self) -> None:
        self._running -= 1
        self.wake.set()


@contextlib.asynccontextmanager
async def running(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run `work`, which never ends by itself, beside the body."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
