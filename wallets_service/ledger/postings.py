"""The rows of a batch: locked, looked up and written with a handful of statements, whatever its size.

What does not depend on each other's result is sent together and waited for once.
"""

import dataclasses
import datetime
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import orjson
import psycopg

from kobklein import ids
from wallets_service.ledger import arrays, free_data
from wallets_service.ledger.book import Decision, State
from wallets_service.ledger.entries import (
    Account,
    Hold,
    Id,
    Key,
    Limits,
    NewHold,
    Operation,
    Posting,
    Release,
    Transfer,
    opened,
)

Connection = psycopg.Connection[tuple[Any, ...]]
_Cursor = psycopg.Cursor[tuple[Any, ...]]

_READ: Final = """
    SELECT a.id::text, a.address, a.currency, a.balance, a.held_amount, a.overdraft_limit, a.status, a.version,
           a.transfer_limit, a.day_limit, a.month_limit, a.spent_date, a.day_spent, a.month_spent,
           a.updated_time > clock_timestamp()
    FROM unnest(%s::text[], %s::text[]) AS wanted (address, currency)
    JOIN accounts a ON a.address = wanted.address AND a.currency = wanted.currency
    ORDER BY a.id
"""
_LOCK: Final = f"{_READ} FOR NO KEY UPDATE OF a"
_FIND: Final = """
    SELECT t.id::text, debit.address, credit.address, t.amount, t.currency, t.type, t.payment_id::text, t.reference,
           t.description, t.metadata::text, t.hold_id::text, t.reverses_id::text, t.effective_time,
           t.debit_account_id::text, t.credit_account_id::text, t.debit_balance_after, t.credit_balance_after,
           t.debit_version, t.credit_version, t.created_time, t.group_id::text
    FROM transfers t
    JOIN accounts debit ON debit.id = t.debit_account_id
    JOIN accounts credit ON credit.id = t.credit_account_id
    WHERE t.id = ANY (%s::uuid[])
"""
_NOW: Final = """
    SELECT clock_timestamp(), (
        SELECT jsonb_object_agg(currency, jsonb_build_array(transfer_limit, day_limit, month_limit))
        FROM currency_limits
    )
    WHERE pg_current_xact_id() IS NOT NULL
"""
"""Comes after the transaction has its id: once every id that was given out by an instant has ended, no transfer can be
recorded with a time before it any more, which is what makes a report of an instant final."""
_LATEST: Final = "SELECT max(updated_time) + interval '1 microsecond' FROM accounts WHERE id = ANY (%s::uuid[])"
_REVERSED: Final = """
    SELECT reverses_id::text, sum(amount)::bigint FROM transfers WHERE reverses_id = ANY (%s::uuid[]) GROUP BY 1
"""
_HOLDS: Final = """
    SELECT h.id::text, debit.address, credit.address, h.amount, h.currency, h.type, h.expires_time - h.created_time,
           h.payment_id::text, h.reference, h.description, h.metadata::text, h.debit_account_id::text,
           h.credit_account_id::text, h.posted_amount, h.status, h.created_time, h.updated_time
    FROM holds h
    JOIN accounts debit ON debit.id = h.debit_account_id
    JOIN accounts credit ON credit.id = h.credit_account_id
    WHERE
"""
_HOLDS_BY_ID: Final = f"{_HOLDS} h.id = ANY (%s::uuid[])"
_EXPIRED_HOLDS: Final = f"""
    {_HOLDS} h.debit_account_id = ANY (%s::uuid[]) AND h.status = 'PENDING' AND h.expires_time <= %s
    ORDER BY h.expires_time LIMIT 1000
"""
_OPEN: Final = """
    INSERT INTO accounts (created_time, id, address, currency, overdraft_limit)
    SELECT %s::timestamptz, new.*
    FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::bigint[]) AS new (id, address, currency, overdraft_limit)
    ORDER BY address, currency
    ON CONFLICT (address, currency) DO NOTHING
    RETURNING id
"""
_INSERT: Final = """
    INSERT INTO transfers (
        created_time, id, debit_account_id, credit_account_id, amount, currency, type, payment_id, reference,
        description, metadata, debit_balance_after, credit_balance_after, debit_version, credit_version,
        hold_id, reverses_id, group_id, effective_time, place
    )
    SELECT %s::timestamptz, id, debit_account_id, credit_account_id, amount, currency, type, payment_id, reference,
           description, metadata, debit_balance_after, credit_balance_after, debit_version, credit_version,
           hold_id, reverses_id, group_id, effective_time, %s::bigint + place
    FROM unnest(
        %s::uuid[], %s::uuid[], %s::uuid[], %s::bigint[], %s::text[], %s::text[], %s::uuid[], %s::text[],
        %s::text[], %s::jsonb[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[],
        %s::uuid[], %s::uuid[], %s::uuid[], %s::timestamptz[]
    ) WITH ORDINALITY AS new (
        id, debit_account_id, credit_account_id, amount, currency, type, payment_id, reference, description, metadata,
        debit_balance_after, credit_balance_after, debit_version, credit_version, hold_id, reverses_id, group_id,
        effective_time, place
    )
"""
_UPDATE: Final = """
    UPDATE accounts a
    SET balance = new.balance, held_amount = new.held_amount, version = new.version, spent_date = new.spent_date,
        day_spent = new.day_spent, month_spent = new.month_spent, updated_time = %s
    FROM unnest(%s::uuid[], %s::bigint[], %s::bigint[], %s::bigint[], %s::date[], %s::bigint[], %s::bigint[])
        AS new (id, balance, held_amount, version, spent_date, day_spent, month_spent)
    WHERE a.id = new.id
"""
_INSERT_HOLDS: Final = """
    INSERT INTO holds (
        id, debit_account_id, credit_account_id, amount, posted_amount, currency, status, type, payment_id, reference,
        description, metadata, expires_time, created_time, updated_time
    )
    SELECT * FROM unnest(
        %s::uuid[], %s::uuid[], %s::uuid[], %s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::uuid[],
        %s::text[], %s::text[], %s::jsonb[], %s::timestamptz[], %s::timestamptz[], %s::timestamptz[]
    ) AS new
"""
"""Another hold may have come first under an id that was free, on quite other accounts, whose locks are not held. Then
this one breaks the primary key, and the batch is run again and finds it."""
_UPDATE_HOLDS: Final = """
    UPDATE holds h
    SET posted_amount = new.posted_amount, status = new.status, updated_time = new.updated_time
    FROM unnest(%s::uuid[], %s::bigint[], %s::text[], %s::timestamptz[])
        AS new (id, posted_amount, status, updated_time)
    WHERE h.id = new.id
"""


