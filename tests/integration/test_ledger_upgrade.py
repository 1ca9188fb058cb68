"""A ledger of the first revision is a whole one after the upgrade, under ids that follow from its accounts' names."""

import asyncio
import dataclasses
import datetime
import random
import uuid
from collections.abc import Iterator
from typing import Any, Final

import psycopg
import pytest

from deploy.local import postgres as embedded
from kobklein import migrations
from kobklein.wallets.v1 import wallets_pb2
from tests import databases, wallets
from wallets_service.ledger import entries

_REVISION: Final = "2026_11_23_ledger"
_ADDRESSES: Final = ("provider/stripe", "fees", *(f"user/{name}" for name in ("ana", "ben", "merchant.7", "a-b")))
_CURRENCIES: Final = ("HTG", "USD")
_TRANSFERS: Final = 300
_START: Final = datetime.datetime(2026, 11, 23, 12, tzinfo=datetime.UTC)


@dataclasses.dataclass
class Account:
    """An account as the first revision opened it, under a random id."""

    address: str
    currency: str
    id: uuid.UUID = dataclasses.field(default_factory=uuid.uuid4)
    balance: int = 0
    version: int = 0

    def move(self, amount: int) -> tuple[int, int]:
        """Add to the balance, and return it with the version that it belongs to."""
        self.balance += amount
        self.version += 1
        return self.balance, self.version


@pytest.fixture
def first_revision(postgres: embedded.Server) -> Iterator[databases.Database]:
    """A database of the first revision without rows."""
    yield from databases.at_revision(postgres, "wallets_service", _REVISION)


def upgrade(old: databases.Database) -> None:
    migrations.migrate("wallets_service", old.owner_url, application_url=old.application_url)


def fill(old: databases.Database) -> list[Account]:
    """Write a history as the application's role did in the first revision: batches of equal times, two currencies."""
    rng = random.Random(5)
    accounts = [Account(address, currency) for address in _ADDRESSES for currency in _CURRENCIES]
    rows = [_transfer(rng, accounts, number) for number in range(_TRANSFERS)]
    with psycopg.connect(old.application_url) as connection:
        for account in accounts:
            _insert(
                connection,
                "accounts",
                {
                    **dataclasses.asdict(account),
                    "overdraft_limit": None if account.address.startswith("provider/") else 0,
                },
            )
        for row in rows:
            _insert(connection, "transfers", row)
    return accounts


