"""Watches, as tests read them."""

import asyncio
from typing import Any, Final

from kobklein.wallets.v1 import ledger_pb2, wallets_pb2
from tests import wallets

PATIENCE: Final = 60
FINANCE: Final = wallets.metadata("finance-1", "finance")


class Watch:
    """A watch, read one event after the other."""

    start = ""
    """The cursor that it said to start at; empty as long as nothing was read."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self._events = call.__aiter__()

    async def begun(self) -> "Watch":
        if not self.start:
            first = await asyncio.wait_for(anext(self._events), PATIENCE)
            assert [field.name for field, _ in first.ListFields()] == ["cursor"]
            self.start = first.cursor
        return self

    async def next(self) -> Any:
        await self.begun()
        return await asyncio.wait_for(anext(self._events), PATIENCE)

    async def take(self, count: int) -> list[Any]:
        return [await self.next() for _ in range(count)]

    async def nothing_within(self, seconds: float) -> bool:
        """Return whether no event comes; the watch is of no use afterwards."""
        await self.begun()
        try:
            await asyncio.wait_for(anext(self._events), seconds)
        except TimeoutError:
            return True
        return False

    def leave(self) -> None:
        self._call.cancel()


def transfers(client: wallets.Client, **asked: Any) -> Watch:
    return Watch(client.ledger.WatchTransfers(ledger_pb2.WatchTransfersRequest(**asked), metadata=FINANCE))


def transactions(client: wallets.Client, id_: str, caller: Any, **asked: Any) -> Watch:
    request = wallets_pb2.WatchWalletTransactionsRequest(id=id_, **asked)
    return Watch(client.wallets.WatchWalletTransactions(request, metadata=caller))
