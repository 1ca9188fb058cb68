"""The rows of a batch of transfers: locked, looked up and written with a handful of statements, whatever its size.

Parameters are array literals made here: building them costs a fraction of adapting every value by itself.
"""

import datetime
from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson
import psycopg

from wallets_service.decisions import Account, Decision, Id, Key, Posting, Transfer

Connection = psycopg.AsyncConnection[tuple[Any, ...]]

_LOCK: Final = """
    SELECT a.id::text, a.address, a.currency, a.balance, a.held_amount, a.overdraft_limit, a.status, a.version
    FROM unnest(%s::text[], %s::text[]) AS wanted (address, currency)
    JOIN accounts a ON a.address = wanted.address AND a.currency = wanted.currency
    ORDER BY a.id
    FOR NO KEY UPDATE OF a
"""
_FIND: Final = """
    SELECT t.id::text, debit.address, credit.address, t.amount, t.currency, t.type, t.payment_id::text, t.reference,
           t.description, t.metadata, t.debit_account_id::text, t.credit_account_id::text, t.debit_balance_after,
           t.credit_balance_after, t.debit_version, t.credit_version, t.created_time
    FROM transfers t
    JOIN accounts debit ON debit.id = t.debit_account_id
    JOIN accounts credit ON credit.id = t.credit_account_id
    WHERE t.id = ANY (%s::uuid[])
"""
_OPEN: Final = """
    INSERT INTO accounts (id, address, currency, overdraft_limit)
    SELECT id, address, currency, overdraft_limit
    FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::bigint[]) AS new (id, address, currency, overdraft_limit)
    ORDER BY address, currency
    ON CONFLICT (address, currency) DO NOTHING
"""
_INSERT: Final = """
    INSERT INTO transfers (
        created_time, id, debit_account_id, credit_account_id, amount, currency, type, payment_id, reference,
        description, metadata, debit_balance_after, credit_balance_after, debit_version, credit_version
    )
    SELECT %s::timestamptz, new.*
    FROM unnest(
        %s::uuid[], %s::uuid[], %s::uuid[], %s::bigint[], %s::text[], %s::text[], %s::uuid[], %s::text[],
        %s::text[], %s::jsonb[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[]
    ) AS new
"""
_UPDATE: Final = """
    UPDATE accounts a
    SET balance = new.balance, version = new.version, updated_time = %s
    FROM unnest(%s::uuid[], %s::bigint[], %s::bigint[]) AS new (id, balance, version)
    WHERE a.id = new.id
"""


async def lock(connection: Connection, keys: Iterable[Key]) -> dict[Key, Account]:
    """Return those of the accounts that exist, locked in the order of their ids until the transaction ends."""
    wanted = list(keys)
    found = await connection.execute(_LOCK, (_quoted([key[0] for key in wanted]), _plain([key[1] for key in wanted])))
    return {
        (key := (address, currency)): Account(id_, key, *state)
        for id_, address, currency, *state in await found.fetchall()
    }


async def find(connection: Connection, ids: Iterable[Id]) -> dict[Id, Posting]:
    """Return those of the transfers that are posted."""
    found = await connection.execute(_FIND, (_plain(ids),))
    return {row[0]: Posting(Transfer(*row[:10]), *row[10:]) for row in await found.fetchall()}


async def time(connection: Connection) -> datetime.datetime:
    """Return the database's time; with the locks held, it is later than that of every transfer on these accounts."""
    row = await (await connection.execute("SELECT clock_timestamp()")).fetchone()
    assert row is not None  # noqa: S101  # a SELECT without FROM has exactly one row
    moment: datetime.datetime = row[0]
    return moment


async def open_accounts(connection: Connection, accounts: Iterable[Account]) -> bool:
    """Insert empty accounts in the order of their addresses; return False when another transaction opened one first."""
    new = list(accounts)
    inserted = await connection.execute(
        _OPEN,
        (
            _plain([account.id for account in new]),
            _quoted([account.key[0] for account in new]),
            _plain([account.key[1] for account in new]),
            _optional(account.overdraft_limit for account in new),
        ),
    )
    return inserted.rowcount == len(new)


async def write(connection: Connection, decision: Decision, time_: datetime.datetime) -> None:
    """Record the decision's postings, and the accounts as they left them."""
    await connection.execute(_INSERT, _insert_parameters(decision.postings, time_))
    changed = decision.accounts.values()
    await connection.execute(
        _UPDATE,
        (
            time_,
            _plain([account.id for account in changed]),
            _numbers([account.balance for account in changed]),
            _numbers([account.version for account in changed]),
        ),
    )


def _insert_parameters(postings: list[Posting], time_: datetime.datetime) -> tuple[object, ...]:
    transfers = [posting.transfer for posting in postings]
    return (
        time_,
        _plain([transfer.id for transfer in transfers]),
        _plain([posting.debit_account_id for posting in postings]),
        _plain([posting.credit_account_id for posting in postings]),
        _numbers([transfer.amount for transfer in transfers]),
        _plain([transfer.currency for transfer in transfers]),
        _plain([transfer.type for transfer in transfers]),
        _optional(transfer.payment_id for transfer in transfers),
        _texts(transfer.reference for transfer in transfers),
        _texts(transfer.description for transfer in transfers),
        _texts(_json(transfer.metadata) for transfer in transfers),
        _numbers([posting.debit_balance_after for posting in postings]),
        _numbers([posting.credit_balance_after for posting in postings]),
        _numbers([posting.debit_version for posting in postings]),
        _numbers([posting.credit_version for posting in postings]),
    )


def _numbers(values: Iterable[int]) -> str:
    return "{" + ",".join(map(str, values)) + "}"


def _optional(values: Iterable[object]) -> str:
    return "{" + ",".join(["NULL" if value is None else str(value) for value in values]) + "}"


def _plain(values: Iterable[str]) -> str:
    """Return an array literal of ids and codes, which are never empty and need no quotes."""
    return "{" + ",".join(values) + "}"


def _quoted(addresses: Iterable[str]) -> str:
    """Return an array literal of addresses: they hold nothing to escape, but one may be the word `null`."""
    return '{"' + '","'.join(addresses) + '"}'


def _texts(values: Iterable[str]) -> str:
    """Return an array literal of any texts."""
    return "{" + ",".join([f'"{_escaped(value)}"' if value else '""' for value in values]) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _json(metadata: Mapping[str, Any]) -> str:
    return orjson.dumps(metadata).decode() if metadata else "{}"
