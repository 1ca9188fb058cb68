"""Group commit by itself: what is collected, what is turned away, and what a caller that leaves does to others."""

import asyncio
import contextlib
import datetime
import uuid
from collections.abc import Iterator
from typing import Final

import psycopg
import pytest

from kobklein import errors as kobklein_errors
from kobklein import ids
from tests import databases, ledger_oracle, metrics, waiting, wallets
from wallets_service import errors
from wallets_service.ledger import batches, entries, kept
from wallets_service.ledger.group_commit import Ledger
from wallets_service.settings import Isolation

HOLD: Final = uuid.UUID(int=1)
INSERT_HOLD: Final = """
    WITH paying AS (UPDATE accounts SET held_amount = 10 WHERE address = %(address)s RETURNING id)
    INSERT INTO holds (id, debit_account_id, credit_account_id, amount, currency, type, expires_time, created_time,
                       updated_time)
    SELECT %(id)s, paying.id, shop.id, 10, 'HTG', 'TRANSFER', now() + interval '1 hour', now(), now()
    FROM paying, accounts shop
    WHERE shop.address = 'user/shop'
"""
"""Makes a hold as another replica does, in a transaction that is still open."""

REPEATED: Final = "wallets_ledger_batches_repeated_total"
KEPT: Final = "wallets_ledger_accounts_kept_total"


@pytest.fixture
def blocker(wallets_database: databases.Database) -> Iterator[psycopg.Connection]:
    """A transaction that holds the lock on `user/ana`, so that the batch that needs it waits."""
    with psycopg.connect(wallets_database.owner_url) as connection:
        connection.execute(
            "INSERT INTO accounts (id, address, currency, overdraft_limit) VALUES (%s, 'user/ana', 'HTG', 0)",
            (entries.account_id("user/ana", "HTG"),),
        )
        connection.commit()
        connection.execute("SELECT FROM accounts FOR UPDATE")
        yield connection


def deposits(count: int, *, user: str = "ana") -> list[entries.Transfer]:
    sent = (wallets.transfer("provider/stripe", f"user/{user}", 1) for _ in range(count))
    return [
        entries.Transfer(each.id, each.debit_account, each.credit_account, each.amount, each.currency, "DEPOSIT")
        for each in sent
    ]


async def settled() -> None:
    """Let the ledger take what waits."""
    for _ in range(10):
        await asyncio.sleep(0)


def counted(database: databases.Database) -> tuple[int, int]:
    """Return how many transfers there are, and in how many transactions they were recorded."""
    with psycopg.connect(database.owner_url) as connection:
        row = connection.execute("SELECT count(*), count(DISTINCT xmin::text) FROM transfers").fetchone()
        assert row is not None
        return row[0], row[1]


async def test_calls_that_come_while_a_batch_commits_share_the_next_one(
    wallets_database: databases.Database, blocker: psycopg.Connection
) -> None:
    ledger = Ledger(wallets.settings(wallets_database))
    measured = ("batch_transfers_count", "batch_transfers_sum", "batch_seconds_count")
    before = [metrics.value(f"wallets_ledger_{name}") for name in measured]
    async with ledger.running(), asyncio.TaskGroup() as calls:
        calls.create_task(ledger.post(deposits(1)))
        await wallets.until_waiting(wallets_database, "Lock")
        for _ in range(20):
            calls.create_task(ledger.post(deposits(3)))
        await asyncio.sleep(0)
        assert metrics.value("wallets_ledger_waiting_transfers") == 60
        blocker.rollback()
    assert counted(wallets_database) == (61, 2)
    assert metrics.value("wallets_ledger_waiting_transfers") == 0
    after = [metrics.value(f"wallets_ledger_{name}") for name in measured]
    assert [now - then for now, then in zip(after, before, strict=True)] == [2, 61, 2]


@pytest.fixture
def writer(wallets_database: databases.Database) -> Iterator[batches.Writer]:
    with contextlib.closing(batches.Writer(wallets_database.application_url, Isolation.READ_COMMITTED)) as made:
        yield made