@dataclasses.dataclass(frozen=True, slots=True)
class _Wanted:
    """What a batch has to read, by name."""

    keys: list[Key]
    transfer_ids: set[Id]
    hold_ids: set[Id]
    reversed_ids: set[Id]


def _wanted(operations: Iterable[Operation]) -> _Wanted:
    keys: set[Key] = set()
    wanted = _Wanted([], set(), set(), set())
    for operation in operations:
        keys.add(operation.debit_key)
        keys.add(operation.credit_key)
        if isinstance(operation, Transfer):
            wanted.transfer_ids.add(operation.id)
            if operation.hold_id is not None:
                wanted.hold_ids.add(operation.hold_id)
            if operation.reverses_id is not None:
                wanted.reversed_ids.add(operation.reverses_id)
        else:
            wanted.hold_ids.add(operation.hold_id if isinstance(operation, Release) else operation.id)
    wanted.keys.extend(keys)
    return wanted


def read(connection: Connection, operations: Iterable[Operation], *, zone: datetime.tzinfo, lock: bool = True) -> State:
    """Return how everything stands that the operations are about, in a pipeline of one wait.

    The accounts are locked in the order of their ids until the transaction ends; with the locks held, the time that is
    read is later than that of every transfer on them. Accounts that do not exist are as they would open. Without
    `lock`, nothing is locked.
    """
    wanted = _wanted(operations)
    names = arrays.quoted([key[0] for key in wanted.keys]), arrays.plain([key[1] for key in wanted.keys])
    found = connection.execute(_LOCK if lock else _READ, names)
    posted = connection.execute(_FIND, (arrays.plain(wanted.transfer_ids | wanted.reversed_ids),))
    now = connection.execute(_NOW)
    holds = _selected(connection, _HOLDS_BY_ID, wanted.hold_ids)
    reversed_ = _selected(connection, _REVERSED, wanted.reversed_ids)
    rows = found.fetchall()
    accounts = {(key := (address, currency)): Account(id_, key, *state) for id_, address, currency, *state, _ in rows}
    missing = frozenset(key for key in wanted.keys if key not in accounts)
    accounts.update({key: opened(str(ids.new()), key) for key in missing})
    time, limits = _one(now)
    if any(row[-1] for row in rows):  # The clock went back since an account last changed; its history must not.
        (time,) = _one(connection.execute(_LATEST, (arrays.plain([row[0] for row in rows]),)))
    return State(
        accounts=accounts,
        missing=missing,
        posted={row[0]: _posting(row) for row in posted.fetchall()},
        holds=_expired_holds(connection, accounts.values(), time)
        | {row[0]: _hold(row) for row in (holds.fetchall() if holds else ())},
        reversed={row[0]: row[1] for row in (reversed_.fetchall() if reversed_ else ())},
        limits={currency: Limits(*row) for currency, row in (limits or {}).items()},
        time=time,
        zone=zone,
    )


