"""The proof of the whole ledger: sums, floors, balances and histories, in one snapshot and in SQL."""

import dataclasses
import datetime
import uuid
from collections.abc import AsyncIterator
from typing import Final

import sqlalchemy as sa
from sqlalchemy.ext import asyncio as sqlalchemy_asyncio

from kobklein import database

MAX_BREAKS: Final = 1_000
_TIMEOUT_SECONDS: Final = 110
"""Just below the time limit of report calls."""

_COUNTS: Final = """
    SELECT (SELECT count(*) FROM accounts) AS account_count,
           (SELECT count(*) FROM transfers) AS transfer_count,
           now() AS verified_time
"""
_TOTALS: Final = """
    SELECT currency, sum(balance) AS balance,
           coalesce(sum(balance) FILTER (WHERE user_id IS NOT NULL), 0) AS user_balance
    FROM accounts
    GROUP BY currency
    ORDER BY currency
"""
_FLOORS: Final = """
    SELECT address, currency, NULL::uuid AS transfer_id,
           CASE WHEN held_amount < 0 THEN 0 ELSE -overdraft_limit END AS expected_amount,
           CASE WHEN held_amount < 0 THEN held_amount::numeric ELSE balance::numeric - held_amount END AS actual_amount
    FROM accounts
    WHERE held_amount < 0 OR balance::numeric - held_amount < -overdraft_limit
    ORDER BY address, currency
    LIMIT :limit
"""
_LEGS: Final = """
    SELECT debit_account_id AS account_id, currency, id, debit_version AS version,
           -amount::numeric AS amount, debit_balance_after AS balance_after
    FROM transfers
    UNION ALL
    SELECT credit_account_id, currency, id, credit_version, amount, credit_balance_after
    FROM transfers
"""
_BALANCES: Final = f"""
    SELECT a.address, a.currency, NULL::uuid AS transfer_id,
           coalesce(s.balance, 0) AS expected_amount, a.balance AS actual_amount
    FROM accounts a
    LEFT JOIN (
        SELECT account_id, sum(amount) AS balance FROM ({_LEGS}) leg GROUP BY account_id
    ) s ON s.account_id = a.id
    WHERE a.balance <> coalesce(s.balance, 0)
    ORDER BY a.address, a.currency
    LIMIT :limit
"""  # noqa: S608  # put together from constants of this module
_HISTORIES: Final = f"""
    WITH links AS (
        SELECT *, lag(balance_after, 1, 0::bigint) OVER history + amount AS expected_amount,
               row_number() OVER history AS place
        FROM ({_LEGS}) leg
        WINDOW history AS (PARTITION BY account_id ORDER BY version)
    )
    SELECT a.address, l.currency, l.id AS transfer_id, l.expected_amount, l.balance_after AS actual_amount
    FROM links l
    LEFT JOIN accounts a ON a.id = l.account_id
    WHERE l.expected_amount <> l.balance_after OR l.place <> l.version OR a.currency IS DISTINCT FROM l.currency
    ORDER BY a.address, l.currency, l.version
    LIMIT :limit
"""  # noqa: S608  # as above
_ENDS: Final = f"""
    SELECT a.address, a.currency, NULL::uuid AS transfer_id,
           a.balance AS expected_amount, coalesce(s.balance_after, 0) AS actual_amount
    FROM accounts a
    LEFT JOIN (
        SELECT DISTINCT ON (account_id) account_id, version, balance_after
        FROM ({_LEGS}) leg
        ORDER BY account_id, version DESC
    ) s ON s.account_id = a.id
    WHERE a.version <> coalesce(s.version, 0)
    ORDER BY a.address, a.currency
    LIMIT :limit
"""  # noqa: S608  # as above
_CHECKS: Final = (
    ("BALANCE_BELOW_FLOOR", _FLOORS),
    ("BALANCE_NOT_DERIVED", _BALANCES),
    ("HISTORY_BROKEN", _HISTORIES),
    ("HISTORY_BROKEN", _ENDS),
)


@dataclasses.dataclass(frozen=True, slots=True)
class Total:
    """All balances in one currency."""

    currency: str
    balance: int
    user_balance: int


@dataclasses.dataclass(frozen=True, slots=True)
class Break:
    """One thing that does not hold.

    A broken history names the transfer whose balance does not follow from the one before it, or whose place is not the
    next; without a transfer, the history does not end where the account stands.
    """

    check: str
    address: str | None
    currency: str
    transfer_id: uuid.UUID | None
    expected_amount: int
    actual_amount: int


@dataclasses.dataclass(frozen=True, slots=True)
class Report:
    """What a verification found."""

    account_count: int
    transfer_count: int
    verified_time: datetime.datetime
    totals: list[Total]
    breaks: list[Break]
    """The first MAX_BREAKS."""


async def verify(engine: sqlalchemy_asyncio.AsyncEngine) -> Report:
    """Check the whole ledger in one snapshot; writers never wait for it."""
    with database.translated():
        async with engine.connect() as fresh:
            connection = await fresh.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            await connection.execute(sa.text(f"SET LOCAL statement_timeout = '{_TIMEOUT_SECONDS}s'"))
            counts = (await connection.execute(sa.text(_COUNTS))).one()
            totals = [
                Total(currency, int(balance), int(user_balance))
                for currency, balance, user_balance in await connection.execute(sa.text(_TOTALS))
            ]
            breaks = [found async for found in _breaks(connection, totals)]
    return Report(
        account_count=counts.account_count,
        transfer_count=counts.transfer_count,
        verified_time=counts.verified_time,
        totals=totals,
        breaks=breaks[:MAX_BREAKS],
    )


async def _breaks(connection: sqlalchemy_asyncio.AsyncConnection, totals: list[Total]) -> AsyncIterator[Break]:
    for total in totals:
        if total.balance:
            yield Break("CURRENCY_NOT_ZERO", None, total.currency, None, 0, total.balance)
    for check, statement in _CHECKS:
        for address, currency, transfer_id, expected, actual in await connection.execute(
            sa.text(statement), {"limit": MAX_BREAKS}
        ):
            yield Break(check, address, currency, transfer_id, int(expected), int(actual))