async def test_a_batch_that_had_to_wait_has_a_time_after_all_it_waited_for(
    wallets_database: databases.Database, blocker: psycopg.Connection, writer: batches.Writer
) -> None:
    """Its transaction began long before; an instant in between must not get it afterwards."""
    posting = asyncio.create_task(asyncio.to_thread(writer.post, deposits(1)))
    await wallets.until_waiting(wallets_database, "Lock")
    (released,) = blocker.execute("SELECT clock_timestamp()").fetchone() or (None,)
    blocker.rollback()
    (posted,) = await posting
    assert isinstance(posted, entries.Posting)
    assert posted.created_time > released


def test_the_server_ends_a_batch_that_lasts(wallets_database: databases.Database, writer: batches.Writer) -> None:
    """After how long, each of its transactions knows; from twice that age on an instant waits for nobody."""
    with psycopg.connect(wallets_database.superuser_url) as superuser:
        superuser.execute(
            "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN NEW.reference := current_setting('transaction_timeout'); RETURN NEW; END $$"
        )
        superuser.execute("CREATE TRIGGER note BEFORE INSERT ON transfers FOR EACH ROW EXECUTE FUNCTION note()")
    writer.post(deposits(1))
    with psycopg.connect(wallets_database.superuser_url) as superuser:
        assert superuser.execute("SELECT reference FROM transfers").fetchall() == [(f"{batches.LONGEST_SECONDS}s",)]


async def test_watchers_that_cannot_be_told_keep_nobody_waiting(wallets_database: databases.Database) -> None:
    def fail(_outcomes: object) -> None:
        raise RuntimeError("nobody listens")

    ledger = Ledger(wallets.settings(wallets_database), tell=fail)
    async with ledger.running(), asyncio.timeout(30):
        for _ in range(2):
            assert [type(each) for each in await ledger.post(deposits(2))] == [entries.Posting] * 2


async def test_a_batch_takes_whole_calls_up_to_its_limit(
    wallets_database: databases.Database, blocker: psycopg.Connection
) -> None:
    ledger = Ledger(wallets.settings(wallets_database, ledger_batch_transfers=5))
    async with ledger.running(), asyncio.TaskGroup() as calls:
        calls.create_task(ledger.post(deposits(7)))
        await wallets.until_waiting(wallets_database, "Lock")
        for count in (3, 2, 1, 9):
            calls.create_task(ledger.post(deposits(count)))
        await asyncio.sleep(0)
        blocker.rollback()
    assert counted(wallets_database) == (22, 4)


async def test_a_caller_that_leaves_before_its_batch_has_no_effect_and_others_do_not_notice(
    wallets_database: databases.Database, blocker: psycopg.Connection
) -> None:
    ledger = Ledger(wallets.settings(wallets_database))
    async with ledger.running():
        first = asyncio.create_task(ledger.post(deposits(1)))
        await wallets.until_waiting(wallets_database, "Lock")
        leaving, staying = (asyncio.create_task(ledger.post(deposits(count))) for count in (1, 1))
        await asyncio.sleep(0)
        leaving.cancel()
        first.cancel()
        await asyncio.sleep(0)
        blocker.rollback()
        (posting,) = await staying
    assert isinstance(posting, entries.Posting)
    assert posting.credit_balance_after == 2
    assert counted(wallets_database) == (2, 2)


async def test_too_many_waiting_transfers_are_turned_away_before_anything_is_done(
    wallets_database: databases.Database, blocker: psycopg.Connection
) -> None:
    ledger = Ledger(wallets.settings(wallets_database, ledger_waiting_transfers=10_000))
    async with ledger.running():
        first = asyncio.create_task(ledger.post(deposits(1)))
        await wallets.until_waiting(wallets_database, "Lock")
        handed_over = asyncio.create_task(ledger.post(deposits(10_000)))
        await settled()
        waiting = asyncio.create_task(ledger.post(deposits(10_000)))
        await settled()
        with pytest.raises(errors.LedgerBusy) as caught:
            await ledger.post(deposits(1))
        assert caught.value.retry_after_seconds == 1.0
        blocker.rollback()
        await asyncio.gather(first, handed_over, waiting)
    assert counted(wallets_database)[0] == 20_001