def _selected(connection: Connection, statement: str, ids: Iterable[Id]) -> _Cursor | None:
    """Look rows up by their ids; most batches have none to look up."""
    return connection.execute(statement, (arrays.plain(ids),)) if ids else None


def _expired_holds(connection: Connection, accounts: Iterable[Account], time: datetime.datetime) -> dict[Id, Hold]:
    """Return the holds of these accounts whose time is over, so that they stand in nobody's way any more."""
    holding = [account.id for account in accounts if account.held_amount]
    if not holding:
        return {}
    found = connection.execute(_EXPIRED_HOLDS, (arrays.plain(holding), time))
    return {row[0]: _hold(row) for row in found.fetchall()}


def _one(cursor: _Cursor) -> tuple[Any, ...]:
    row = cursor.fetchone()
    assert row is not None  # noqa: S101  # a SELECT without FROM, or of an aggregate, has exactly one row
    return row


def _posting(row: Sequence[Any]) -> Posting:
    made = (*row[:9], free_data.loads(row[9]), *row[10:13])
    return Posting(Transfer(*made), *row[13:])


def _hold(row: Sequence[Any]) -> Hold:
    made = (*row[:10], free_data.loads(row[10]))
    return Hold(NewHold(*made), *row[11:])


def open_accounts(connection: Connection, accounts: Iterable[Account], time: datetime.datetime) -> bool:
    """Insert empty accounts in the order of their addresses; return False when another transaction opened one first.

    `time` is that of the batch, so that no account is younger than its first transfer.
    """
    new = list(accounts)
    inserted = connection.execute(
        _OPEN,
        (
            time,
            arrays.plain([account.id for account in new]),
            arrays.quoted([account.key[0] for account in new]),
            arrays.plain([account.key[1] for account in new]),
            arrays.optional(account.overdraft_limit for account in new),
        ),
    )
    return len(inserted.fetchall()) == len(new)


def write_transfers(connection: Connection, decision: Decision, time: datetime.datetime, *, start: int) -> None:
    """Record the decision's postings from that place on."""
    if len(decision.postings) > start:
        connection.execute(_INSERT, (time, start, *_transfer_columns(decision.postings[start:])))


