"""Everything that is committed is sealed once, in ledger order, whoever seals and whoever dies."""

import asyncio
import contextlib
import datetime
import json
import struct
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any, Final

import psycopg
import pytest

from tests import databases, ledgers, metrics, wallets
from wallets_service.ledger.group_commit import Ledger
from wallets_service.proof import chain, heads, seals, snapshots, verification
from wallets_service.repository import seals as repository

Connection = psycopg.Connection[tuple[Any, ...]]
_EPOCH: Final = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)
KEY: Final = chain.Key(b"\x01" * 32)
OTHER_KEY: Final = chain.Key(b"\x02" * 32)
LAG_SECONDS: Final = 5


@contextlib.contextmanager
def sealer(database: databases.Database, key: chain.Key = KEY) -> Iterator[seals.Sealer]:
    with contextlib.closing(seals.Sealer(database.application_url, key)) as made:
        yield made


@pytest.fixture
async def book(wallets_database: databases.Database) -> Any:
    made = Ledger(wallets.settings(wallets_database))
    async with made.running():
        yield made


@pytest.fixture
def connection(wallets_database: databases.Database) -> Iterator[Connection]:
    with psycopg.connect(wallets_database.superuser_url, autocommit=True, client_encoding="utf8") as opened:
        yield opened


def verified(database: databases.Database, *trusted: chain.Key) -> verification.Report:
    keys = {key.public for key in trusted}
    report = verification.verify(database.application_url, snapshots.Clock(), trusted=keys)
    assert not report.breaks, report.breaks[:3]
    return report


async def deposit(book: Ledger, count: int = 1) -> None:
    await ledgers.posted(book, [ledgers.transfer("provider/stripe", f"user/{n}", 10) for n in range(count)])


async def test_every_column_of_a_transfer_is_hashed_in_the_documented_form(
    wallets_database: databases.Database, connection: Connection
) -> None:
    """The bytes are put together here from values that were read as text."""
    written = await ledgers.written(wallets_database, rounds=3)
    names = ", ".join(f"{column}::text" for column in chain.COLUMNS)
    texts = connection.execute(f"SELECT {names} FROM transfers ORDER BY xid, place".encode()).fetchall()
    digests = [chain.row(chain.encoded([*map(_binary, chain.COLUMNS, row)])).digest for row in texts]
    sealed = b"".join(seal.digests for seal in repository.page(connection, after=0, limit=100))
    assert b"".join(digests) == sealed
    columns = "SELECT column_name FROM information_schema.columns WHERE table_name = 'transfers'"
    assert {name for (name,) in connection.execute(columns)} == set(chain.COLUMNS)
    assert written.key.public == written.settings.signing_key.public


