"""Two replicas on one database, and everything that can go wrong between them and it."""

import asyncio
import collections
import itertools
import random
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TypeVar

import grpc
import psycopg
import pytest

from deploy.local import postgres as embedded
from kobklein.wallets.v1 import ledger_pb2
from tests import databases, ledger_oracle, seal_oracle, serial_order, waiting, wallets
from tests.sizes import size

pytestmark = pytest.mark.chaos
T = TypeVar("T")
Replicas = tuple[wallets.Client, wallets.Client]


@pytest.fixture
async def replicas(wallets_database: databases.Database) -> AsyncIterator[Replicas]:
    async with wallets.running(wallets_database) as one, wallets.running(wallets_database) as other:
        yield one, other


@pytest.fixture
def superuser(wallets_database: databases.Database) -> Iterator[psycopg.Connection]:
    with psycopg.connect(wallets_database.superuser_url, autocommit=True) as connection:
        yield connection


async def persistently(call: Callable[[], Awaitable[T]]) -> T:
    """Repeat a call until the service answers it, as every caller of the ledger does."""
    async with waiting.patience("the service answers"):
        while True:
            try:
                return await call()
            except grpc.aio.AioRpcError as error:
                if error.code() != grpc.StatusCode.UNAVAILABLE:
                    raise


async def test_a_storm_of_identical_calls_has_one_effect_and_one_answer(
    replicas: Replicas, wallets_database: databases.Database
) -> None:
    record = serial_order.Record()
    sent = [wallets.transfer("provider/stripe", f"user/{number % 7}", 10) for number in range(100)]
    calls = [record.post(replica, each) for each in sent for replica in replicas * 10]
    random.shuffle(calls)
    answers = [results[0].transfer for results in await asyncio.gather(*calls)]
    by_id = {each.id: [answer for answer in answers if answer.id == each.id] for each in sent}
    assert all(len(same) == 20 and same.count(same[0]) == 20 for same in by_id.values())
    report = await replicas[0].verify()
    assert (report.balanced, report.transfer_count) == (True, 100)
    head = seal_oracle.Head.of(await replicas[1].sealed(100))
    books = ledger_oracle.check(wallets_database.superuser_url, serial_order.told(record.calls), heads=[head])
    serial_order.check(books, record)


async def test_of_two_contents_with_one_id_the_first_wins_everywhere(replicas: Replicas) -> None:
    for number in range(40):
        first = wallets.transfer("provider/stripe", f"user/{number}", 1)
        second = wallets.transfer("provider/bank", f"user/x{number}", 2, id=first.id)
        results = await asyncio.gather(replicas[0].post(first), replicas[1].post(second))
        assert sorted(result.error.reason for (result,) in results) == ["", "TRANSFER_ID_REUSED"]
    assert (await replicas[0].verify()).balanced


async def test_the_last_cent_is_spent_once(replicas: Replicas, wallets_database: databases.Database) -> None:
    rounds, record = size(5, 500), serial_order.Record()
    for user in map(str, range(rounds)):
        await replicas[0].fund(user, 1)
        calls = [record.post(replica, wallets.transfer(f"user/{user}", "fees", 1)) for replica in replicas * 50]
        reasons = [result.error.reason for (result,) in await asyncio.gather(*calls)]
        assert sorted(reasons) == ["", *["INSUFFICIENT_FUNDS"] * 99]
    assert (await replicas[0].account("fees")).balance == rounds
    serial_order.check(ledger_oracle.check(wallets_database.superuser_url, serial_order.told(record.calls)), record)


async def test_new_accounts_open_once_under_concurrent_first_transfers(
    replicas: Replicas, postgres: embedded.Server
) -> None:
    users, calls_each = size(60, 500), size(20, 250)
    log = postgres.folder / "postgres.log"
    start = log.stat().st_size
    calls = [
        replica.post(
            *(wallets.transfer("provider/stripe", f"user/{number}", 1) for number in random.sample(range(users), 20))
        )
        for replica in replicas * calls_each
    ]
    for results in await asyncio.gather(*calls):
        assert all(result.HasField("transfer") for result in results)
    report = await replicas[0].verify()
    assert (report.balanced, report.account_count, report.transfer_count) == (True, users + 1, 40 * calls_each)
    assert "ERROR" not in log.read_bytes()[start:].decode()