async def test_an_account_that_somebody_keeps_locked_keeps_nobody_else_waiting(
    wallets_database: databases.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "SECONDS", 3_600)
    ledger = Ledger(wallets.settings(wallets_database))
    repeated, turned = metrics.value(REPEATED), metrics.value(KEPT)
    async with ledger.running():
        await ledger.post([*deposits(1), *deposits(1, user="ben"), *deposits(1, user="cem")])
        with psycopg.connect(wallets_database.superuser_url) as keeper:
            keeper.execute("SELECT FROM accounts WHERE address IN ('user/ben', 'user/cem') FOR UPDATE")
            for _ in range(2):
                calls = [deposits(1, user=user) for user in ("ana", "ben", "dan", "cem", "ana")]
                answers = await asyncio.gather(*map(ledger.post, calls), return_exceptions=True)
                turned_away = [isinstance(answer, kobklein_errors.Unavailable) for answer in answers]
                assert turned_away == [False, True, False, True, False]
    assert (metrics.value(REPEATED) - repeated, metrics.value(KEPT) - turned) == (1, 2)
    assert counted(wallets_database) == (9, 3)


async def test_an_account_is_tried_again_after_it_was_kept_locked(
    wallets_database: databases.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "SECONDS", 0)
    ledger = Ledger(wallets.settings(wallets_database))
    async with ledger.running():
        await ledger.post(deposits(1))
        with psycopg.connect(wallets_database.superuser_url) as keeper:
            keeper.execute("SELECT FROM accounts WHERE address = 'user/ana' FOR UPDATE")
            for _ in range(2):
                with pytest.raises(kobklein_errors.Unavailable):
                    await ledger.post(deposits(1))
        (posting,) = await ledger.post(deposits(1))
    assert isinstance(posting, entries.Posting)
    assert posting.credit_balance_after == 2


async def test_an_account_whose_lock_went_from_hand_to_hand_is_not_left_alone(
    wallets_database: databases.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "SECONDS", 3_600)
    ledger = Ledger(wallets.settings(wallets_database))
    lock = "SELECT FROM accounts WHERE address = 'user/ana' FOR UPDATE"
    async with ledger.running():
        await ledger.post(deposits(1))
        with (
            psycopg.connect(wallets_database.superuser_url) as first,
            psycopg.connect(wallets_database.superuser_url) as second,
        ):
            first.execute(lock)
            next_one = asyncio.create_task(asyncio.to_thread(second.execute, lock))
            await wallets.until_waiting(wallets_database, "Lock")
            repeated = metrics.value(REPEATED)
            turned_away = asyncio.create_task(ledger.post(deposits(1)))
            async with waiting.patience("the first lock was waited for in vain"):
                while metrics.value(REPEATED) == repeated:  # noqa: ASYNC110  # A metric sets no event.
                    await asyncio.sleep(0.01)
            first.rollback()
            await next_one
            with pytest.raises(kobklein_errors.Unavailable):
                await turned_away
        (posting,) = await ledger.post(deposits(1))
    assert isinstance(posting, entries.Posting)
    assert posting.credit_balance_after == 2


async def test_a_call_that_the_database_refuses_for_no_known_reason_fails_alone(
    wallets_database: databases.Database, blocker: psycopg.Connection
) -> None:
    ledger = Ledger(wallets.settings(wallets_database))
    poison = entries.Transfer("no uuid", "provider/stripe", "user/ana", 1, "HTG", "DEPOSIT")
    async with ledger.running():
        first = asyncio.create_task(ledger.post(deposits(1)))
        await wallets.until_waiting(wallets_database, "Lock")
        others = [asyncio.create_task(ledger.post(each)) for each in (deposits(1), [poison], deposits(1))]
        await asyncio.sleep(0)
        blocker.rollback()
        answers = await asyncio.gather(first, *others, return_exceptions=True)
    assert [isinstance(answer, psycopg.DataError) for answer in answers] == [False, False, True, False]
    assert counted(wallets_database)[0] == 3


async def test_an_account_that_somebody_changed_by_hand_is_read_again(wallets_database: databases.Database) -> None:
    ledger = Ledger(wallets.settings(wallets_database))
    spent = [entries.Transfer(ids.text(), "user/ana", "user/ben", 1, "HTG", "TRANSFER") for _ in range(3)]
    async with ledger.running():
        await ledger.post([*deposits(2), spent[0]])
        with psycopg.connect(wallets_database.superuser_url, autocommit=True) as hand:
            hand.execute("UPDATE accounts SET status = 'FROZEN' WHERE address = 'user/ben'")
            (refused,) = await ledger.post([spent[1]])
            hand.execute("UPDATE accounts SET status = 'ACTIVE' WHERE address = 'user/ben'")
            (posted,) = await ledger.post([spent[2]])
    assert isinstance(refused, errors.AccountFrozen)
    assert isinstance(posted, entries.Posting)