def write_accounts(connection: Connection, decision: Decision, state: State) -> None:
    """Record the accounts and holds as the decision leaves them, on the state that was read."""
    if decision.accounts:
        connection.execute(_UPDATE, (state.time, *_account_columns(decision.accounts)))
    made = [hold for id_, hold in decision.holds.items() if id_ not in state.holds]
    changed = [hold for id_, hold in decision.holds.items() if id_ in state.holds]
    if made:
        connection.execute(_INSERT_HOLDS, _hold_columns(made))
    if changed:
        connection.execute(_UPDATE_HOLDS, _changed_hold_columns(changed))


def _account_columns(accounts: Mapping[Key, Account]) -> tuple[str, ...]:
    changed = accounts.values()
    return (
        arrays.plain([account.id for account in changed]),
        arrays.numbers([account.balance for account in changed]),
        arrays.numbers([account.held_amount for account in changed]),
        arrays.numbers([account.version for account in changed]),
        arrays.optional(account.spent_date for account in changed),
        arrays.numbers([account.day_spent for account in changed]),
        arrays.numbers([account.month_spent for account in changed]),
    )


def _transfer_columns(postings: list[Posting]) -> tuple[str, ...]:
    transfers = [posting.transfer for posting in postings]
    return (
        arrays.plain([transfer.id for transfer in transfers]),
        arrays.plain([posting.debit_account_id for posting in postings]),
        arrays.plain([posting.credit_account_id for posting in postings]),
        arrays.numbers([transfer.amount for transfer in transfers]),
        arrays.plain([transfer.currency for transfer in transfers]),
        arrays.plain([transfer.type for transfer in transfers]),
        arrays.optional(transfer.payment_id for transfer in transfers),
        arrays.texts(transfer.reference for transfer in transfers),
        arrays.texts(transfer.description for transfer in transfers),
        arrays.texts(_json(transfer.metadata) for transfer in transfers),
        arrays.numbers([posting.debit_balance_after for posting in postings]),
        arrays.numbers([posting.credit_balance_after for posting in postings]),
        arrays.numbers([posting.debit_version for posting in postings]),
        arrays.numbers([posting.credit_version for posting in postings]),
        arrays.optional(transfer.hold_id for transfer in transfers),
        arrays.optional(transfer.reverses_id for transfer in transfers),
        arrays.optional(posting.group_id for posting in postings),
        arrays.times(transfer.effective_time for transfer in transfers),
    )


def _changed_hold_columns(holds: Sequence[Hold]) -> tuple[str, ...]:
    return (
        arrays.plain([hold.made.id for hold in holds]),
        arrays.numbers([hold.posted_amount for hold in holds]),
        arrays.plain([hold.status for hold in holds]),
        arrays.times(hold.updated_time for hold in holds),
    )


def _hold_columns(holds: Sequence[Hold]) -> tuple[str, ...]:
    made = [hold.made for hold in holds]
    return (
        arrays.plain([each.id for each in made]),
        arrays.plain([hold.debit_account_id for hold in holds]),
        arrays.plain([hold.credit_account_id for hold in holds]),
        arrays.numbers([each.amount for each in made]),
        arrays.numbers([hold.posted_amount for hold in holds]),
        arrays.plain([each.currency for each in made]),
        arrays.plain([hold.status for hold in holds]),
        arrays.plain([each.type for each in made]),
        arrays.optional(each.payment_id for each in made),
        arrays.texts(each.reference for each in made),
        arrays.texts(each.description for each in made),
        arrays.texts(_json(each.metadata) for each in made),
        arrays.times(hold.expires_time for hold in holds),
        arrays.times(hold.created_time for hold in holds),
        arrays.times(hold.updated_time for hold in holds),
    )


def _json(metadata: Mapping[str, Any]) -> str:
    return orjson.dumps(metadata).decode() if metadata else "{}"
