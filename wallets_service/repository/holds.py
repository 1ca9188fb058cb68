"""Holds as they read now: one whose time is over reads as expired, whether or not it was given back yet."""

import dataclasses
import datetime
import uuid
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from kobklein.database import Session
from wallets_service.ledger import entries, rows
from wallets_service.models import Account, Hold, Transfer

# The time of the statement is the same for all of its rows and conditions: no row can meet a filter and read otherwise.
_LAPSED: Final = sa.and_(Hold.status == entries.PENDING, Hold.expires_time <= sa.func.statement_timestamp())

_COLUMNS: Final[list[Any]] = [sa.literal_column(column) for column in rows.HOLD]

_debit = sa.orm.aliased(Account)
_credit = sa.orm.aliased(Account)
_fee = sa.orm.aliased(Hold)
# Made once, since a statement with aliases takes milliseconds to make, and the event loop stands still meanwhile.
_HOLDS: Final[sa.Select[Any]] = (
    sa.select(
        *_COLUMNS,
        _debit.address,
        _credit.address,
        _LAPSED,
        Hold.expires_time,
        sa.func.coalesce(_fee.posted_amount, 0),
    )
    .select_from(Hold)
    .join(_debit, _debit.id == Hold.debit_account_id)
    .join(_credit, _credit.id == Hold.credit_account_id)
    .outerjoin(_fee, _fee.fee_of == Hold.id)
)
_DUE: Final = (
    sa.select(Hold.expires_time, Hold.id, _debit.address, _credit.address, Hold.currency)
    .join(_debit, _debit.id == Hold.debit_account_id)
    .join(_credit, _credit.id == Hold.credit_account_id)
    .where(_LAPSED)
    .order_by(Hold.expires_time, Hold.id)
)

Position = tuple[datetime.datetime, uuid.UUID]
"""A time of a hold, by which a list is ordered, and its id."""


class Held(NamedTuple):
    """A hold, and how much of its fee is taken; that is 0 where there is none."""

    hold: entries.Hold
    posted_fee_amount: int = 0
    part: entries.Posting | None = None
    """What was just taken of it, where a call did that."""
    fee: entries.Posting | None = None
    """What was charged for that part."""


class Due(NamedTuple):
    """A hold whose time is over and that was not given back yet."""

    expires_time: datetime.datetime
    id: uuid.UUID
    debit_account: str
    credit_account: str
    currency: str


def has_status(status: str) -> sa.ColumnElement[bool]:
    """Return the condition that a hold reads as being in a status."""
    if status == entries.EXPIRED:
        return sa.or_(Hold.status == status, _LAPSED)
    return sa.and_(Hold.status == status, sa.not_(_LAPSED))


async def get_hold(session: Session, id_: uuid.UUID) -> Held | None:
    """Return a hold."""
    row = (await session.execute(_HOLDS.where(Hold.id == id_))).one_or_none()
    return None if row is None else _hold(*row)


async def list_holds(
    session: Session,
    conditions: Sequence[sa.ColumnElement[bool]],
    *,
    address: str | None,
    before: Position | None,
    limit: int,
) -> list[Held]:
    """Return the holds that meet every condition, newest first; with an address, those that it pays or is paid by.

    The holds of fees are left out: each is part of the one that it is the fee of.
    """
    walk = (
        sa.select(Hold.id, Hold.created_time)
        .where(Hold.fee_of.is_(None), *conditions)
        .order_by(*_newest_first(Hold))
        .limit(limit)
    )
    if before is not None:
        walk = walk.where(sa.tuple_(Hold.created_time, Hold.id) < sa.tuple_(*before))
    found = (walk if address is None else _of_address(walk, address)).subquery()
    listed = await session.execute(
        _HOLDS.join(found, found.c.id == Hold.id).order_by(*_newest_first(Hold)).limit(limit)
    )
    return [_hold(*row) for row in listed]


def _of_address(walk: sa.Select[uuid.UUID, datetime.datetime], address: str) -> sa.CompoundSelect[Any]:
    """Return the walk down the index of each side of each account of an address.

    A page costs the same wherever it lies. No hold is on both sides: an account cannot pay itself, and no two accounts
    of an address have one currency.
    """
    account = sa.select(Account.id).where(Account.address == address).subquery()
    sides = []
    for own in (Hold.debit_account_id, Hold.credit_account_id):
        side = walk.where(own == account.c.id).correlate(account).lateral()
        sides.append(sa.select(side).select_from(account.join(side, sa.true())))
    return sa.union_all(*sides)


def _newest_first(of: Any) -> tuple[sa.UnaryExpression[Any], sa.UnaryExpression[Any]]:
    return of.created_time.desc(), of.id.desc()


def _hold(*row: Any) -> Held:
    *columns, debit_account, credit_account, lapsed, expires_time, posted_fee_amount = row
    hold = rows.hold(columns, debit_account, credit_account)
    if lapsed:
        hold = dataclasses.replace(hold, status=entries.EXPIRED, updated_time=expires_time)
    return Held(hold, posted_fee_amount)


async def is_awaited(session: Session, account_id: uuid.UUID) -> bool:
    """Return whether an open hold is for an account."""
    awaited = sa.exists().where(Hold.credit_account_id == account_id, Hold.status == entries.PENDING, sa.not_(_LAPSED))
    return bool(await session.scalar(sa.select(awaited)))


async def get_transfer_amount(session: Session, id_: uuid.UUID) -> int | None:
    """Return how much a transfer moved; None when there is none."""
    return (await session.scalars(sa.select(Transfer.amount).where(Transfer.id == id_))).one_or_none()


async def list_due(
    session: Session,
    *,
    account_id: uuid.UUID | None = None,
    after: Position | None = None,
    limit: int,
) -> list[Due]:
    """Return holds whose time is over but that nobody gave back, the longest overdue first; those after `after`."""
    due = _DUE.limit(limit)
    if account_id is not None:
        due = due.where(Hold.debit_account_id == account_id)
    if after is not None:
        due = due.where(sa.tuple_(Hold.expires_time, Hold.id) > sa.tuple_(*after))
    return [Due(*row) for row in await session.execute(due)]
