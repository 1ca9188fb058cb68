"""How everything stands that a batch is about: locked and looked up with a handful of statements, whatever its size.

What does not depend on each other's result is sent together and waited for once.
"""

import dataclasses
import datetime
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

import psycopg

from kobklein.database import Connection
from wallets_service.ledger import arrays, rows, rules
from wallets_service.ledger.book import Stamp, State
from wallets_service.ledger.entries import (
    BY_ID,
    Account,
    FeeSettlement,
    Id,
    Key,
    Limits,
    NewHold,
    Operation,
    Transfer,
    account_id,
    fee_hold_id,
    opened,
)
from wallets_service.ledger.known import Known

_Cursor = psycopg.Cursor[tuple[Any, ...]]
_MOMENT: Final = datetime.timedelta(microseconds=1)
"""What PostgreSQL can tell apart."""
_MOST_BEHIND: Final = datetime.timedelta(seconds=10)
"""How far the clock may have gone back since an account changed."""
_EARLIEST: Final = datetime.datetime.min.replace(tzinfo=datetime.UTC)

_ACCOUNTS: Final = """
    a.id::text, a.address, a.currency, a.balance, a.held_amount, a.overdraft_limit, a.status, a.version,
    a.transfer_limit, a.day_limit, a.month_limit, a.spent_date, a.day_spent, a.month_spent,
    a.xmin::text, a.updated_time
"""
_ACCOUNTS_BY_NAME: Final = f"""
    SELECT CASE
        WHEN a.id IS NULL AND (SELECT true FROM accounts WHERE address = wanted.address LIMIT 1) IS NULL
        THEN wanted.address
    END, {_ACCOUNTS}
    FROM unnest(%s::text[], %s::text[]) AS wanted (address, currency)
    LEFT JOIN accounts a ON a.address = wanted.address AND a.currency = wanted.currency
"""  # noqa: S608  # names of ours alone
"""For an account that is missing, its row says whether its address has one in another currency: one more look into the
same index. EXISTS could be planned as a hash of all addresses."""
_ACCOUNTS_BY_ID: Final = f"SELECT {_ACCOUNTS} FROM accounts a WHERE a.id = ANY (%s::uuid[])"  # noqa: S608  # as above
_NOW: Final = """
    pg_current_xact_id()::xid::text, clock_timestamp(), (
        SELECT jsonb_object_agg(currency, jsonb_build_array(transfer_limit, day_limit, month_limit))
        FROM currency_limits
    )
"""
_AFTER_ITS_ID: Final = "pg_current_xact_id() IS NOT NULL"
"""The time is read after the transaction has its id: once every id that was given out by an instant has ended, no
transfer can be recorded with a time before it any more, which is what makes a report of an instant final."""
_LOOK: Final = f"SELECT NULL, {_NOW} WHERE {_AFTER_ITS_ID}"
_LOCK: Final = f"""
    WITH locked AS MATERIALIZED (
        SELECT id, xmin AS stamp
        FROM accounts
        WHERE id = ANY (%s::uuid[])
        ORDER BY id
        FOR NO KEY UPDATE
    )
    SELECT stamps, {_NOW}
    FROM (SELECT string_agg(stamp::text, ',' ORDER BY id) AS stamps FROM locked) AS all_locked
    WHERE {_AFTER_ITS_ID}
"""  # noqa: S608  # as above
"""Thousands of accounts answer with one text, which is seldom another one than is known."""
_LOCKED_ELSEWHERE: Final = """
    WITH free AS MATERIALIZED (
        SELECT id FROM accounts WHERE id = ANY (%(ids)s::uuid[]) FOR NO KEY UPDATE SKIP LOCKED
    )
    SELECT address, currency, xmax::text
    FROM accounts
    WHERE id = ANY (%(ids)s::uuid[]) AND id NOT IN (SELECT id FROM free)
"""
_FIND: Final = f"SELECT {', '.join(rows.TRANSFER)} FROM transfers WHERE id = ANY (%s::uuid[])"  # noqa: S608  # as above
_ADDRESSES: Final = "SELECT id::text, address FROM accounts WHERE id = ANY (%s::uuid[])"
"""Not joined to what names the accounts: while there are few of them, a plan could begin with these, and find all that
they ever did."""
_REVERSED: Final = """
    SELECT reverses_id::text, sum(amount)::bigint FROM transfers WHERE reverses_id = ANY (%s::uuid[]) GROUP BY 1
"""
_GROUPS: Final = "SELECT group_id::text, count(*) FROM transfers WHERE group_id = ANY (%s::uuid[]) GROUP BY 1"
_ENDING_PARTS: Final = """
    SELECT DISTINCT ON (t.hold_id) t.id::text
    FROM holds h
    JOIN transfers t ON t.hold_id = h.id
    WHERE h.id = ANY (%s::uuid[]) AND h.status = 'POSTED'
    ORDER BY t.hold_id, t.debit_version DESC
"""
"""All parts of a hold are on one paying account, whose versions order them."""
_HOLDS: Final = f"SELECT {', '.join(rows.HOLD)} FROM holds WHERE"  # noqa: S608  # as above
_HOLDS_BY_ID: Final = f"{_HOLDS} id = ANY (%s::uuid[])"
_EXPIRED_HOLDS: Final = f"""
    SELECT {", ".join(rows.HOLD)}
    FROM unnest(%s::uuid[]) AS paying (id)
    CROSS JOIN LATERAL (
        SELECT *
        FROM holds
        WHERE debit_account_id = paying.id AND status = 'PENDING' AND expires_time <= %s
        ORDER BY expires_time
        LIMIT {rules.MAX_OPEN_HOLDS}
    ) AS holds
"""  # noqa: S608  # as above
_OPEN_HOLDS: Final = f"""
    SELECT paying.id::text, (
        SELECT count(*)
        FROM (
            SELECT FROM holds
            WHERE debit_account_id = paying.id AND status = 'PENDING' AND expires_time > %s
            LIMIT {rules.MAX_OPEN_HOLDS}
        ) AS open
    )
    FROM unnest(%s::uuid[]) AS paying (id)
"""  # noqa: S608  # as above

