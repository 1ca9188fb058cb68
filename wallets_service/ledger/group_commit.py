"""The ledger's one way in: concurrent calls are collected while the batch before them commits."""

import asyncio
import collections
import concurrent.futures
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from typing import Final

import structlog

from kobklein import errors as kobklein_errors
from wallets_service import errors, metrics
from wallets_service.ledger import batches
from wallets_service.ledger.book import Outcome
from wallets_service.ledger.entries import Key, Operation
from wallets_service.ledger.kept import Kept
from wallets_service.settings import Settings

_log = structlog.get_logger()
_GATHERED_SHARE: Final = 0.7
_CROWD_DECAY: Final = 0.9
_QUIET_TURNS: Final = 50
"""Turns of the event loop without a new call, a fraction of a millisecond, after which no more are expected."""
_LONGEST_GATHERING_SECONDS: Final = 0.01
_Post = Callable[[Sequence[Operation]], Awaitable[list[Outcome]]]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Call:
    operations: Sequence[Operation]
    answer: asyncio.Future[list[Outcome]]

    def concerns(self, keys: Collection[Key]) -> bool:
        return any(each.debit_key in keys or each.credit_key in keys for each in self.operations)


class Ledger:
    """Posts operations in batches. What is posted is in the database alone, so any number of replicas may do so."""

    def __init__(self, settings: Settings, *, tell: Callable[[Sequence[Outcome]], None] = lambda _: None) -> None:
        """Write as `settings` say, and `tell` what became of each batch once it is durable."""
        self._settings = settings
        self._tell = tell
        self._calls: collections.deque[_Call] = collections.deque()
        self._waiting = 0
        self._previewed = 0
        self._kept = Kept()
        self._arrived = asyncio.Event()
        self._turn = asyncio.Event()
        self._closing = False
        self._previewer = self._writer()
        self._preview_thread = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="preview")

    async def post(self, operations: Sequence[Operation]) -> list[Outcome]:
        """Post the operations of one call in one transaction, and return what became of each, once it is durable.

        A caller that stops waiting before its batch has begun has no effect; afterwards the effect stands, and the same
        ids find it. Raises LedgerBusy when too many wait, and Unavailable when the outcome is open.
        """
        if self._waiting + len(operations) > self._settings.ledger_waiting_transfers:
            raise errors.LedgerBusy
        call = _Call(operations, asyncio.get_running_loop().create_future())
        self._calls.append(call)
        self._waiting += len(operations)
        self._arrived.set()
        if self._waiting >= self._settings.ledger_batch_transfers:
            self._turn.set()
        return await call.answer

    async def preview(self, operations: Sequence[Operation]) -> list[Outcome]:
        """Return what would become of the operations if they were posted now.

        A caller that stops waiting does not stop a preview that runs: the one thread keeps the next one off its
        connection until then. Raises LedgerBusy when too many wait.
        """
        if self._previewed + len(operations) > self._settings.ledger_waiting_transfers:
            raise errors.LedgerBusy
        self._previewed += len(operations)
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._preview_thread, self._previewer.preview, operations)
        except batches.BlockedError as error:
            raise batches.unavailable() from error
        finally:
            self._previewed -= len(operations)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Write batches until left; then post what still waits. Without its writers the service hangs: it ends."""
        metrics.WAITING_TRANSFERS.set_function(lambda: self._waiting)
        inside = asyncio.current_task()
        assert inside is not None  # noqa: S101  # this is a coroutine
        tasks = [asyncio.create_task(self._write()) for _ in range(self._settings.ledger_writers)]
        for task in tasks:
            task.add_done_callback(lambda _: None if self._closing else inside.cancel())
        try:
            yield
        finally:
            self._closing = True
            self._arrived.set()
            await asyncio.gather(*tasks)
            await asyncio.to_thread(self._preview_thread.shutdown, cancel_futures=True)
            self._previewer.close()

    def _writer(self) -> batches.Writer:
        settings = self._settings
        return batches.Writer(settings.database_url.get_secret_value(), settings.isolation, settings.zone)

    async def _write(self) -> None:
        """Write one batch after the other, in a thread of its own.

        A full batch is handed over while the one before it is still being written, so that the thread goes on at once.
        """
        with (
            contextlib.closing(self._writer()) as writer,
            concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="ledger") as thread,
        ):
            loop = asyncio.get_running_loop()

            def post(operations: Sequence[Operation]) -> Awaitable[list[Outcome]]:
                return loop.run_in_executor(thread, writer.post, operations)

            crowd, calls = 0.0, 0
            writing: asyncio.Task[None] | None = None
            while True:
                await self._arrived.wait()
                if writing is None or not await self._full_before(writing):
                    writing = None
                    crowd = max(crowd * _CROWD_DECAY, calls + len(self._calls))
                    await self._gathered(int(crowd * _GATHERED_SHARE))
                batch = self._collect()
                calls = len(batch)
                if batch:
                    earlier, writing = writing, asyncio.create_task(self._settle(post, batch))
                    writing.add_done_callback(lambda _: self._turn.set())
                    if earlier is not None:
                        await earlier
                elif writing is None:
                    if self._closing:
                        return
                    self._arrived.clear()

    async def _full_before(self, writing: asyncio.Task[None]) -> bool:
        """Wait until a batch is written or the next one is full; return whether it is full with the other unwritten."""
        while not writing.done() and self._waiting < self._settings.ledger_batch_transfers:
            self._turn.clear()
            await self._turn.wait()
        return not writing.done()

    async def _gathered(self, calls: int) -> None:
        """Wait until so many calls have come, as long as they keep coming: few large batches cost less than many small.

        So many are a share of those that were lately under way at once, so that the event loop is busy with the others
        while these are written, and a caller that is alone never waits.
        """
        loop = asyncio.get_running_loop()
        deadline, quiet = loop.time() + _LONGEST_GATHERING_SECONDS, 0
        while len(self._calls) < calls and self._waiting < self._settings.ledger_batch_transfers:
            before = len(self._calls)
            await asyncio.sleep(0)
            quiet = quiet + 1 if len(self._calls) == before else 0
            if quiet == _QUIET_TURNS or loop.time() > deadline:
                return

    def _collect(self) -> list[_Call]:
        """Take the next calls for one batch, whole calls at a time, without those that nobody waits for any more."""
        batch: list[_Call] = []
        size = 0
        while self._calls and (
            not batch or size + len(self._calls[0].operations) <= self._settings.ledger_batch_transfers
        ):
            call = self._calls.popleft()
            self._waiting -= len(call.operations)
            if not call.answer.done():
                batch.append(call)
                size += len(call.operations)
        return batch

    async def _settle(self, post: _Post, batch: list[_Call]) -> None:
        """Post a batch and answer its calls; after an error that one of them may have caused, each by itself.

        Those on accounts that somebody keeps locked are turned away, and the others are posted without them.
        """
        batch = _without(batch, self._kept.keys)
        if not batch:
            return
        try:
            outcomes = await post([each for call in batch for each in call.operations])
        except batches.KeptError as error:
            _log.error("accounts are kept locked by others", accounts=sorted(error.keys))
            metrics.ACCOUNTS_KEPT.inc(len(error.keys))
            self._kept.add(error.keys)
            await self._settle(post, _without(batch, error.keys))
        except kobklein_errors.Error as error:
            _fail(batch, error)
        except Exception as error:  # Whatever it is, callers must not wait for ever.
            if len(batch) == 1:
                _fail(batch, batches.unavailable() if isinstance(error, batches.BlockedError) else error)
                return
            _log.exception("batch failed", calls=len(batch))
            for call in batch:
                await self._settle(post, [call])
        else:
            self._answer(batch, outcomes)

    def _answer(self, batch: list[_Call], outcomes: list[Outcome]) -> None:
        remaining = iter(outcomes)
        for call in batch:
            answer = [next(remaining) for _ in call.operations]
            if not call.answer.done():
                call.answer.set_result(answer)
        try:
            self._tell(outcomes)
        except Exception:  # What is posted is posted, and the next batches must go on.
            _log.exception("posted, but not told")


def _without(batch: list[_Call], kept: Collection[Key]) -> list[_Call]:
    """Turn the calls away that are about kept accounts, and return the others that somebody still waits for."""
    if kept:
        _fail([call for call in batch if call.concerns(kept)], batches.unavailable())
    return [call for call in batch if not call.answer.done()]


def _fail(batch: list[_Call], error: Exception) -> None:
    for call in batch:
        if not call.answer.done():
            call.answer.set_exception(error)
