"""Watches: every transfer from a cursor on, in order, once, whoever commits when."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from kobklein import database
from kobklein.wallets.v1 import ledger_pb2, wallets_pb2
from tests import databases, wallets, watching
from tests.watching import FINANCE, Watch
from tests.watching import transfers as watch_transfers
from wallets_service import cursors, watches
from wallets_service.cursors import START, Cursors, Position
from wallets_service.ledger.entries import Posting

ANA, BEN = wallets.metadata("ana", "user"), wallets.metadata("ben", "user")


@pytest.fixture
async def client(wallets_database: databases.Database) -> AsyncIterator[wallets.Client]:
    async with wallets.running(wallets_database, watch_poll_seconds=0.05) as running:
        yield running


def watch_wallet(client: wallets.Client, id_: str, caller: Any = ANA, **asked: Any) -> Watch:
    return watching.transactions(client, id_, caller, **asked)


async def posted(client: wallets.Client, count: int, debit: str = "provider/stripe") -> list[ledger_pb2.Transfer]:
    results = await client.post(*(wallets.transfer(debit, "user/ana", 1 + number) for number in range(count)))
    return [result.transfer for result in results]


async def test_a_watch_begins_with_the_first_transfer_and_goes_on_with_each_new_one(client: wallets.Client) -> None:
    made = await posted(client, 3)
    id_ = (await client.account("user/ana")).id
    by_account, by_ledger = watch_transfers(client, account_id=id_), watch_transfers(client)
    by_wallet = watch_wallet(client, id_)
    for _ in range(3):
        assert [(await by_account.next()).transfer for _ in made] == made
        assert [(await by_ledger.next()).transfer for _ in made] == made
        seen = [(await by_wallet.next()).transaction for _ in made]
        assert [(each.id, each.amount, each.balance_after) for each in seen] == [
            (each.id, each.amount, each.credit_balance_after) for each in made
        ]
        made = await posted(client, 2)


async def test_a_transfer_is_watched_with_all_that_is_recorded_of_it(client: wallets.Client) -> None:
    first, second = wallets.transfer("provider/stripe", "user/ana", 9), wallets.transfer("user/ana", "fees", 2)
    first.linked = True
    first.reference, first.description, first.payment_id = "r-1", "lunch", str(uuid.uuid4())
    first.metadata.update({"table": 4, "large": 1e23})
    second.effective_time.seconds = 1_700_000_000
    results = [result.transfer for result in await client.post(first, second)]
    watch = watch_transfers(client)
    assert [event.transfer for event in await watch.take(2)] == results
    id_ = (await client.account("user/ana")).id
    event = (await watch_wallet(client, id_).take(2))[1]
    listed = await client.wallets.ListWalletTransactions(
        wallets_pb2.ListWalletTransactionsRequest(id=id_), metadata=ANA
    )
    assert event.transaction == listed.transactions[0]


@pytest.mark.parametrize("watched", ["ledger", "account", "wallet"])
async def test_every_cursor_goes_on_with_exactly_the_rest(client: wallets.Client, watched: str) -> None:
    await posted(client, 7)
    await client.post(*(wallets.transfer("user/ana", "user/ben", 1) for _ in range(6)))
    id_ = (await client.account("user/ana")).id

    def opened(**asked: Any) -> Watch:
        if watched == "wallet":
            return watch_wallet(client, id_, **asked)
        return watch_transfers(client, **asked, **({"account_id": id_} if watched == "account" else {}))

    async def taken(count: int, **asked: Any) -> list[Any]:
        watch = opened(**asked)
        events = await watch.take(count)
        watch.leave()
        return events

    events = await taken(13)
    assert len({event.cursor for event in events}) == 13
    for number, event in enumerate(events[:-1]):
        assert await taken(12 - number, cursor=event.cursor) == events[number + 1 :]
    at_the_end = await opened(cursor=events[-1].cursor).begun()
    (new,) = await posted(client, 1)
    assert new.id in str(await at_the_end.next())


@pytest.mark.parametrize("only_new", [True, False])
@pytest.mark.parametrize("watched", ["ledger", "account", "wallet"])
async def test_a_watch_that_breaks_off_before_its_first_event_goes_on_where_it_started(
    client: wallets.Client, watched: str, only_new: bool
) -> None:
    before = [transfer.id for transfer in await posted(client, 2)]
    id_ = (await client.account("user/ana")).id

    def opened(**asked: Any) -> Watch:
        asked["only_new"] = only_new
        if watched == "wallet":
            return watch_wallet(client, id_, **asked)
        return watch_transfers(client, **asked, **({"account_id": id_} if watched == "account" else {}))

    broken = await opened().begun()
    broken.leave()
    expected = [*([] if only_new else before), *(transfer.id for transfer in await posted(client, 2))]
    again = await opened(cursor=broken.start).begun()
    assert again.start == broken.start
    events = await again.take(len(expected))
    assert [(event.transfer if watched != "wallet" else event.transaction).id for event in events] == expected
    assert await again.nothing_within(0.3)


async def test_only_new_leaves_out_what_is_there(client: wallets.Client) -> None:
    await posted(client, 3)
    id_ = (await client.account("user/ana")).id
    begun = [
        await watch_transfers(client, only_new=True).begun(),
        await watch_transfers(client, account_id=id_, only_new=True).begun(),
        await watch_wallet(client, id_, only_new=True).begun(),
    ]
    (new,) = await posted(client, 1)
    for watch in begun:
        event = await watch.next()
        assert new.id in str(event)


async def test_a_wrong_cursor_is_refused(client: wallets.Client) -> None:
    await posted(client, 2)
    await client.fund("ben", 5)
    ana, ben = (await client.account("user/ana")).id, (await client.account("user/ben")).id
    of_ana = (await watch_wallet(client, ana).next()).cursor
    of_ledger = (await watch_transfers(client).next()).cursor
    ours = Cursors("00" * 32)
    ahead = ours.write(uuid.UUID(ben), (2, 0)), ours.write(None, (2**63, 1))
    for watch in (
        *(
            watch_wallet(client, ben, FINANCE, cursor=text)
            for text in (of_ana, of_ledger, ahead[0], "x", "é", "=" * 40)
        ),
        *(watch_wallet(client, ana, cursor=text) for text in (of_ana[:-1] + "Z", of_ana + "A", of_ana[:-2], "A" * 27)),
        *(watch_transfers(client, account_id=ben, cursor=text) for text in (of_ana, of_ledger)),
        *(watch_transfers(client, cursor=text) for text in (of_ana, ahead[1], of_ledger[::-1], "0")),
    ):
        status = await wallets.refused(watch.next())
        assert (status.code, [each.field for each in status.violations]) == (
            grpc.StatusCode.INVALID_ARGUMENT,
            ["cursor"],
        )


async def test_a_cursor_outdoes_only_new(client: wallets.Client) -> None:
    """A browser that reconnects says where it was, and its address still says how it began."""
    made = await posted(client, 2)
    id_ = (await client.account("user/ana")).id
    for watch, again in (
        (watch_wallet(client, id_), lambda cursor: watch_wallet(client, id_, cursor=cursor, only_new=True)),
        (watch_transfers(client), lambda cursor: watch_transfers(client, cursor=cursor, only_new=True)),
    ):
        first = await watch.next()
        assert made[1].id in str(await again(first.cursor).next())


async def test_only_the_owner_and_staff_watch_a_wallet(client: wallets.Client) -> None:
    await posted(client, 1)
    id_, provider = (await client.account("user/ana")).id, (await client.account("provider/stripe")).id
    assert await watch_wallet(client, id_, FINANCE).next() == await watch_wallet(client, id_).next()
    for watch in (
        watch_wallet(client, id_, BEN),
        watch_wallet(client, provider, FINANCE),
        watch_wallet(client, str(uuid.uuid4())),
    ):
        status = await wallets.refused(watch.next())
        assert (status.code, status.reason) == (grpc.StatusCode.NOT_FOUND, "WALLET_NOT_FOUND")


async def test_only_an_account_that_exists_is_watched(client: wallets.Client) -> None:
    status = await wallets.refused(watch_transfers(client, account_id=str(uuid.uuid4())).next())
    assert (status.code, [each.field for each in status.violations]) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        ["account_id"],
    )


async def test_a_watch_sees_what_another_replica_commits(
    wallets_database: databases.Database, client: wallets.Client
) -> None:
    await posted(client, 1)
    id_ = (await client.account("user/ana")).id
    async with wallets.running(wallets_database) as other:
        begun = [
            await watch_transfers(client, only_new=True).begun(),
            await watch_wallet(client, id_, only_new=True).begun(),
        ]
        (new,) = await posted(other, 1)
        for watch in begun:
            assert new.id in str(await watch.next())


async def test_a_watch_that_has_lasted_long_enough_ends(wallets_database: databases.Database) -> None:
    async with wallets.running(wallets_database, longest_watch_seconds=0.2) as client:
        await posted(client, 1)
        watch = watch_transfers(client)
        await watch.next()
        with pytest.raises(StopAsyncIteration):
            await watch.next()


async def test_who_watches_slowly_or_waits_holds_no_connection(wallets_database: databases.Database) -> None:
    async with wallets.running(wallets_database, database_pool_size=1) as client:
        await client.post(
            *(wallets.transfer("provider/stripe", "user/ana", 1, description="x" * 500) for _ in range(3_000))
        )
        id_ = (await client.account("user/ana")).id
        slow = [await watch_transfers(client).begun() for _ in range(5)]
        waiting = [await watch_wallet(client, id_, only_new=True).begun() for _ in range(10)]
        (new,) = await posted(client, 1)
        assert [new.id in str(await watch.next()) for watch in waiting] == [True] * 10
        for watch in slow:
            assert (await watch.take(3_001))[-1].transfer.id == new.id


async def test_watches_of_one_thing_share_their_reads(wallets_database: databases.Database) -> None:
    """Forty watches cost about as many reads as one: a page per change, and a look that finds nothing."""
    engine = database.engine(wallets_database.application_url, pool_size=4)
    ours = watches.Watches(
        database.sessions(engine), Cursors("00" * 32), wallets.settings(wallets_database, watch_poll_seconds=0.05)
    )
    async with wallets.running(wallets_database) as client:
        await posted(client, 1)
        topic = watches.transfers(uuid.UUID((await client.account("user/ana")).id))
        reads: list[Position] = []

        async def counted(session: database.Session, after: Position) -> Any:
            reads.append(after)
            return await topic.read(session, after)

        shared: watches.Topic[Posting] = watches.Topic("counted", topic.account_id, counted)

        async def follow() -> list[str]:
            async with contextlib.aclosing(ours.events(shared, START)) as events:
                seen = [(await anext(events))[1] for _ in range(12)]
            assert seen[0] is None  # It only says where the watch starts.
            return [posting.transfer.id for posting in seen if posting]

        async with ours.running():
            following = [asyncio.create_task(follow()) for _ in range(40)]
            made = [transfer.id for _ in range(10) for transfer in await posted(client, 1)]
            seen = await asyncio.gather(*following)
        assert all(each == seen[0] for each in seen)
        assert seen[0][1:] == made
        assert len(reads) <= 3 * 11
    await engine.dispose()


def test_a_cursor_is_short_text_and_belongs_to_one_key_and_one_history() -> None:
    ours, theirs = Cursors("00" * 32), Cursors("01" * 32)
    account = uuid.uuid4()
    for watched in (account, None):
        for position in (START, (1, 0), (2**63, 2**31 - 1)):
            text = ours.write(watched, position)
            assert ours.read(watched, text) == position
            assert (len(text), text.isascii()) == (27, True)
            for other, owner in ((ours, uuid.uuid4()), (theirs, watched)):
                with pytest.raises(cursors.errors.InvalidArgument):
                    other.read(owner, text)
