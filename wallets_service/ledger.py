"""The ledger's one way in for transfers: concurrent calls are collected while the batch before them commits."""

import asyncio
import collections
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Sequence

import structlog

from kobklein import errors as kobklein_errors
from wallets_service import batches, decisions, errors
from wallets_service.settings import Settings

_log = structlog.get_logger()


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Call:
    transfers: Sequence[decisions.Transfer]
    answer: asyncio.Future[list[decisions.Outcome]]


class Ledger:
    """Posts transfers in batches. What is posted is in the database alone, so any number of replicas may do so."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._calls: collections.deque[_Call] = collections.deque()
        self._waiting_transfers = 0
        self._arrived = asyncio.Event()
        self._closing = False

    async def post(self, transfers: Sequence[decisions.Transfer]) -> list[decisions.Outcome]:
        """Post the transfers of one call in one transaction, and return what became of each, once it is durable.

        A caller that stops waiting before its batch has begun has no effect; afterwards the effect stands, and the same
        ids find it. Raises LedgerBusy when too many wait, and Unavailable when the outcome is open.
        """
        if self._waiting_transfers + len(transfers) > self._settings.ledger_waiting_transfers:
            raise errors.LedgerBusy
        call = _Call(transfers, asyncio.get_running_loop().create_future())
        self._calls.append(call)
        self._waiting_transfers += len(transfers)
        self._arrived.set()
        return await call.answer

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Write batches until left; then post what still waits."""
        tasks = [asyncio.create_task(self._write()) for _ in range(self._settings.ledger_writers)]
        try:
            yield
        finally:
            self._closing = True
            self._arrived.set()
            await asyncio.gather(*tasks)

    async def _write(self) -> None:
        writer = batches.Writer(self._settings.database_url.get_secret_value(), self._settings.isolation)
        async with contextlib.aclosing(writer):
            while True:
                await self._arrived.wait()
                batch = self._collect()
                if batch:
                    await _settle(writer, batch)
                elif self._closing:
                    return
                else:
                    self._arrived.clear()

    def _collect(self) -> list[_Call]:
        """Take the next calls for one batch, whole calls at a time, without those that nobody waits for any more."""
        batch: list[_Call] = []
        size = 0
        while self._calls and (
            not batch or size + len(self._calls[0].transfers) <= self._settings.ledger_batch_transfers
        ):
            call = self._calls.popleft()
            self._waiting_transfers -= len(call.transfers)
            if not call.answer.done():
                batch.append(call)
                size += len(call.transfers)
        return batch


async def _settle(writer: batches.Writer, batch: list[_Call]) -> None:
    """Post a batch and answer its calls; after an unforeseen error, each call by itself, so that one fails alone."""
    try:
        outcomes = iter(await writer.post([transfer for call in batch for transfer in call.transfers]))
    except kobklein_errors.Error as error:
        _fail(batch, error)
    except Exception as error:  # Whatever it is, callers must not wait for ever.
        if len(batch) == 1:
            _fail(batch, error)
            return
        _log.exception("batch failed", calls=len(batch))
        for call in batch:
            await _settle(writer, [call])
    else:
        for call in batch:
            answer = [next(outcomes) for _ in call.transfers]
            if not call.answer.done():
                call.answer.set_result(answer)


def _fail(batch: list[_Call], error: Exception) -> None:
    for call in batch:
        if not call.answer.done():
            call.answer.set_exception(error)
