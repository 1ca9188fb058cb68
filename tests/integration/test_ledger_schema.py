"""What the tables refuse by themselves, whoever writes."""

import uuid
from collections.abc import Iterator
from typing import Any, Final

import alembic.autogenerate
import alembic.migration
import psycopg
import pytest
import sqlalchemy

from deploy.local import postgres as embedded
from tests import databases
from wallets_service import models
from wallets_service.proof import chain

Connection = psycopg.Connection
_IDS: Final = {name: str(uuid.uuid5(uuid.NAMESPACE_OID, name)) for name in ("ana", "ben", "usd", "first")}


_RECORDED: Final = {
    "transfers": " ".join(chain.COLUMNS),
    "accounts": "id address currency user_id created_time",
    "holds": (
        "id debit_account_id credit_account_id amount currency type payment_id reference description metadata"
        " expires_time created_time fee_amount fee_fixed_amount fee_parts_per_million fee_floor_amount fee_cap_amount"
        " fee_of"
    ),
    "seals": (
        "number format sequence transfer_count last_xid last_place digests hash signature public_key sealed_time"
    ),
    "fx_quotes": (
        "id user_id sell_currency sell_amount buy_currency buy_amount spread_amount fee_amount rate"
        " spread_parts_per_million rounding rounding_currency rate_source rate_time transfer_id expires_time"
        " created_time"
    ),
    "audit_entries": "id subject action actor reason before after created_time",
}
"""Columns that nobody changes once they are written."""
_CHANGING: Final = {
    "accounts": (
        "balance held_amount overdraft_limit status version updated_time metadata revision transfer_limit day_limit"
        " month_limit spent_date day_spent month_spent"
    ),
    "holds": "posted_amount status updated_time",
}
_GRANTED: Final = {
    **dict.fromkeys(("accounts", "audit_entries", "holds", "seals", "transfers"), "insert select"),
    "alembic_version": "select",
    "fx_quotes": "delete insert select",
    **dict.fromkeys(("currency_limits", "fees", "fx_rates", "idempotency_keys"), "delete insert select update"),
}
"""What the application role may do to whole tables; beside it, to update the columns that change."""
_REFUSALS: Final = {
    "DELETE FROM fx_quotes": psycopg.errors.RestrictViolation,  # Some it deletes, and a trigger tells which.
    "UPDATE accounts SET user_id = user_id": psycopg.errors.GeneratedAlways,
}
"""What is refused otherwise than for a missing right."""
_DEFINITIONS: Final = (
    "UPDATE accounts SET address = 'user/other'",
    "UPDATE alembic_version SET version_num = 'x'",
    "ALTER TABLE accounts DROP CONSTRAINT accounts_floor",
    "ALTER TABLE transfers DROP COLUMN description",
    "CREATE TABLE more (id integer)",
    "CREATE SCHEMA more",
    "CREATE FUNCTION more() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
    "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE sql AS 'SELECT 1'",
    "DROP FUNCTION refuse_change() CASCADE",
    "DROP TRIGGER transfers_immutable ON transfers",
    "SET session_replication_role = replica",
    "SET ROLE wallets_service_owner",
)


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
    quote(connection)


def quote(connection: Connection, *, age: str = "0 s", **changes: Any) -> str:
    """Insert a quote that expired so long ago; return its id."""
    row = {
        "id": str(uuid.uuid4()),
        "user_id": "ana",
        "sell_currency": "USD",
        "sell_amount": 1,
        "buy_currency": "HTG",
        "buy_amount": 1,
        "spread_amount": 0,
        "fee_amount": 0,
        "rate": 1,
        "spread_parts_per_million": 0,
        "rounding": "0",
        "rounding_currency": "HTG",
        "rate_source": "table",
        "rate_time": "2026-01-01T00:00:00Z",
        "transfer_id": str(uuid.uuid4()),
        "created_time": "2026-01-01T00:00:00Z",
        "age": age,
        **changes,
    }
    names = [name for name in row if name != "age"]
    values = ", ".join(f"%({name})s" for name in names)
    connection.execute(
        f"INSERT INTO fx_quotes ({', '.join(names)}, expires_time)"
        f" VALUES ({values}, clock_timestamp() - %(age)s::interval)",
        row,
    )
    return str(row["id"])


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


def forbidden() -> Iterator[str]:
    """Yield every way to rewrite what is recorded, column by column."""
    for table, columns in _RECORDED.items():
        yield from (f"UPDATE {table} SET {column} = {column}" for column in columns.split())
        yield from (f"DELETE FROM {table}", f"TRUNCATE {table} CASCADE", f"DROP TABLE {table}")
        yield f"ALTER TABLE {table} DISABLE TRIGGER ALL"
        yield f"CREATE RULE gone AS ON INSERT TO {table} DO INSTEAD NOTHING"
        yield f"CREATE INDEX more ON {table} ((1))"
        yield f"ALTER TABLE {table} OWNER TO CURRENT_USER"
        yield f"GRANT UPDATE ON {table} TO CURRENT_USER"
    yield from _DEFINITIONS