async def test_transfers_in_every_order_of_accounts_never_deadlock(
    replicas: Replicas, postgres: embedded.Server, wallets_database: databases.Database
) -> None:
    users = [f"user/{number}" for number in range(200)]  # Many, so that taking the locks takes a while.
    await replicas[0].post(*(wallets.transfer("provider/stripe", user, 1_000) for user in users))
    log = postgres.folder / "postgres.log"
    start = log.stat().st_size

    def legs() -> list[ledger_pb2.Transfer]:
        """Return three to six transfers that are linked."""
        amounts = random.choices((5, 600), k=random.randint(3, 6))
        made = [wallets.transfer(*random.sample(users, 2), amount, linked=True) for amount in amounts]
        made[-1].linked = False
        return made

    async def client(replica: wallets.Client) -> None:
        for _ in range(size(8, 70)):
            groups = [legs() for _ in range(15)]
            results = iter(await replica.post(*(leg for group in groups for leg in group)))
            for group in groups:
                reasons = collections.Counter(next(results).error.reason for _ in group)
                refused = {"INSUFFICIENT_FUNDS": 1, "LINKED_TRANSFER_REFUSED": len(group) - 1}
                assert reasons in ({"": len(group)}, refused)
                posted.update({group[0].id: len(group)} if reasons[""] else {})

    posted = collections.Counter[str]()
    await asyncio.gather(*(client(replica) for replica in replicas * 8))
    assert (await replicas[0].verify()).balanced
    transfers = ledger_oracle.check(wallets_database.superuser_url).transfers.values()
    assert collections.Counter(str(each["group_id"]) for each in transfers if each["group_id"]) == posted
    assert "ERROR" not in log.read_bytes()[start:].decode()


async def test_accounts_are_locked_in_the_order_of_their_ids(
    replicas: Replicas, wallets_database: databases.Database
) -> None:
    """Whoever waits for the first of its accounts holds none of the others."""
    deposits = [wallets.transfer("provider/stripe", f"user/{number}", 1) for number in range(30)]
    await replicas[0].post(*deposits)
    url = wallets_database.superuser_url
    with psycopg.connect(url) as holder, psycopg.connect(url) as other:
        holder.execute("SELECT FROM accounts ORDER BY id LIMIT 1 FOR UPDATE")
        again = [wallets.transfer(each.debit_account, each.credit_account, 1) for each in deposits]
        call = asyncio.create_task(replicas[0].post(*again))
        await wallets.until_waiting(wallets_database, "Lock")
        free = other.execute("SELECT FROM accounts FOR UPDATE SKIP LOCKED").rowcount
        other.rollback()
        holder.rollback()
        assert all(result.HasField("transfer") for result in await call)
    assert free == len(deposits)


async def test_who_overtakes_a_waiting_transaction_comes_first_at_their_account(
    replicas: Replicas, wallets_database: databases.Database
) -> None:
    """The one that waits has the lower transaction id, and yet the higher version: what came first, versions say."""
    record, users = serial_order.Record(), [f"user/{number}" for number in range(4)]
    await record.post(replicas[0], *(wallets.transfer("provider/stripe", user, 100) for user in users))
    with psycopg.connect(wallets_database.superuser_url) as holder:
        addresses = holder.execute("SELECT address FROM accounts WHERE address = ANY (%s) ORDER BY id", (users,))
        first, held, shared, last = (address for (address,) in addresses)
        holder.execute("SELECT FROM accounts WHERE address = %s FOR UPDATE", (held,))
        waits = [wallets.transfer(first, held, 1), wallets.transfer(shared, held, 101)]
        waiting = asyncio.create_task(record.post(replicas[0], *waits))
        await wallets.until_waiting(wallets_database, "Lock")
        await record.post(replicas[1], overtakes := wallets.transfer(last, shared, 1))
        holder.rollback()
        assert all(result.HasField("transfer") for result in await waiting)
    head = seal_oracle.Head.of(await replicas[0].sealed(7))
    books = ledger_oracle.check(wallets_database.superuser_url, serial_order.told(record.calls), heads=[head])
    waited, overtook = (books.transfers[uuid.UUID(each.id)] for each in (waits[1], overtakes))
    assert int(waited["xid"]) < int(overtook["xid"])
    assert waited["debit_version"] == overtook["credit_version"] + 1
    serial_order.check(books, record)


