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

BEGINNING: Final = datetime.datetime.min.replace(tzinfo=datetime.UTC)
_TIME: Final = sa.DateTime(timezone=True)
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
""").bindparams(sa.bindparam("id", type_=sa.Uuid), sa.bindparam("before", type_=_TIME))

_WALK_BACKDATED: Final = """
    WITH walk AS MATERIALIZED (
        SELECT amount, effective_time, {side}_version AS version FROM transfers
        WHERE {side}_account_id = :id AND (effective_time, {side}_version) > (:from_time, :last)
          AND effective_time < :before_time
        ORDER BY effective_time, {side}_version LIMIT :limit
    ), counted AS (
        SELECT coalesce(sum(amount), 0) AS amount, count(*) AS number FROM walk
        WHERE version > :after AND version <= :until
    )
    SELECT counted.amount, counted.number, last.effective_time, last.version
    FROM counted LEFT JOIN LATERAL (
        SELECT effective_time, version FROM walk WHERE (SELECT count(*) FROM walk) = :limit
        ORDER BY effective_time DESC, version DESC LIMIT 1
    ) last ON true
"""
"""Along the index of one side; the last two columns say where to go on, and are null at its end."""


@dataclasses.dataclass(frozen=True, slots=True)
class Head:
    """An account, and how far its history goes now."""

    id: uuid.UUID
    address: str
    currency: str
    user_id: str | None
    version: int
    ahead_time: datetime.datetime | None
    """When it last changed, where the clock has gone back behind that."""


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
Place = tuple[datetime.datetime, int]
"""The effective time and the version of a backdated transfer, by which they are walked."""


async def get_head(session: Session, account_id: uuid.UUID) -> Head | None:
    """Return an account by its id."""
    ahead = sa.case((Account.updated_time > sa.func.clock_timestamp(), Account.updated_time))
    columns = (Account.id, Account.address, Account.currency, Account.user_id, Account.version, ahead)
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
    """Return what moved in the versions above `after` and up to `until`; `recorded_only` leaves backdated ones out.

    So many versions are read by one statement, which the database cancels when it takes too long.
    """
    statement = _RECORDED_TOTALS if recorded_only else _TOTALS
    (credit, credits_), (debit, debits) = await session.execute(
        statement, {"id": account_id, "after": after, "until": until}
    )
    return Totals(int(credit), int(debit), credits_ + debits)


async def backdated_totals(
    session: Session,
    account_id: uuid.UUID,
    *,
    direction: str,
    position: Place,
    before_time: datetime.datetime,
    versions: tuple[int, int],
    limit: int,
) -> tuple[Totals, Place | None]:
    """Return what was backdated to after a place and before an instant, on one side, and where to go on, if anywhere.

    At most `limit` are walked along. Only versions above the first of `versions` and up to the second count.
    """
    parameters = {"id": account_id, "limit": limit, "before_time": before_time}
    parameters |= dict(zip(("from_time", "last", "after", "until"), (*position, *versions), strict=True))
    found = await session.execute(_BACKDATED_TOTALS[direction], parameters)
    amount, count, time, version = found.one()
    totals = Totals(int(amount), 0, count) if direction == "CREDIT" else Totals(0, int(amount), count)
    return totals, None if time is None else (time, version)


async def list_versions(
    session: Session, account_id: uuid.UUID, *, after: int, until: int, limit: int, recorded_only: bool = False
) -> list[Transaction]:
    """Return the transfers of the versions above `after` and up to `until`, oldest first."""
    statement = _RECORDED_VERSIONS if recorded_only else _VERSIONS
    rows = await session.execute(statement, {"id": account_id, "after": after, "until": until, "limit": limit})
    return [transactions.transaction(row) for row in rows]


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
    from_time, last = after
    parameters = {"from_time": from_time, "last": last, "before_time": before_time, "after": 0, "until": until}
    rows = await session.execute(_BACKDATED, {"id": account_id, "limit": limit, **parameters})
    return [transactions.transaction(row) for row in rows]


def _versions(version: orm.InstrumentedAttribute[int]) -> list[sa.ColumnElement[bool]]:
    return [version > sa.bindparam("after", type_=sa.BigInteger), version <= sa.bindparam("until", type_=sa.BigInteger)]


def _recorded_versions(version: orm.InstrumentedAttribute[int]) -> list[sa.ColumnElement[bool]]:
    return [*_versions(version), Transfer.effective_time.is_(None)]


def _backdated(version: orm.InstrumentedAttribute[int]) -> list[sa.ColumnElement[bool]]:
    return [
        *_versions(version),
        Transfer.effective_time >= sa.bindparam("from_time", type_=_TIME),
        Transfer.effective_time < sa.bindparam("before_time", type_=_TIME),
    ]


def _further_backdated(version: orm.InstrumentedAttribute[int]) -> list[sa.ColumnElement[bool]]:
    last = sa.tuple_(sa.bindparam("from_time", type_=_TIME), sa.bindparam("last", type_=sa.BigInteger))
    return [*_backdated(version), sa.tuple_(Transfer.effective_time, version) > last]


def _listing(conditions: _Conditions, *order: orm.InstrumentedAttribute[Any]) -> sa.Select[Any]:
    """Merge a walk along each side's own index, which takes no more than `limit` steps that meet the conditions."""
    limit = sa.bindparam("limit", type_=sa.Integer)
    sides = []
    for side in transactions.SIDES:
        ordering = [*order, side.version]
        labelled = [column.label(f"order_{number}") for number, column in enumerate(ordering)]
        walk = side.rows.add_columns(*labelled).where(side.account_id == _ID, *conditions(side.version))
        sides.append(walk.order_by(*ordering).limit(limit).subquery())
    both = sa.union_all(*map(sa.select, sides)).subquery()
    return sa.select(both).order_by(*[each for each in both.c if each.name.startswith("order_")]).limit(limit)


def _totals(conditions: _Conditions) -> sa.Select[Any]:
    """Sum up credits in the first row, and debits in the second."""
    sides = {
        side.direction: sa.select(
            sa.literal(side.direction).label("direction"),
            sa.func.coalesce(sa.func.sum(Transfer.amount), 0).label("amount"),
            sa.func.count().label("count"),
        ).where(side.account_id == _ID, *conditions(side.version))
        for side in transactions.SIDES
    }
    both = sa.union_all(sides["CREDIT"], sides["DEBIT"]).subquery()
    return sa.select(both.c.amount, both.c["count"]).order_by(both.c.direction)


def _backdated_totals(side: str) -> sa.TextClause:
    return sa.text(_WALK_BACKDATED.format(side=side)).bindparams(
        sa.bindparam("id", type_=sa.Uuid),
        *(sa.bindparam(name, type_=_TIME) for name in ("from_time", "before_time")),
    )


# These are built once: to build one takes much longer than PostgreSQL needs to answer it.
_ID: Final = sa.bindparam("id", type_=sa.Uuid)
_VERSIONS: Final = _listing(_versions)
_RECORDED_VERSIONS: Final = _listing(_recorded_versions)
_BACKDATED: Final = _listing(_further_backdated, Transfer.effective_time)
_TOTALS: Final = _totals(_versions)
_RECORDED_TOTALS: Final = _totals(_recorded_versions)
_BACKDATED_TOTALS: Final = {side: _backdated_totals(side.lower()) for side in ("DEBIT", "CREDIT")}
