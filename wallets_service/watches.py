"""Watches: transfers from a cursor on, then each new one as it is committed, none ever skipped.

A watch first tells the cursor that it starts at. One that breaks off before anything happened could otherwise not be
resumed where it was, and what is committed in between would be lost to those who asked for new transfers only.

What a watch yields is read from the database page by page, in an order in which nothing can come in between later.
So a hint that there is more only needs to be quick, never complete: batches of this process give one, and one small
query per `poll_seconds` asks for everything watched here, whatever the number of watches, since other replicas write
too. PostgreSQL's own notifications are not used: each one takes a lock that all committing transactions share.

Watches of one thing share their reads. A page that one of them reads is kept for a while for the others, which need it
next as a rule; of those that want the same page at once, one reads. Few pages are read at a time, so watches that catch
up never take the connections that other calls need; and a consumer that is slow or waits holds none.
"""

import asyncio
import collections
import contextlib
import dataclasses
import functools
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Any, Final, Generic, TypeVar

import structlog

from kobklein import database, errors, server
from wallets_service.cursors import START, Cursors, Position
from wallets_service.ledger.book import Outcome
from wallets_service.ledger.entries import Id, Posting
from wallets_service.models import Transaction
from wallets_service.repository import histories
from wallets_service.repository import watches as repository
from wallets_service.settings import Settings
from wallets_service.turns import Turns

_log = structlog.get_logger()
T = TypeVar("T")
PAGE_SIZE: Final = 100
_MOST_PAGES: Final = 64
"""How many pages are kept for other watches."""


@dataclasses.dataclass(frozen=True, slots=True)
class Topic(Generic[T]):
    """What is watched, and how a page of it is read: always in the same order, and never past something yet to come."""

    name: str
    account_id: uuid.UUID | None
    """The account; None is the whole ledger."""
    read: Callable[[database.Session, Position], Awaitable[Sequence[tuple[Position, T]]]] = dataclasses.field(
        compare=False
    )


def transfers(account_id: uuid.UUID | None) -> Topic[Posting]:
    """Return the transfers of an account, or of the whole ledger."""

    async def read(session: database.Session, after: Position) -> Sequence[tuple[Position, Posting]]:
        if account_id is None:
            return await repository.list_of_ledger(session, after=after, limit=PAGE_SIZE)
        return await repository.list_of_account(session, account_id, after=after[0], limit=PAGE_SIZE)

    return Topic("transfers", account_id, read)


def transactions(wallet_id: uuid.UUID) -> Topic[Transaction]:
    """Return the transactions of a wallet."""

    async def read(session: database.Session, after: Position) -> Sequence[tuple[Position, Transaction]]:
        found = await histories.list_versions(
            session, wallet_id, after=after[0], until=after[0] + PAGE_SIZE, limit=PAGE_SIZE
        )
        return [((transaction.version, 0), transaction) for transaction in found]

    return Topic("transactions", wallet_id, read)


class _Bell:
    """Tells the watches of one account, or of the whole ledger, that there is more."""

    def __init__(self) -> None:
        self.watches = 0
        self.head: Position = (-1, 0)
        """How far it was rung for."""
        self.next_ring = asyncio.Event()

    def ring(self) -> None:
        """Wake everybody who waits for the next ring."""
        self.next_ring.set()
        self.next_ring = asyncio.Event()

    def ring_for(self, head: Position) -> None:
        """Ring, unless it was rung for this before."""
        if head > self.head:
            self.head = head
            self.ring()