@pytest.mark.parametrize("fault", ["serialization_failure", "deadlock_detected", "lock_not_available"])
async def test_lost_races_are_run_again_and_never_shown(
    replicas: Replicas, superuser: psycopg.Connection, fault: str
) -> None:
    superuser.execute("CREATE SEQUENCE faults")
    superuser.execute(
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN"
        f" IF nextval('faults') % 3 <> 0 THEN RAISE {fault}; END IF; RETURN NULL; END $$"
    )
    superuser.execute("CREATE TRIGGER fail AFTER UPDATE ON accounts FOR EACH STATEMENT EXECUTE FUNCTION fail()")
    sent = [wallets.transfer("provider/stripe", "user/ana", 1) for _ in range(size(40, 400))]
    for start in range(0, len(sent), 40):  # So many at once are answered in time, one by one where it must be.
        calls = [persistently(lambda each=each: replicas[0].post(each)) for each in sent[start : start + 40]]
        assert all(result.HasField("transfer") for (result,) in await asyncio.gather(*calls))
    assert (await replicas[0].account("user/ana")).balance == len(sent)
    assert (await replicas[0].verify()).balanced


async def test_killed_connections_lose_and_double_nothing(
    replicas: Replicas, superuser: psycopg.Connection, wallets_database: databases.Database
) -> None:
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'wallets_service_application'"
    sent = [wallets.transfer("provider/stripe", f"user/{number % 5}", 1) for number in range(size(300, 5_000))]
    answered = itertools.count(1)

    async def client(own: list[ledger_pb2.Transfer], replica: wallets.Client) -> None:
        for each in own:
            (result,) = await persistently(lambda each=each: replica.post(each))
            assert result.HasField("transfer")
            if next(answered) % 10 == 0:
                superuser.execute(kill)

    await asyncio.gather(*(client(sent[start::10], replicas[start % 2]) for start in range(10)))
    report = await persistently(replicas[0].verify)
    assert (report.balanced, report.transfer_count) == (True, len(sent))
    head = seal_oracle.Head.of(await persistently(lambda: replicas[0].sealed(len(sent))))
    ledger_oracle.check(wallets_database.superuser_url, {each.id: ledger_oracle.POSTED for each in sent}, heads=[head])


async def test_a_commit_whose_answer_was_lost_is_found_again(
    wallets_database: databases.Database, superuser: psycopg.Connection
) -> None:
    """A commit that waits for a standby is already durable here; ended there, its client cannot know."""
    superuser.execute("ALTER ROLE wallets_service_application SET synchronous_commit = on")
    superuser.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    superuser.execute("SELECT pg_reload_conf()")
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    try:
        async with wallets.running(wallets_database) as client:
            call = asyncio.create_task(client.fund("ana", 7))
            await wallets.until_waiting(wallets_database, "SyncRep")
            superuser.execute("ALTER SYSTEM RESET synchronous_standby_names")
            superuser.execute(end)
            superuser.execute("SELECT pg_reload_conf()")
            assert (await call).transfer.credit_balance_after == 7
            report = await client.verify()
            assert (report.balanced, report.transfer_count) == (True, 1)
    finally:
        superuser.execute("ALTER SYSTEM RESET synchronous_standby_names")
        superuser.execute("ALTER ROLE wallets_service_application RESET synchronous_commit")
        superuser.execute("SELECT pg_reload_conf()")


async def test_a_database_that_is_away_is_unavailable_and_posts_nothing(wallets_database: databases.Database) -> None:
    nowhere = f"postgresql://nobody@127.0.0.1:{embedded.free_port()}/nothing"
    async with wallets.running(wallets_database, database_url=nowhere) as client:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.fund("ana", 1)
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