@pytest.mark.parametrize("statement", list(forbidden()))
def test_the_application_role_cannot_rewrite_history(application: Connection, statement: str) -> None:
    """A grant by who may not give one is a warning and gives nothing."""
    if statement.startswith("GRANT"):
        application.execute(statement)
        table = statement.split()[3]
        assert application.execute("SELECT has_table_privilege(%s, 'UPDATE')", (table,)).fetchone() == (False,)
        return
    with pytest.raises(_REFUSALS.get(statement, psycopg.errors.InsufficientPrivilege)):
        application.execute(statement)


def test_the_application_role_has_these_rights_and_no_others(application: Connection) -> None:
    """What triggers refuse anyway is not granted either."""
    tables = application.execute(
        "SELECT table_name, string_agg(lower(privilege_type), ' ' ORDER BY privilege_type)"
        " FROM information_schema.table_privileges"
        " WHERE table_schema = 'public' AND grantee IN (current_user, 'PUBLIC') GROUP BY 1"
    )
    assert dict(tables.fetchall()) == _GRANTED
    columns = application.execute(
        "SELECT table_name, lower(privilege_type), column_name FROM information_schema.column_privileges c"
        " WHERE table_schema = 'public' AND grantee IN (current_user, 'PUBLIC') AND NOT EXISTS ("
        "  SELECT FROM information_schema.table_privileges t WHERE (t.table_name, t.privilege_type, t.grantee)"
        "  = (c.table_name, c.privilege_type, c.grantee))"
    )
    assert set(columns.fetchall()) == {
        (table, "update", column) for table, names in _CHANGING.items() for column in names.split()
    }


def test_every_column_is_recorded_for_good_or_changes_by_design(ledger: databases.Database) -> None:
    find = "SELECT table_name, column_name FROM information_schema.columns WHERE table_name = ANY (%s)"
    with psycopg.connect(ledger.superuser_url) as connection:
        there = set(connection.execute(find, (list(_RECORDED),)))
    fixed = {(table, column) for table, columns in _RECORDED.items() for column in columns.split()}
    assert there - fixed == {(table, column) for table, columns in _CHANGING.items() for column in columns.split()}
    assert fixed <= there


@pytest.mark.parametrize(
    "statement",
    [
        *(f"DELETE FROM {table}" for table in _RECORDED),
        *(f"TRUNCATE {table} CASCADE" for table in _RECORDED),
        *(f"UPDATE {table} SET {_RECORDED[table].split()[0]} = NULL" for table in _RECORDED),
        "UPDATE transfers SET amount = 2",
        "TRUNCATE accounts, transfers, holds",
        "UPDATE accounts SET currency = 'USD'",
        "UPDATE holds SET amount = amount",
        "UPDATE holds SET debit_account_id = credit_account_id",
        "UPDATE holds SET expires_time = expires_time",
        "UPDATE holds SET fee_amount = fee_amount",
        "UPDATE holds SET fee_of = id",
        "UPDATE seals SET digests = digests",
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
        ({"credit_account_id": str(uuid.UUID(int=1))}, "transfers_accounts"),
        ({"debit_account_id": str(uuid.UUID(int=1))}, "transfers_accounts"),
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


@pytest.mark.parametrize("changes", [{"age": "23 hours"}, {"age": "1 year", "transfer_id": _IDS["first"]}], ids=str)
def test_a_quote_that_may_be_accepted_or_was_is_deleted_by_nobody(
    ledger: databases.Database, changes: dict[str, Any]
) -> None:
    with psycopg.connect(ledger.application_url, autocommit=True) as connection:
        id_ = quote(connection, **changes)
    for url in (ledger.application_url, ledger.owner_url):
        with psycopg.connect(url) as connection, pytest.raises(psycopg.errors.RestrictViolation):
            connection.execute("DELETE FROM fx_quotes WHERE id = %s", (id_,))


def test_a_quote_that_nobody_accepted_in_time_can_be_deleted(application: Connection) -> None:
    id_ = quote(application, age="25 hours")
    assert application.execute("DELETE FROM fx_quotes WHERE id = %s", (id_,)).rowcount == 1


@pytest.mark.parametrize("column", ["sell_amount", "buy_amount", "spread_amount", "fee_amount"])
def test_a_quote_takes_nothing_negative(application: Connection, column: str) -> None:
    with pytest.raises(psycopg.errors.CheckViolation) as caught:
        quote(application, **{column: -1})
    assert caught.value.diag.constraint_name == "fx_quotes_amounts"


def test_a_fee_is_only_recorded_for_what_is_charged_for(application: Connection) -> None:
    with pytest.raises(psycopg.errors.CheckViolation) as caught:
        application.execute(
            "INSERT INTO fees (currency, type, fixed_amount, parts_per_million, floor_amount)"
            " VALUES ('HTG', 'DEPOSIT', 1, 0, 0)"
        )
    assert caught.value.diag.constraint_name == "fees_type"


def test_the_models_are_what_the_migrations_make(ledger: databases.Database) -> None:
    url = sqlalchemy.make_url(ledger.owner_url).set(drivername="postgresql+psycopg")
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    engine.dialect.ischema_names["xid8"] = models.Xid
    with engine.connect() as connection:
        context = alembic.migration.MigrationContext.configure(connection, opts={"compare_type": True})
        assert alembic.autogenerate.compare_metadata(context, models.Base.metadata) == []