def _binary(column: str, text: str | None) -> bytes | None:
    if text is None:
        return None
    if column == "id" or column.endswith("_id"):
        return uuid.UUID(text).bytes
    if column.endswith("_time"):
        since = datetime.datetime.fromisoformat(text) - _EPOCH
        return struct.pack(">q", since // datetime.timedelta(microseconds=1))
    if column == "place":
        return struct.pack(">i", int(text))
    if column == "metadata":
        assert json.loads(text) is not None
        return b"\x01" + text.encode()
    if column in ("currency", "type", "reference", "description"):
        return text.encode()
    return struct.pack(">q", int(text))


async def test_a_late_commit_is_waited_for_and_not_skipped(
    book: Ledger, wallets_database: databases.Database, connection: Connection
) -> None:
    with psycopg.connect(wallets_database.superuser_url) as late, sealer(wallets_database) as sealing:
        late.execute("SELECT pg_current_xact_id()")  # It has begun; what it will write comes before what follows.
        await deposit(book)
        sealing.seal()
        assert repository.latest(connection) is None
        assert metrics.value("wallets_seal_lag_seconds") > 0
        late.execute(
            "INSERT INTO transfers SELECT (jsonb_populate_record(t, jsonb_build_object('id', gen_random_uuid(),"
            " 'debit_version', 2, 'credit_version', 2, 'xid', pg_current_xact_id()))).* FROM transfers t"
        )
        late.commit()
        sealing.seal()
        sealing.seal()
        assert metrics.value("wallets_seal_lag_seconds") == 0
    order = connection.execute("SELECT id FROM transfers ORDER BY xid, place").fetchall()
    latest = repository.latest(connection)
    assert latest is not None
    assert latest.head.sequence == 2
    rows = repository.sealed_rows(connection, after=None, until=latest.last)
    assert [(row.id,) for row in rows] == order


async def test_sealers_at_once_make_one_chain(book: Ledger, wallets_database: databases.Database) -> None:
    stop = threading.Event()

    def seal_on() -> None:
        with sealer(wallets_database) as sealing:
            while not stop.is_set():
                sealing.seal()

    tasks = [asyncio.create_task(asyncio.to_thread(seal_on)) for _ in range(3)]
    for _ in range(50):
        await deposit(book, 7)
    stop.set()
    await asyncio.gather(*tasks)
    with sealer(wallets_database) as last:
        last.seal()
    assert verified(wallets_database, KEY).sealed_count == 350


async def test_without_the_lock_the_number_of_a_seal_lets_one_win(
    book: Ledger, wallets_database: databases.Database, connection: Connection
) -> None:
    await deposit(book)
    rows = list(repository.unsealed_rows(connection, after=None, limit=10))
    repository.append(connection, chain.sealed(None, rows, KEY, sealed_microseconds=1))
    with pytest.raises(psycopg.errors.UniqueViolation):
        repository.append(connection, chain.sealed(None, rows, KEY, sealed_microseconds=2))


async def test_a_sealer_that_dies_at_any_statement_leaves_a_whole_chain(
    book: Ledger, wallets_database: databases.Database, connection: Connection
) -> None:
    """Its connection is cut while each of its statements in turn waits for a lock that somebody holds."""
    await deposit(book, 3)
    for table in ("seals", "transfers"):
        with psycopg.connect(wallets_database.superuser_url) as holder, sealer(wallets_database) as dying:
            holder.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
            task = asyncio.create_task(asyncio.to_thread(dying.seal))
            await wallets.until_waiting(wallets_database, "Lock")
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            with pytest.raises(psycopg.OperationalError):
                await task
            holder.rollback()
            assert verified(wallets_database).sealed_count == 0
            dying.seal()  # The same sealer goes on with a new connection.
        assert verified(wallets_database, KEY).sealed_count == 3
        with psycopg.connect(wallets_database.superuser_url) as clean:
            clean.execute("SET session_replication_role = replica")
            clean.execute("DELETE FROM seals")


async def test_many_transfers_are_sealed_in_runs(book: Ledger, wallets_database: databases.Database) -> None:
    """A run ends wherever it is full, in the middle of a transaction too, and the next one goes on there."""
    for _ in range(5):
        await deposit(book, 700)
    with sealer(wallets_database) as sealing:
        sealing.seal()
        with psycopg.connect(wallets_database.application_url) as connection:
            counts = [seal.transfer_count for seal in repository.page(connection, after=0, limit=10)]
    assert counts == [1000, 1000, 1000, 500]
    assert verified(wallets_database, KEY).sealed_count == 3500


async def test_a_sealer_that_is_behind_goes_on_without_a_pause(
    book: Ledger, wallets_database: databases.Database, connection: Connection
) -> None:
    """A round ends after one seal here, and the next one that begins by itself would be after an hour."""
    for _ in range(5):
        await deposit(book, 700)
    sealing = seals.Sealer(wallets_database.application_url, KEY, runs_per_round=1)
    async with sealing.running(pause_seconds=3_600), asyncio.timeout(30):
        while repository.found(connection, 3_500) is None:  # noqa: ASYNC110  # the sealer sets no event
            await asyncio.sleep(0.01)


async def test_a_sealer_that_has_sealed_all_pauses(book: Ledger, wallets_database: databases.Database) -> None:
    await deposit(book, 1_001)
    with contextlib.closing(seals.Sealer(wallets_database.application_url, KEY, runs_per_round=1)) as sealing:
        assert [sealing.seal() for _ in range(3)] == [True, False, False]


async def test_what_an_earlier_key_signed_is_still_proved_by_it(
    book: Ledger, wallets_database: databases.Database
) -> None:
    for key in (KEY, OTHER_KEY):
        await deposit(book)
        with sealer(wallets_database, key) as sealing:
            sealing.seal()
    verified(wallets_database, KEY, OTHER_KEY)
    report = verification.verify(wallets_database.application_url, snapshots.Clock(), trusted={OTHER_KEY.public})
    assert [(each.check, each.sequence) for each in report.breaks] == [("CHAIN_BROKEN", 1)]
    settings = wallets.settings(wallets_database, seal_key=(b"\x02" * 32).hex(), seal_trusted_keys=(KEY.public.hex(),))
    assert settings.trusted_seal_keys == {KEY.public, OTHER_KEY.public}


async def test_a_running_service_seals_within_seconds_and_before_it_leaves(
    wallets_database: databases.Database, connection: Connection
) -> None:
    async with wallets.running(wallets_database) as client:
        start = time.monotonic()
        for number in range(1, 4):
            await client.fund("ana", 10)
            head = await client.sealed(number)
        assert time.monotonic() - start < 3 * LAG_SECONDS
        await client.fund("ana", 10)
    last = repository.latest(connection)
    assert last is not None
    assert (last.head.sequence, head.sequence) == (4, 3)
    seal = repository.found(connection, 3)
    assert seal is not None
    assert (seal.head.hash.hex(), heads.time(seal.head.sealed_microseconds)) == (
        head.hash,
        head.sealed_time.ToDatetime(tzinfo=datetime.UTC),
    )
    assert chain.proved(seal.head)


async def test_writers_do_not_wait_for_a_sealer(book: Ledger, wallets_database: databases.Database) -> None:
    with psycopg.connect(wallets_database.application_url) as holder:
        assert repository.lock(holder)
        repository.append(
            holder,
            chain.sealed(None, [chain.Row(uuid.uuid4(), chain.Place(3, 1), bytes(32))], KEY, sealed_microseconds=1),
        )
        await deposit(book)  # While a sealer is in the middle of its transaction.
        with sealer(wallets_database) as other:
            other.seal()
            assert metrics.value("wallets_seal_lag_seconds") > 0
        holder.rollback()
    assert verified(wallets_database).sealed_count == 0
