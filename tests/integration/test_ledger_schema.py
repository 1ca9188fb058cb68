"""What the tables refuse by themselves, whoever writes."""

import uuid
from collections.abc import Iterator
from typing import Final

import alembic.autogenerate
import alembic.migration
import psycopg
import pytest
import sqlalchemy

from deploy.local import postgres as embedded
from tests import databases
from tests import wallets as service
from wallets_service import models, server

Connection = psycopg.Connection
_IDS: Final = {name: str(uuid.uuid5(uuid.NAMESPACE_OID, name)) for name in ("ana", "ben", "usd", "first")}


@pytest.fixture(scope="module")
def ledger(postgres: embedded.Server, wallets_template: str) -> Iterator[databases.Database]:
    """A ledger with three accounts and one transfer; here every change of it is refused."""
    for database in databases.copy(postgres, "wallets_service", of=wallets_template):
        with psycopg.connect(database.application_url, autocommit=True) as connection:
            _fill(connection)
        yield database


@pytest.fixture
def application(ledger: databases.Database) -> Iterator[Connection]:
    """A connection of the application role."""
    with psycopg.connect(ledger.application_url, autocommit=True) as connection:
        yield connection


def _fill(connection: Connection) -> None:
    for name, currency, balance, version in (("ana", "HTG", 9, 1), ("ben", "HTG", 1, 1), ("usd", "USD", 0, 0)):
        connection.execute(
            "INSERT INTO accounts (id, address, currency, balance, version, overdraft_limit)"
            " VALUES (%s, %s, %s, %s, %s, 0)",
            (_IDS[name], f"user/{name}", currency, balance, version),
        )
    insert(connection)


def insert(connection: Connection, **changes: object) -> None:
    row = {
        "id": _IDS["first"],
        "debit_account_id": _IDS["ana"],
        "credit_account_id": _IDS["ben"],
        "amount": 1,
        "currency": "HTG",
        "type": "TRANSFER",
        "debit_balance_after": 9,
        "credit_balance_after": 1,
        "debit_version": 1,
        "credit_version": 1,
        "created_time": "2026-01-01T00:00:00Z",
        **changes,
    }
    names = ", ".join(row)
    values = ", ".join(f"%({name})s" for name in row)
    connection.execute(f"INSERT INTO transfers ({names}) VALUES ({values})", row)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE transfers SET amount = 2",
        "DELETE FROM transfers",
        "TRUNCATE transfers",
        "DELETE FROM accounts",
        "TRUNCATE accounts",
        "UPDATE accounts SET address = 'user/other'",
        "UPDATE accounts SET currency = 'USD'",
        "UPDATE alembic_version SET version_num = 'x'",
        "ALTER TABLE transfers DISABLE TRIGGER ALL",
        "ALTER TABLE accounts DROP CONSTRAINT accounts_floor",
        "DROP TABLE transfers",
        "CREATE TABLE more (id integer)",
        "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE sql AS 'SELECT 1'",
        "SET session_replication_role = replica",
    ],
)
def test_the_application_role_cannot_rewrite_history(application: Connection, statement: str) -> None:
    with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.InvalidFunctionDefinition)):
        application.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE transfers SET amount = 2",
        "DELETE FROM transfers",
        "TRUNCATE transfers",
        "DELETE FROM accounts",
        "TRUNCATE accounts, transfers, holds",
        "UPDATE accounts SET currency = 'USD'",
    ],
)
def test_not_even_the_owner_changes_what_is_recorded(ledger: databases.Database, statement: str) -> None:
    with psycopg.connect(ledger.owner_url) as owner, pytest.raises(psycopg.errors.RestrictViolation):
        owner.execute(statement)


@pytest.mark.parametrize(
    ("changes", "constraint"),
    [
        ({"balance": -1}, "accounts_floor"),
        ({"held_amount": 10}, "accounts_floor"),
        ({"held_amount": -1}, "accounts_held_amount"),
        ({"overdraft_limit": -1}, "accounts_overdraft_limit"),
        ({"status": "GONE"}, "accounts_status"),
    ],
    ids=str,
)
def test_an_account_stays_within_its_rules(
    application: Connection, changes: dict[str, object], constraint: str
) -> None:
    ((column, value),) = changes.items()
    with pytest.raises(psycopg.errors.CheckViolation) as caught:
        application.execute(f"UPDATE accounts SET {column} = %s WHERE address = 'user/ana'", (value,))
    assert caught.value.diag.constraint_name == constraint


@pytest.mark.parametrize(
    ("changes", "constraint"),
    [
        ({"id": _IDS["first"]}, "transfers_pkey"),
        ({"debit_version": 1}, "transfers_debit_version_key"),
        ({"credit_version": 1}, "transfers_credit_version_key"),
        ({"amount": 0}, "transfers_amount"),
        ({"credit_account_id": _IDS["ana"]}, "transfers_two_accounts"),
        ({"credit_account_id": _IDS["usd"]}, "transfers_accounts"),
        ({"credit_account_id": str(uuid.uuid4())}, "transfers_accounts"),
        ({"debit_account_id": str(uuid.uuid4())}, "transfers_accounts"),
        ({"currency": "USD"}, "transfers_accounts"),
    ],
    ids=str,
)
def test_a_transfer_stays_within_its_rules(
    application: Connection, changes: dict[str, object], constraint: str
) -> None:
    good = {"id": str(uuid.uuid4()), "debit_version": 2, "credit_version": 2}
    with pytest.raises(psycopg.IntegrityError) as caught:
        insert(application, **{**good, **changes})
    assert caught.value.diag.constraint_name == constraint


def test_the_models_are_what_the_migrations_make(ledger: databases.Database) -> None:
    url = sqlalchemy.make_url(ledger.owner_url).set(drivername="postgresql+psycopg")
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    engine.dialect.ischema_names["xid8"] = models.Xid
    with engine.connect() as connection:
        context = alembic.migration.MigrationContext.configure(connection, opts={"compare_type": True})
        assert alembic.autogenerate.compare_metadata(context, models.Base.metadata) == []


def test_migrating_again_changes_nothing_and_the_application_role_may_ask_for_it(ledger: databases.Database) -> None:
    server.migrate(service.settings(ledger, migration_database_url=ledger.owner_url))
    server.migrate(service.settings(ledger))