class Watches:
    """Everything that is watched through this process."""

    def __init__(self, sessions: database.Sessions, cursors: Cursors, settings: Settings) -> None:
        self._sessions = sessions
        self._cursors = cursors
        self._poll_seconds = settings.watch_poll_seconds
        self._longest_seconds = settings.longest_watch_seconds
        self._turns = Turns(sessions, pool_size=settings.database_pool_size)
        self._bells: dict[Id | None, _Bell] = {}
        self._reading: dict[Any, asyncio.Task[Any]] = {}
        self._pages: collections.OrderedDict[Any, Any] = collections.OrderedDict()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Look for what other replicas commit, until left."""
        async with server.repeating(self._poll, seconds=self._poll_seconds):
            yield
        await asyncio.gather(*self._reading.values(), return_exceptions=True)

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Say what a batch of this process has committed."""
        if not self._bells:
            return
        heads: dict[Id, int] = {}
        for outcome in outcomes:
            if isinstance(outcome, Posting):
                for account_id, version in (
                    (outcome.debit_account_id, outcome.debit_version),
                    (outcome.credit_account_id, outcome.credit_version),
                ):
                    heads[account_id] = max(version, heads.get(account_id, 0))
        for account_id in heads.keys() & self._bells.keys():
            self._bells[account_id].ring_for((heads[account_id], 0))
        if heads and None in self._bells:
            self._bells[None].ring()

    async def start(self, topic: Topic[Any], cursor: str, *, only_new: bool) -> Position:
        """Return where a watch starts: after its cursor, else after all that there is now, or before everything.

        Raises InvalidArgument when there is no such account, for a cursor that is none of this topic, and for one that
        is ahead of all that there is: the database has then been put back to an earlier time, and what comes next would
        be skipped.
        """
        position = self._cursors.read(topic.account_id, cursor) if cursor else START
        head = await database.transaction(self._sessions, functools.partial(_head, account_id=topic.account_id))
        if head is None:
            raise errors.InvalidArgument.of("account_id", "is not an account")
        if position > head:
            raise errors.InvalidArgument.of("cursor", "is ahead of all that there is")
        return head if only_new and not cursor else position

    async def events(self, topic: Topic[T], after: Position) -> AsyncGenerator[tuple[str, T | None]]:
        """Yield the cursor of a position with None, then everything after it, each with its cursor.

        It waits for more until it has lasted enough.
        """
        yield self._cursors.write(topic.account_id, after), None
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._longest_seconds
        with self._listening(topic.account_id) as bell:
            while (remaining := deadline - clock()) > 0:
                ring = bell.next_ring  # Heard from before the page is read, so nothing is missed in between.
                page = await self._page(topic, after, ring)
                for position, event in page:
                    yield self._cursors.write(topic.account_id, position), event
                    after = position
                if not page:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(ring.wait(), remaining)

    async def _page(self, topic: Topic[T], after: Position, ring: asyncio.Event) -> Sequence[tuple[Position, T]]:
        """Return the next page, which may be empty.

        What is after a position begins the same for ever, so a page that was read is as good later. One that is being
        read is only good for those who have heard no ring since it was begun.
        """
        key = topic, after
        if key in self._pages:
            self._pages.move_to_end(key)
            kept: Sequence[tuple[Position, T]] = self._pages[key]
            return kept
        current = key, ring
        if current not in self._reading:
            task = asyncio.create_task(self._read(topic, after))
            self._reading[current] = task
            task.add_done_callback(functools.partial(self._read_ended, current))
        # Whoever stops waiting must not stop the read of the others.
        page: Sequence[tuple[Position, T]] = await asyncio.shield(self._reading[current])
        return page

    async def _read(self, topic: Topic[T], after: Position) -> Sequence[tuple[Position, T]]:
        page = await self._turns.transaction(lambda session: topic.read(session, after))
        if page:
            self._pages[topic, after] = page
            while len(self._pages) > _MOST_PAGES:
                self._pages.popitem(last=False)
        return page

    def _read_ended(self, key: Any, task: "asyncio.Task[Any]") -> None:
        del self._reading[key]
        if not task.cancelled():
            task.exception()  # Whoever still waits is told; nobody else needs to be.

    @contextlib.contextmanager
    def _listening(self, account_id: uuid.UUID | None) -> Iterator[_Bell]:
        key = None if account_id is None else str(account_id)
        bell = self._bells.setdefault(key, _Bell())
        bell.watches += 1
        try:
            yield bell
        finally:
            bell.watches -= 1
            if not bell.watches:
                del self._bells[key]

    async def _poll(self) -> None:
        """Ring for whatever has moved on since the last time."""
        if not self._bells:
            return
        try:
            heads = await database.transaction(self._sessions, self._heads)
        except Exception as error:  # Whatever it is, the next round asks again.
            _log.warning("not watching", error=repr(error))
            return
        for account_id, head in heads.items():
            if account_id in self._bells:
                self._bells[account_id].ring_for(head)

    async def _heads(self, session: database.Session) -> dict[Id | None, Position]:
        """Return how far everything goes that is watched here."""
        ids = [uuid.UUID(account_id) for account_id in self._bells if account_id is not None]
        heads: dict[Id | None, Position] = {}
        if ids:
            heads = {str(id_): head for id_, head in (await repository.account_heads(session, ids)).items()}
        if None in self._bells:
            heads[None] = await repository.ledger_head(session)
        return heads


async def _head(session: database.Session, account_id: uuid.UUID | None) -> Position | None:
    """Return how far an account's history goes, or the whole ledger's; None when there is no such account."""
    if account_id is None:
        return await repository.ledger_head(session)
    return (await repository.account_heads(session, [account_id])).get(account_id)