Locked = tuple[Key, str]
"""An account, and who has its row locked: a transaction, or several as one."""


class ClockBehindError(Exception):
    """The database's clock is far behind an account's last change. To post at that time all the same would take every
    account along into the future, with the ends of its holds and the days of its limits."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Wanted:
    """What a batch has to read, by name."""

    keys: list[Key]
    transfer_ids: set[Id]
    hold_ids: set[Id]
    reversed_ids: set[Id]
    holding_keys: set[Key]
    """The accounts that are to pay new holds."""


def _wanted(operations: Iterable[Operation]) -> _Wanted:
    keys: set[Key] = set()
    wanted = _Wanted([], set(), set(), set(), set())
    for operation in operations:
        keys.add(operation.debit_key)
        keys.add(operation.credit_key)
        if isinstance(operation, Transfer):
            wanted.transfer_ids.add(operation.id)
            if operation.hold_id is not None:
                wanted.hold_ids.update((operation.hold_id, fee_hold_id(operation.hold_id)))
            if operation.reverses_id is not None:
                wanted.reversed_ids.add(operation.reverses_id)
        elif isinstance(operation, NewHold):
            wanted.hold_ids.add(operation.id)
            wanted.holding_keys.add(operation.debit_key)
        else:
            wanted.hold_ids.update((operation.hold_id, fee_hold_id(operation.hold_id)))
            if isinstance(operation, FeeSettlement):
                wanted.transfer_ids.add(operation.id)
                wanted.hold_ids.add(operation.fee_of)
    wanted.keys.extend(keys)
    return wanted


def read(
    connection: Connection, operations: Iterable[Operation], known: Known, *, zone: datetime.tzinfo, lock: bool = True
) -> State:
    """Return how everything stands that the operations are about, in a pipeline of one wait, or two for new accounts.

    The accounts are locked in the order of their ids until the transaction ends; with the locks held, the time that is
    read is later than that of every transfer on them. Accounts that do not exist are as they would open. Without
    `lock`, nothing is locked, and nothing may be known. Raises ClockBehindError.
    """
    wanted = _wanted(operations)
    accounts, stamps = known.find(wanted.keys)
    strangers: Collection[str] = ()
    if len(accounts) < len(wanted.keys):
        unknown = [key for key in wanted.keys if key not in accounts]
        names = arrays.quoted([key[0] for key in unknown]), arrays.plain([key[1] for key in unknown])
        strangers = _add_named(connection.execute(_ACCOUNTS_BY_NAME, names), accounts, stamps)
    in_order = sorted(accounts.values(), key=BY_ID)
    ids_ = arrays.plain([account.id for account in in_order])
    current = connection.execute(_LOCK, (ids_,)) if lock else connection.execute(_LOOK)
    posted = _selected(connection, _FIND, wanted.transfer_ids | wanted.reversed_ids)
    holds = _selected(connection, _HOLDS_BY_ID, wanted.hold_ids)
    reversed_ = _selected(connection, _REVERSED, wanted.reversed_ids)
    locked, transaction, clock, limits = _one(current)
    changed = _changed(in_order, stamps, locked) if lock else []
    if changed:
        _add(connection.execute(_ACCOUNTS_BY_ID, (arrays.plain(changed),)).fetchall(), accounts, stamps)
    time = _time(clock, stamps.values())
    missing = frozenset(key for key in wanted.keys if key not in accounts)
    accounts.update({key: opened(key) for key in missing})
    open_holds = _open_holds(connection, [accounts[key].id for key in wanted.holding_keys], time)
    found = [*_rows(holds), *_expired_holds(connection, accounts.values(), time)]
    postings = _rows(posted)
    addresses = _addresses(connection, [*postings, *found])
    groups = _selected(connection, _GROUPS, {row[-1] for row in postings if row[-1] is not None})
    ending = _selected(connection, _ENDING_PARTS, {row[10] for row in postings if row[10] is not None})
    return State(
        accounts=accounts,
        missing=missing,
        new_addresses=_of_addresses(missing, strangers),
        stamps=stamps,
        transaction=transaction,
        posted={row[0]: rows.posting(row, addresses[row[1]], addresses[row[2]]) for row in postings},
        group_sizes=dict(_rows(groups)),
        holds={row[0]: rows.hold(row, addresses[row[1]], addresses[row[2]]) for row in found},
        ending_parts=frozenset(id_ for (id_,) in _rows(ending)),
        reversed=dict(_rows(reversed_)),
        limits={currency: Limits(*row) for currency, row in (limits or {}).items()},
        open_holds=dict(_rows(open_holds)),
        time=time,
        zone=zone,
    )


def locked_elsewhere(connection: Connection, operations: Iterable[Operation]) -> frozenset[Locked]:
    """Return which of the accounts somebody else has locked right now; nobody waits for them, and none stays locked."""
    ids_ = arrays.plain([str(account_id(*key)) for key in _wanted(operations).keys])
    with connection.transaction(force_rollback=True):
        found = connection.execute(_LOCKED_ELSEWHERE, {"ids": ids_}).fetchall()
    return frozenset(((address, currency), by) for address, currency, by in found)


def _time(clock: datetime.datetime, stamps: Iterable[Stamp]) -> datetime.datetime:
    """Return the time of a batch: that of the clock, unless it went back since one of the accounts last changed.

    The history of an account must not go back with it. The accounts of other batches have no part in that.
    """
    latest = max((time for _, time in stamps), default=_EARLIEST)
    if latest - clock > _MOST_BEHIND:
        raise ClockBehindError(f"it is {clock}, and an account changed at {latest}")
    return clock if clock > latest else latest + _MOMENT


def _changed(in_order: Sequence[Account], stamps: Mapping[Key, Stamp], locked: str | None) -> list[Id]:
    """Return which of the accounts are not as they are known, by the stamps that their locked rows bear.

    Raises ValueError when one is not there any more, as after another database was put in the place of this one.
    """
    known = [stamps[account.key][0] for account in in_order]
    if locked == ",".join(known):
        return []
    found = locked.split(",") if locked else []
    return [account.id for account, old, new in zip(in_order, known, found, strict=True) if old != new]


def _add_named(found: _Cursor, accounts: dict[Key, Account], stamps: dict[Key, Stamp]) -> set[str]:
    """Take up those of the accounts that exist, and return the addresses that have no account in any currency."""
    rows_ = found.fetchall()
    _add((row[1:] for row in rows_ if row[1] is not None), accounts, stamps)
    return {address for address, *_ in rows_ if address is not None}


def _of_addresses(keys: Iterable[Key], addresses: Collection[str]) -> dict[str, list[Key]]:
    """Return the keys of these addresses, by address."""
    found: dict[str, list[Key]] = {address: [] for address in addresses}
    for key in keys if addresses else ():
        if key[0] in found:
            found[key[0]].append(key)
    return found


def _add(found: Iterable[Sequence[Any]], accounts: dict[Key, Account], stamps: dict[Key, Stamp]) -> None:
    """Take up accounts as they were read."""
    for id_, address, currency, *values, stamp, updated_time in found:
        key = address, currency
        accounts[key] = Account(id_, key, *values)
        stamps[key] = stamp, updated_time


def _selected(connection: Connection, statement: str, ids: Iterable[Id]) -> _Cursor | None:
    """Look rows up by their ids; most batches have none to look up."""
    return connection.execute(statement, (arrays.plain(ids),)) if ids else None


def _rows(found: _Cursor | None) -> list[tuple[Any, ...]]:
    return [] if found is None else found.fetchall()


def _expired_holds(
    connection: Connection, accounts: Iterable[Account], time: datetime.datetime
) -> list[tuple[Any, ...]]:
    """Return the holds of these accounts whose time is over, so that they stand in nobody's way any more."""
    holding = [account.id for account in accounts if account.held_amount]
    return connection.execute(_EXPIRED_HOLDS, (arrays.plain(holding), time)).fetchall() if holding else []


def _open_holds(connection: Connection, account_ids: Sequence[Id], time: datetime.datetime) -> _Cursor | None:
    """Count the holds of accounts whose time is not over."""
    return connection.execute(_OPEN_HOLDS, (time, arrays.plain(account_ids))) if account_ids else None


def _addresses(connection: Connection, found: Sequence[tuple[Any, ...]]) -> dict[Id, str]:
    """Return the addresses of the accounts that transfers and holds name."""
    named = {account_id for row in found for account_id in row[1:3]}
    return dict(connection.execute(_ADDRESSES, (arrays.plain(named),)).fetchall()) if named else {}


def _one(cursor: _Cursor) -> tuple[Any, ...]:
    row = cursor.fetchone()
    assert row is not None  # noqa: S101  # a SELECT without FROM has exactly one row
    return row
