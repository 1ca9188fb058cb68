"""Transfers, as they were posted."""

import dataclasses
import uuid
from collections.abc import Iterable
from typing import Any, Final

import sqlalchemy as sa

from kobklein.database import Session
from wallets_service.ledger import rows
from wallets_service.ledger.entries import Id, Posting
from wallets_service.models import Account
from wallets_service.models import Transfer as Row


@dataclasses.dataclass(frozen=True, slots=True)
class Recorded:
    """A posted transfer, and how much of it was taken back by now."""

    posting: Posting
    reversed_amount: int


async def get_transfers(session: Session, ids: Iterable[Id]) -> dict[Id, Recorded]:
    """Return those of the transfers that are posted. All of it is of one instant, as one statement sees it."""
    found = await session.execute(_TRANSFERS.where(Row.id.in_(map(uuid.UUID, ids))))
    return {row[0]: _recorded(*row) for row in found}


_debit = sa.orm.aliased(Account)
_credit = sa.orm.aliased(Account)
_reversal = sa.orm.aliased(Row)
_reversed_amount = (
    sa.select(sa.func.coalesce(sa.func.sum(_reversal.amount), 0).cast(sa.BigInteger))
    .where(_reversal.reverses_id == Row.id)
    .scalar_subquery()
)
_columns: Final[list[Any]] = [sa.literal_column(column) for column in rows.TRANSFER]
_TRANSFERS: Final[sa.Select[Any]] = (
    sa.select(*_columns, _debit.address, _credit.address, _reversed_amount)
    .select_from(Row)
    .join(_debit, _debit.id == Row.debit_account_id)
    .join(_credit, _credit.id == Row.credit_account_id)
)


def _recorded(*row: Any) -> Recorded:
    *columns, debit_account, credit_account, reversed_amount = row
    return Recorded(rows.posting(columns, debit_account, credit_account), reversed_amount)
