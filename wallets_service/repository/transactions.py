"""Transfers, as seen from one of their accounts."""

import dataclasses
import uuid
from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import orm

from kobklein.database import Session
from wallets_service.models import Account, Transaction, Transfer

_FIELD_COUNT: Final = len(dataclasses.fields(Transaction))


def _side(direction: str) -> sa.Select[Any]:
    """Select transfers as seen from one of their accounts, with the columns in the order of a transaction's fields."""
    own, other = ("debit", "credit") if direction == "DEBIT" else ("credit", "debit")
    counterparty = sa.orm.aliased(Account)
    columns = Transfer.__table__.c
    return sa.select(
        columns.id,
        columns[f"{own}_account_id"].label("wallet_id"),
        columns.type,
        sa.literal(direction).label("direction"),
        columns.amount,
        columns.currency,
        columns[f"{own}_balance_after"].label("balance_after"),
        columns[f"{own}_version"].label("version"),
        counterparty.address.label("counterparty"),
        columns.payment_id,
        columns.reference,
        columns.description,
        columns.metadata,
        columns.created_time,
        sa.func.coalesce(columns.effective_time, columns.created_time).label("effective_time"),
        columns.hold_id,
        columns.reverses_id,
        columns.group_id,
    ).join(counterparty, counterparty.id == columns[f"{other}_account_id"])


@dataclasses.dataclass(frozen=True, slots=True)
class Side:
    """One of the two sides that a transfer is seen from."""

    direction: str
    account_id: orm.InstrumentedAttribute[uuid.UUID]
    version: orm.InstrumentedAttribute[int]
    rows: sa.Select[Any]
    """Every transfer as it is seen from there; `transaction` makes transactions of its rows."""


SIDES: Final = (
    Side("DEBIT", Transfer.debit_account_id, Transfer.debit_version, _side("DEBIT")),
    Side("CREDIT", Transfer.credit_account_id, Transfer.credit_version, _side("CREDIT")),
)


def transaction(row: Sequence[Any]) -> Transaction:
    """Return the transaction in a row, which may have other columns behind."""
    return Transaction(*row[:_FIELD_COUNT])


async def list_transactions(
    session: Session,
    wallet_id: uuid.UUID,
    conditions: Sequence[sa.ColumnElement[bool]],
    *,
    after: int,
    before: int,
    limit: int,
) -> list[Transaction]:
    """Return the transfers of a wallet that meet every condition, newest first, of the versions between two others.

    Each side is a walk down its own index, so a page costs the same wherever it lies in the history.
    """
    sides = [
        side.rows.where(side.account_id == wallet_id, side.version > after, side.version < before, *conditions)
        .order_by(side.version.desc())
        .limit(limit)
        for side in SIDES
    ]
    both = sa.union_all(*[sa.select(side.subquery()) for side in sides]).subquery()
    rows = await session.execute(sa.select(both).order_by(both.c.version.desc()).limit(limit))
    return [transaction(row) for row in rows]


async def get_transaction(session: Session, id_: uuid.UUID, *, user_id: str | None) -> Transaction | None:
    """Return a transfer as seen from the wallet of `user_id`; when that is None, from the paying wallet if there is."""
    for side in SIDES:
        wallet = sa.select(Account.id).where(
            Account.user_id.is_not(None) if user_id is None else Account.user_id == user_id
        )
        found = await session.execute(side.rows.where(Transfer.id == id_, side.account_id.in_(wallet)))
        row = found.one_or_none()
        if row is not None:
            return transaction(row)
    return None
