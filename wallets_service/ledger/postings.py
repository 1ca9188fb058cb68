"""The rows of a batch, written with a handful of statements, whatever its size."""

import datetime
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import orjson

from kobklein.database import Connection
from wallets_service.ledger import arrays
from wallets_service.ledger.book import Decision, State
from wallets_service.ledger.entries import BY_ID, Account, Hold, Key, Posting

_OPEN: Final = """
    INSERT INTO accounts (created_time, id, address, currency, overdraft_limit)
    SELECT %s::timestamptz, new.*
    FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::bigint[]) AS new (id, address, currency, overdraft_limit)
    ORDER BY address, currency
    ON CONFLICT DO NOTHING
    RETURNING id
"""
_INSERT: Final = """
    INSERT INTO transfers (
        created_time, id, debit_account_id, credit_account_id, amount, currency, type, payment_id, reference,
        description, metadata, debit_balance_after, credit_balance_after, debit_version, credit_version,
        hold_id, reverses_id, group_id, effective_time, place
    )
    SELECT %s::timestamptz, id, debit_account_id, credit_account_id, amount, currency, type, payment_id,
           coalesce(reference, ''), coalesce(description, ''), coalesce(metadata, '{}'),
           debit_balance_after, credit_balance_after, debit_version, credit_version,
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
        description, metadata, expires_time, created_time, updated_time, fee_amount,
        fee_fixed_amount, fee_parts_per_million, fee_floor_amount, fee_cap_amount, fee_of
    )
    SELECT id, debit_account_id, credit_account_id, amount, posted_amount, currency, status, type, payment_id,
           coalesce(reference, ''), coalesce(description, ''), coalesce(metadata, '{}'), expires_time, created_time,
           updated_time, fee_amount, fee_fixed_amount, fee_parts_per_million, fee_floor_amount, fee_cap_amount, fee_of
    FROM unnest(
        %s::uuid[], %s::uuid[], %s::uuid[], %s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::uuid[],
        %s::text[], %s::text[], %s::jsonb[], %s::timestamptz[], %s::timestamptz[], %s::timestamptz[],
        %s::bigint[], %s::bigint[], %s::int[], %s::bigint[], %s::bigint[], %s::uuid[]
    ) AS new (
        id, debit_account_id, credit_account_id, amount, posted_amount, currency, status, type, payment_id, reference,
        description, metadata, expires_time, created_time, updated_time, fee_amount,
        fee_fixed_amount, fee_parts_per_million, fee_floor_amount, fee_cap_amount, fee_of
    )
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
            arrays.optional([account.overdraft_limit for account in new]),
        ),
    )
    return len(inserted.fetchall()) == len(new)


def write_transfers(
    connection: Connection, made: Sequence[Posting], time: datetime.datetime, *, first_place: int
) -> None:
    """Record postings of a batch, which has recorded `first_place` of them before these."""
    connection.execute(_INSERT, (time, first_place, *_transfer_columns(made)))


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
    changed = sorted(accounts.values(), key=BY_ID)
    return (
        arrays.plain([account.id for account in changed]),
        arrays.numbers([account.balance for account in changed]),
        arrays.numbers([account.held_amount for account in changed]),
        arrays.numbers([account.version for account in changed]),
        arrays.dates([account.spent_date for account in changed]),
        arrays.numbers([account.day_spent for account in changed]),
        arrays.numbers([account.month_spent for account in changed]),
    )


def _transfer_columns(postings: Sequence[Posting]) -> tuple[str, ...]:
    transfers = [posting.transfer for posting in postings]
    return (
        arrays.plain([transfer.id for transfer in transfers]),
        arrays.plain([posting.debit_account_id for posting in postings]),
        arrays.plain([posting.credit_account_id for posting in postings]),
        arrays.numbers([transfer.amount for transfer in transfers]),
        arrays.plain([transfer.currency for transfer in transfers]),
        arrays.plain([transfer.type for transfer in transfers]),
        arrays.optional([transfer.payment_id for transfer in transfers]),
        arrays.texts([transfer.reference for transfer in transfers]),
        arrays.texts([transfer.description for transfer in transfers]),
        _metadata([transfer.metadata for transfer in transfers]),
        arrays.numbers([posting.debit_balance_after for posting in postings]),
        arrays.numbers([posting.credit_balance_after for posting in postings]),
        arrays.numbers([posting.debit_version for posting in postings]),
        arrays.numbers([posting.credit_version for posting in postings]),
        arrays.optional([transfer.hold_id for transfer in transfers]),
        arrays.optional([transfer.reverses_id for transfer in transfers]),
        arrays.optional([posting.group_id for posting in postings]),
        arrays.times([transfer.effective_time for transfer in transfers]),
    )


def _changed_hold_columns(holds: Sequence[Hold]) -> tuple[str, ...]:
    return (
        arrays.plain([hold.made.id for hold in holds]),
        arrays.numbers([hold.posted_amount for hold in holds]),
        arrays.plain([hold.status for hold in holds]),
        arrays.times([hold.updated_time for hold in holds]),
    )


def _hold_columns(holds: Sequence[Hold]) -> tuple[str, ...]:
    made = [hold.made for hold in holds]
    terms = [each.fee_terms for each in made]
    return (
        arrays.plain([each.id for each in made]),
        arrays.plain([hold.debit_account_id for hold in holds]),
        arrays.plain([hold.credit_account_id for hold in holds]),
        arrays.numbers([each.amount for each in made]),
        arrays.numbers([hold.posted_amount for hold in holds]),
        arrays.plain([each.currency for each in made]),
        arrays.plain([hold.status for hold in holds]),
        arrays.plain([each.type for each in made]),
        arrays.optional([each.payment_id for each in made]),
        arrays.texts([each.reference for each in made]),
        arrays.texts([each.description for each in made]),
        _metadata([each.metadata for each in made]),
        arrays.times([hold.expires_time for hold in holds]),
        arrays.times([hold.created_time for hold in holds]),
        arrays.times([hold.updated_time for hold in holds]),
        arrays.numbers([each.fee_amount for each in made]),
        arrays.optional([each and each.fixed_amount for each in terms]),
        arrays.optional([each and each.parts_per_million for each in terms]),
        arrays.optional([each and each.floor_amount for each in terms]),
        arrays.optional([each and each.cap_amount for each in terms]),
        arrays.optional([each.fee_of for each in made]),
    )


def _metadata(values: Sequence[Mapping[str, Any]]) -> str:
    """Return an array of free data; NULL, in an empty array, stands for none."""
    return arrays.texts([orjson.dumps(value).decode() for value in values] if any(values) else [])