async def test_what_waits_is_posted_before_the_ledger_stops(wallets_database: databases.Database) -> None:
    ledger = Ledger(wallets.settings(wallets_database))
    async with ledger.running():
        calls = [asyncio.create_task(ledger.post(deposits(100))) for _ in range(30)]
        await asyncio.sleep(0)
    assert counted(wallets_database)[0] == 3_000
    assert all(call.done() for call in calls)


async def test_of_two_holds_under_one_id_on_other_accounts_the_first_one_stands(
    wallets_database: databases.Database,
) -> None:
    """Their accounts' locks do not keep them apart: only the id does."""
    first, second = (
        entries.NewHold(str(HOLD), f"user/{user}", "user/shop", 10, "HTG", "TRANSFER", datetime.timedelta(hours=1))
        for user in ("ana", "ben")
    )
    ledger = Ledger(wallets.settings(wallets_database))
    async with (
        ledger.running(),
        await psycopg.AsyncConnection.connect(wallets_database.owner_url) as other,
        asyncio.TaskGroup() as calls,
    ):
        await ledger.post([*deposits(10), *deposits(10, user="ben"), *deposits(1, user="shop")])
        await other.execute(INSERT_HOLD, {"id": HOLD, "address": first.debit_account})
        late = calls.create_task(ledger.post([second]))
        await wallets.until_waiting(wallets_database, "Lock")
        await other.commit()
        (refusal,) = await late
    assert isinstance(refusal, errors.HoldIdReused)
    ledger_oracle.check(wallets_database.superuser_url)


async def test_a_preview_that_nobody_waits_for_any_more_does_not_disturb_the_next_one(
    wallets_database: databases.Database,
) -> None:
    ledger = Ledger(wallets.settings(wallets_database))
    async with ledger.running(), await psycopg.AsyncConnection.connect(wallets_database.superuser_url) as blocking:
        for _ in range(20):
            await blocking.execute("LOCK TABLE accounts")
            leaving = asyncio.create_task(ledger.preview(deposits(200)))
            await wallets.until_waiting(wallets_database, "Lock")
            leaving.cancel()
            staying = [asyncio.create_task(ledger.preview(deposits(count))) for count in (3, 2)]
            await asyncio.sleep(0)
            await blocking.rollback()
            answers = await asyncio.gather(*staying)
            assert [[each.credit_balance_after for each in answer] for answer in answers] == [[1, 2, 3], [1, 2]]


async def test_an_account_that_changed_in_the_future_takes_no_other_along(wallets_database: databases.Database) -> None:
    """A clock that went ahead and back leaves such rows: the histories of their accounts must not go back in time."""
    ledger = Ledger(wallets.settings(wallets_database))
    ahead = "UPDATE accounts SET updated_time = clock_timestamp() + %s::interval WHERE address = 'user/ana'"
    async with ledger.running():
        await ledger.post([*deposits(1), *deposits(1, user="ben")])
        with psycopg.connect(wallets_database.superuser_url, autocommit=True) as hand:
            hand.execute(ahead, ["5 seconds"])
            (late,) = await ledger.post(deposits(1))
            hand.execute("UPDATE accounts SET updated_time = clock_timestamp() WHERE address = 'provider/stripe'")
            hand.execute(ahead, ["40 days"])
            paying = entries.Transfer(ids.text(), "user/ben", "user/eva", 1, "HTG", "TRANSFER")
            refused = asyncio.create_task(ledger.post(deposits(1)))
            (posted,) = await ledger.post([paying])
            with pytest.raises(kobklein_errors.Unavailable):
                await refused
            ((now,),) = hand.execute("SELECT clock_timestamp()").fetchall()
    assert isinstance(late, entries.Posting)
    assert isinstance(posted, entries.Posting)
    assert posted.created_time < now < late.created_time
