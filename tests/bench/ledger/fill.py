"""A ledger with a past: accounts and transfers written straight into the tables, such that the ledger verifies.

All happens as the superuser, with the triggers off and the indexes made afterwards: ten million transfers through the
front door would take ten minutes.
"""

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Final

import psycopg
from psycopg import sql

from tests import databases
from wallets_service.ledger import entries

_FUNDS: Final = 10**9
_PROVIDER: Final = -1
"""The number of the account that funds all others."""
_CURRENCY: Final = "HTG"
_SETTINGS: Final = """
    SET maintenance_work_mem = '512MB';
    SET max_parallel_maintenance_workers = 2;
    SET synchronous_commit = off
"""
_ACCOUNTS: Final = """
    CREATE UNIQUE INDEX ON numbered (number) INCLUDE (id);
    ANALYZE numbered;
    INSERT INTO accounts (id, address, currency, balance, overdraft_limit, version)
    SELECT id,
           address,
           'HTG',
           CASE WHEN number < 0 THEN -%(funds)s::bigint * (%(accounts)s + 1) ELSE %(funds)s END,
           CASE WHEN number < 0 THEN NULL ELSE 0 END,
           CASE WHEN number < 0 THEN %(accounts)s + 1 WHEN number = 0 THEN 1 ELSE 1 + 2 * %(rounds)s END
    FROM numbered
"""
_COLUMNS: Final = """
    INSERT INTO transfers (
        id, debit_account_id, credit_account_id, amount, currency, type,
        debit_balance_after, credit_balance_after, debit_version, credit_version, created_time, place
    )
"""
_DEPOSITS: Final = (
    _COLUMNS
    + """
    SELECT gen_random_uuid(), provider.id, paid.id, %(funds)s, 'HTG', 'DEPOSIT',
           -%(funds)s::bigint * (paid.number + 1), %(funds)s, paid.number + 1, 1, now(), paid.number + 1
    FROM numbered paid, numbered provider
    WHERE paid.number >= 0 AND provider.number = -1
"""
)
_TRANSFERS: Final = (
    _COLUMNS
    + """
    SELECT gen_random_uuid(), debit.id, credit.id, 1, 'HTG', 'TRANSFER',
           %(funds)s - (debit.number = 1)::int, %(funds)s + (debit.number < %(accounts)s)::int,
           2 * round + 2 + (debit.number > 1)::int, 2 * round + 2 + (debit.number = %(accounts)s)::int, now(),
           round * %(accounts)s + debit.number
    FROM generate_series(0, %(rounds)s - 1) AS round,
         numbered debit
         JOIN numbered credit ON credit.number = 1 + debit.number %% %(accounts)s
    WHERE debit.number >= 1
"""
)
"""In each round every account pays 1 to the next one, in a ring: the first pays before it is paid, all others after."""
_SEAL: Final = """
    INSERT INTO seals (
        number, format, sequence, transfer_count, last_xid, last_place,
        digests, hash, signature, public_key, sealed_time
    )
    SELECT 1, 1, (SELECT count(*) FROM transfers), 1, xid, place,
           decode(repeat('00', 32), 'hex'), decode(repeat('00', 32), 'hex'), '', '', now()
    FROM transfers
    ORDER BY xid DESC, place DESC
    LIMIT 1
"""
_INDEXES: Final = """
    SELECT indexname, indexdef FROM pg_indexes
    WHERE tablename = 'transfers'
      AND indexname NOT IN (SELECT conname FROM pg_constraint WHERE conrelid = 'transfers'::regclass)
    ORDER BY indexname
"""
_CONSTRAINTS: Final = """
    SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE conrelid = 'transfers'::regclass AND contype IN ('p', 'u')
    ORDER BY conname
"""


@dataclasses.dataclass(frozen=True, slots=True)
class Past:
    """What a ledger begins with."""

    accounts: int
    """Accounts `user/1` to this one, besides `user/0` and the provider that has funded them all."""
    transfers: int = 0
    """How many there were among them; whole rounds over all accounts."""
    sealed: bool = False
    """Whether one seal, which proves nothing, spares the service minutes of sealing; the chain does not verify then."""


def fill(database: databases.Database, past: Past) -> None:
    """Write the past into an empty ledger."""
    parameters = {
        "accounts": past.accounts,
        "rounds": past.transfers // past.accounts,
        "funds": _FUNDS,
    }
    with psycopg.connect(database.superuser_url, autocommit=True, cursor_factory=psycopg.ClientCursor) as connection:
        connection.execute(_SETTINGS)
        connection.execute("ALTER TABLE transfers DISABLE TRIGGER USER")
        _number(connection, past.accounts)
        with _without_indexes(connection):
            for statement in (_ACCOUNTS, _DEPOSITS, _TRANSFERS):
                connection.execute(statement, parameters)
        if past.sealed:
            connection.execute(_SEAL)
        connection.execute("ALTER TABLE transfers ENABLE TRIGGER USER")
        connection.execute("VACUUM (FREEZE, ANALYZE) accounts, transfers")
        connection.execute("CHECKPOINT")


def _number(connection: psycopg.Connection, accounts: int) -> None:
    """List the accounts in a table, by number."""
    connection.execute("CREATE TEMPORARY TABLE numbered (number int, address text, id uuid)")
    with connection.cursor().copy("COPY numbered FROM STDIN") as copy:
        for number in range(_PROVIDER, accounts + 1):
            address = "provider/bench" if number == _PROVIDER else f"user/{number}"
            copy.write_row((number, address, entries.account_id(address, "HTG")))


@contextlib.contextmanager
def _without_indexes(connection: psycopg.Connection) -> Iterator[None]:
    """Drop the keys and indexes of the transfers, and make them again afterwards."""
    constraints = connection.execute(_CONSTRAINTS).fetchall()
    indexes = connection.execute(_INDEXES).fetchall()
    for name, _ in constraints:
        connection.execute(sql.SQL("ALTER TABLE transfers DROP CONSTRAINT {}").format(sql.Identifier(name)))
    for name, _ in indexes:
        connection.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(name)))
    yield
    for name, definition in constraints:
        statement = sql.SQL("ALTER TABLE transfers ADD CONSTRAINT {} {}")
        connection.execute(statement.format(sql.Identifier(name), sql.SQL(definition)))
    for _, definition in indexes:
        connection.execute(definition)