def _transfer(rng: random.Random, accounts: list[Account], number: int) -> dict[str, Any]:
    """Return a transfer: every other one a deposit, so that there is money for the rest."""
    currency = _CURRENCIES[number // 2 % len(_CURRENCIES)]
    provider, *others = (account for account in accounts if account.currency == currency)
    debit, credit = rng.sample(others, 2)
    if number % 2 == 0 or not debit.balance:
        debit = provider
    amount = rng.randint(1, debit.balance if debit is not provider else 1_000)
    debit_balance, debit_version = debit.move(-amount)
    credit_balance, credit_version = credit.move(amount)
    return {
        "id": uuid.uuid4(),
        "debit_account_id": debit.id,
        "credit_account_id": credit.id,
        "amount": amount,
        "currency": currency,
        "type": "TRANSFER",
        "debit_balance_after": debit_balance,
        "credit_balance_after": credit_balance,
        "debit_version": debit_version,
        "credit_version": credit_version,
        "created_time": _START + datetime.timedelta(seconds=number // 7),
    }


def _insert(connection: psycopg.Connection, table: str, row: dict[str, Any]) -> None:
    values = ", ".join(f"%({column})s" for column in row)
    connection.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({values})", row)


def moved(one: databases.Database) -> list[tuple[Any, ...]]:
    """Return every transfer with the names of its accounts in place of their ids."""
    with psycopg.connect(one.application_url) as connection:
        return connection.execute(
            "SELECT t.id, debit.address, debit.currency, credit.address, credit.currency, t.amount, t.currency,"
            " t.debit_balance_after, t.credit_balance_after, t.debit_version, t.credit_version, t.created_time"
            " FROM transfers t"
            " JOIN accounts debit ON debit.id = t.debit_account_id"
            " JOIN accounts credit ON credit.id = t.credit_account_id"
            " ORDER BY t.created_time, t.id"
        ).fetchall()


async def test_a_ledger_of_the_first_revision_verifies_and_goes_on_after_the_upgrade(
    first_revision: databases.Database,
) -> None:
    accounts = fill(first_revision)
    before = moved(first_revision)
    await asyncio.to_thread(upgrade, first_revision)
    assert moved(first_revision) == before
    async with wallets.running(first_revision) as service:
        for account in accounts:
            now = await service.account(account.address, account.currency)
            assert (uuid.UUID(now.id), now.balance, now.version) == (
                entries.account_id(account.address, account.currency),
                account.balance,
                account.version,
            )
        await service.fund("ana", 1_000)
        (paid,) = await service.post(wallets.transfer("user/ana", "user/new", 5))
        assert paid.HasField("transfer"), paid
        await service.sealed(_TRANSFERS + 2)
        report = await service.verify()
    assert (list(report.breaks), report.balanced, report.sealed_count) == ([], True, _TRANSFERS + 2)


async def test_transfers_of_the_first_revision_stand_in_ledger_order_by_their_time(
    first_revision: databases.Database,
) -> None:
    fill(first_revision)
    before = moved(first_revision)
    await asyncio.to_thread(upgrade, first_revision)
    with psycopg.connect(first_revision.application_url) as connection:
        order = connection.execute("SELECT id, place FROM transfers ORDER BY xid, place").fetchall()
    assert order == [(row[0], number) for number, row in enumerate(before, start=1)]


async def test_a_wallet_that_was_opened_before_the_upgrade_is_answered_again_under_its_id_of_now(
    first_revision: databases.Database, wallets_database: databases.Database
) -> None:
    request = wallets_pb2.CreateWalletRequest(currency="HTG")
    caller = wallets.metadata("ana", "user", key="opened before")
    async with wallets.running(wallets_database) as service:
        opened = await service.wallets.CreateWallet(request, metadata=caller)
    with psycopg.connect(wallets_database.application_url) as connection:
        kept = connection.execute("SELECT subject, key, fingerprint, answer FROM idempotency_keys").fetchone()
    assert kept is not None
    old = next(each for each in fill(first_revision) if (each.address, each.currency) == ("user/ana", "HTG"))
    answer = wallets_pb2.Wallet.FromString(kept[3])
    answer.id = str(old.id)
    with psycopg.connect(first_revision.application_url) as connection:
        row = dict(zip(("subject", "key", "fingerprint"), kept[:3], strict=True))
        _insert(connection, "idempotency_keys", {**row, "answer": answer.SerializeToString()})
        other = b"\x0a\x24" + str(uuid.uuid4()).encode()
        _insert(connection, "idempotency_keys", {**row, "key": "other", "answer": other})
        _insert(connection, "idempotency_keys", {**row, "key": "open"})
    await asyncio.to_thread(upgrade, first_revision)
    async with wallets.running(first_revision) as service:
        again = await service.wallets.CreateWallet(request, metadata=caller)
    assert again == opened
    with psycopg.connect(first_revision.application_url) as connection:
        left = connection.execute("SELECT answer FROM idempotency_keys WHERE key <> %s ORDER BY key", (kept[1],))
        assert left.fetchall() == [(None,), (other,)]


async def test_after_the_upgrade_nobody_changes_what_is_recorded(first_revision: databases.Database) -> None:
    """The triggers that the upgrade turns off are on again, for the owner as well."""
    fill(first_revision)
    await asyncio.to_thread(upgrade, first_revision)
    with psycopg.connect(first_revision.owner_url, autocommit=True) as connection:
        for statement in ("UPDATE transfers SET debit_account_id = id", "UPDATE accounts SET id = gen_random_uuid()"):
            with pytest.raises(psycopg.errors.RestrictViolation):
                connection.execute(statement)
