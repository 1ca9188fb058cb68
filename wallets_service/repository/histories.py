"""An account's history: its transfers by version, which number them without gaps in the order of their times.

What is below a version never changes, so statements that name one agree with each other whenever they run.
"""

import dataclasses
import datetime
import uuid
from collections.abc import Callable, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import orm

from kobklein.database import Session
from wallets_service.models import Account, Transaction, Transfer
from wallets_service.repository import transactions

_Conditions = Callable[[orm.InstrumentedAttribute[int]], Sequence[sa.ColumnElement[bool]]]
"""What a transfer must meet, given the column of its version in the account that it is seen from."""

_FIND_VERSION: Final = sa.text("""
    WITH RECURSIVE search (low, high) AS (
        SELECT 0::bigint, CAST(:until AS bigint)
        UNION ALL
        SELECT CASE WHEN probe.created_time < :before THEN probe.version ELSE search.low END,
               CASE WHEN probe.created_time < :before THEN search.high ELSE probe.version - 1 END
        FROM search CROSS JOIN LATERAL (
            SELECT debit_version AS version, created_time FROM transfers
            WHERE debit_account_id = :id AND debit_version = (search.low + search.high + 1) / 2
            UNION ALL
            SELECT credit_version, created_time FROM transfers
            WHERE credit_account_id = :id AND credit_version = (search.low + search.high + 1) / 2
        ) probe
        WHERE search.low < search.high
    )
    SELECT low, coalesce(
        (SELECT debit_balance_after FROM transfers WHERE debit_account_id = :id AND debit_version = low),
        (SELECT credit_balance_after FROM transfers WHERE credit_account_id = :id AND credit_version = low),
        0
    )
    FROM search WHERE low = high
""").bindparams(sa.bindparam("id", type_=sa.Uuid), sa.bindparam("before", type_=sa.DateTime(timezone=True)))


@dataclasses.dataclass(frozen=True, slots=True)
class Head:
    """An account, and how far its history goes now."""

    id: uuid.UUID
    address: str
    currency: str
    user_id: str | None
    version: int
    time: datetime.datetime
    """Now, and not before its newest transfer, even where the clock went back."""


@dataclasses.dataclass(frozen=True, slots=True)
class Point:
    """What an account held after a version of its history."""

    version: int
    balance: int


@dataclasses.dataclass(frozen=True, slots=True)
class Totals:
    """What came into an account and left it, by how many transfers."""

    credit_amount: int
    debit_amount: int
    count: int

    @property
    def balance(self) -> int:
        """Credits less debits."""
        return self.credit_amount - self.debit_amount

    def __add__(self, other: "Totals") -> "Totals":
        return Totals(
            self.credit_amount + other.credit_amount, self.debit_amount + other.debit_amount, self.count + other.count
        )


NOTHING: Final = Totals(0, 0, 0)


async def get_head(session: Session, account_id: uuid.UUID) -> Head | None:
    """Return an account by its id."""
    now = sa.func.greatest(sa.func.clock_timestamp(), Account.updated_time)
    columns = (Account.id, Account.address, Account.currency, Account.user_id, Account.version, now)
    row = (await session.execute(sa.select(*columns).where(Account.id == account_id))).one_or_none()
    return Head(*row) if row is not None else None


async def point_before(session: Session, account_id: uuid.UUID, time: datetime.datetime, *, until: int) -> Point:
    """Return what the account held right before an instant, by its history up to the version `until`.

    A binary search: the times of versions never fall, so a history of a million takes twenty look-ups by key, in one
    statement.
    """
    found = await session.execute(_FIND_VERSION, {"id": account_id, "before": time, "until": until})
    return Point(*found.one())


async def totals(
    session: Session, account_id: uuid.UUID, *, after: int, until: int, recorded_only: bool = False
) -> Totals:
    """Return what moved in the versions above `after` and up to `until`; `recorded_only` leaves backdated ones out."""
    return await _totals(session, account_id, _versions(after, until, recorded_only=recorded_only))


async def backdated_totals(
    session: Session,
    account_id: uuid.UUID,
    *,
    from_time: datetime.datetime | None = None,
    before_time: datetime.datetime,
    after: int = 0,
    until: int,
) -> Totals:
    """Return what was backdated into a range of time, in the versions above `after` and up to `until`."""

    def conditions(version: orm.InstrumentedAttribute[int]) -> list[sa.ColumnElement[bool]]:
        since = [] if from_time is None else [Transfer.effective_time >= from_time]
        return [version > after, version <= until, Transfer.effective_time < before_time, *since]

    return await _totals(session, account_id, conditions)


async def list_versions(
    session: Session, account_id: uuid.UUID, *, after: int, until: int, limit: int, recorded_only: bool = False
) -> list[Transaction]:
    """Return the transfers of the versions above `after` and up to `until`, oldest first."""
    conditions = _versions(after, until, recorded_only=recorded_only)
    return await _list(session, account_id, conditions, lambda version: [version], limit=limit)


async def list_backdated(
    session: Session,
    account_id: uuid.UUID,
    *,
    after: tuple[datetime.datetime, int],
    before_time: datetime.datetime,
    until: int,
    limit: int,
) -> list[Transaction]:
    """Return the transfers that were backdated to before an instant, by when they count, then by version.

    `after` is the time and the version of the one to go on after; `until` is the last version that is known.
    """
    time, last = after

    def conditions(version: orm.InstrumentedAttribute[int]) -> list[sa.ColumnElement[bool]]:
        place = sa.tuple_(Transfer.effective_time, version) > sa.tuple_(sa.literal(time), sa.literal(last))
        return [Transfer.effective_time >= time, Transfer.effective_time < before_time, place, version <= until]

    return await _list(session, account_id, conditions, lambda version: [Transfer.effective_time, version], limit=limit)


def _versions(after: int, until: int, *, recorded_only: bool) -> _Conditions:
    ordinary = [Transfer.effective_time.is_(None)] if recorded_only else []
    return lambda version: [version > after, version <= until, *ordinary]


async def _totals(session: Session, account_id: uuid.UUID, conditions: _Conditions) -> Totals:
    found = {}
    for side in transactions.SIDES:
        sums = sa.select(sa.func.coalesce(sa.func.sum(Transfer.amount), 0), sa.func.count())
        found[side.direction] = (
            await session.execute(sums.where(side.account_id == account_id, *conditions(side.version)))
        ).one()
    (credit, credits_), (debit, debits) = found["CREDIT"], found["DEBIT"]
    return Totals(int(credit), int(debit), credits_ + debits)


async def _list(
    session: Session,
    account_id: uuid.UUID,
    conditions: _Conditions,
    order: Callable[[orm.InstrumentedAttribute[int]], Sequence[sa.SQLColumnExpression[Any]]],
    *,
    limit: int,
) -> list[Transaction]:
    """Merge a walk along each side's own index, which takes no more than `limit` steps that meet the conditions."""
    sides = [
        side.select()
        .add_columns(*(column.label(f"order_{number}") for number, column in enumerate(order(side.version))))
        .where(side.account_id == account_id, *conditions(side.version))
        .order_by(*order(side.version))
        .limit(limit)
        .subquery()
        for side in transactions.SIDES
    ]
    both = sa.union_all(*map(sa.select, sides)).subquery()
    ordering = [column for column in both.c if column.name.startswith("order_")]
    rows = await session.execute(sa.select(both).order_by(*ordering).limit(limit))
    return [transactions.transaction(row) for row in rows.mappings()]
