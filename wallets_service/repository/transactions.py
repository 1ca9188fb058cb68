"""Transfers, as seen from one of their accounts."""

import uuid
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from kobklein.database import Session
from wallets_service.models import Account, Transaction, Transfer


async def list_transactions(
    session: Session,
    wallet_id: uuid.UUID,
    conditions: Sequence[sa.ColumnElement[bool]],
    *,
    before: int | None,
    limit: int,
) -> list[Transaction]:
    """Return the transfers of a wallet that meet every condition, newest first.

    Each side is a walk down its own index, so a page costs the same wherever it lies in the history.
    """
    sides = [
        _side(direction)
        .where(own == wallet_id, *conditions, *([version < before] if before is not None else ()))
        .order_by(version.desc())
        .limit(limit)
        for direction, own, version in (
            ("DEBIT", Transfer.debit_account_id, Transfer.debit_version),
            ("CREDIT", Transfer.credit_account_id, Transfer.credit_version),
        )
    ]
    both = sa.union_all(*[sa.select(side.subquery()) for side in sides]).subquery()
    rows = await session.execute(sa.select(both).order_by(both.c.version.desc()).limit(limit))
    return [Transaction(**row) for row in rows.mappings()]


async def get_transaction(session: Session, id_: uuid.UUID, *, user_id: str | None) -> Transaction | None:
    """Return a transfer as seen from the wallet of `user_id`; when that is None, from the paying wallet if there is."""
    for direction, own in (("DEBIT", Transfer.debit_account_id), ("CREDIT", Transfer.credit_account_id)):
        wallet = sa.select(Account.id).where(
            Account.user_id.is_not(None) if user_id is None else Account.user_id == user_id
        )
        found = await session.execute(_side(direction).where(Transfer.id == id_, own.in_(wallet)))
        row = found.mappings().one_or_none()
        if row is not None:
            return Transaction(**row)
    return None


def _side(direction: str) -> sa.Select[Any]:
    """Select transfers as seen from one of their accounts."""
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
