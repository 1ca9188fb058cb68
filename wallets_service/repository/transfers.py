"""Transfers, as they were posted."""

import dataclasses
import uuid
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from kobklein.database import Session
from wallets_service.ledger import free_data
from wallets_service.ledger.entries import Id, Posting, Transfer
from wallets_service.models import Account
from wallets_service.models import Transfer as Row


@dataclasses.dataclass(frozen=True, slots=True)
class Recorded:
    """A posted transfer, and how much of it was taken back by now."""

    posting: Posting
    reversed_amount: int


async def get_transfers(session: Session, ids: Iterable[Id]) -> dict[Id, Recorded]:
    """Return those of the transfers that are posted. All of it is of one instant, as one statement sees it."""
    rows = await session.execute(_TRANSFERS.where(Row.id.in_(map(uuid.UUID, ids))))
    return {row.id: _recorded(row) for row in rows}


def _text(column: Any) -> sa.ColumnElement[str]:
    return sa.cast(column, sa.Text).label(column.key)


_debit = sa.orm.aliased(Account)
_credit = sa.orm.aliased(Account)
_reversal = sa.orm.aliased(Row)
_reversed_amount = (
    sa.select(sa.func.coalesce(sa.func.sum(_reversal.amount), 0).cast(sa.BigInteger))
    .where(_reversal.reverses_id == Row.id)
    .scalar_subquery()
)
_TRANSFERS = (
    sa.select(
        _text(Row.id),
        _debit.address.label("debit_account"),
        _credit.address.label("credit_account"),
        Row.amount,
        Row.currency,
        Row.type,
        _text(Row.payment_id),
        Row.reference,
        Row.description,
        sa.cast(Row.metadata_, sa.Text).label("free_data"),
        _text(Row.hold_id),
        _text(Row.reverses_id),
        Row.effective_time,
        _text(Row.debit_account_id),
        _text(Row.credit_account_id),
        Row.debit_balance_after,
        Row.credit_balance_after,
        Row.debit_version,
        Row.credit_version,
        Row.created_time,
        _text(Row.group_id),
        _reversed_amount.label("reversed_amount"),
    )
    .join(_debit, _debit.id == Row.debit_account_id)
    .join(_credit, _credit.id == Row.credit_account_id)
)


def _recorded(row: Any) -> Recorded:
    transfer = Transfer(
        id=row.id,
        debit_account=row.debit_account,
        credit_account=row.credit_account,
        amount=row.amount,
        currency=row.currency,
        type=row.type,
        payment_id=row.payment_id,
        reference=row.reference,
        description=row.description,
        metadata=free_data.loads(row.free_data),
        hold_id=row.hold_id,
        reverses_id=row.reverses_id,
        effective_time=row.effective_time,
    )
    posting = Posting(
        transfer,
        debit_account_id=row.debit_account_id,
        credit_account_id=row.credit_account_id,
        debit_balance_after=row.debit_balance_after,
        credit_balance_after=row.credit_balance_after,
        debit_version=row.debit_version,
        credit_version=row.credit_version,
        created_time=row.created_time,
        group_id=row.group_id,
    )
    return Recorded(posting, row.reversed_amount)
