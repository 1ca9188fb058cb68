"""Transactions: transfers as seen from one wallet."""

import dataclasses
import datetime
import uuid
from collections.abc import Iterator, Sequence

import sqlalchemy as sa

from kobklein.database import Session
from wallets_service import errors, wallets
from wallets_service.models import Transaction, Transfer
from wallets_service.repository import transactions as repository


@dataclasses.dataclass(frozen=True, slots=True)
class Filter:
    """Which transactions of a wallet to list; None or empty is any."""

    types: Sequence[str] = ()
    created_from: datetime.datetime | None = None
    created_before: datetime.datetime | None = None
    payment_id: uuid.UUID | None = None

    def conditions(self) -> Iterator[sa.ColumnElement[bool]]:
        """Yield what a transfer must meet."""
        if self.types:
            yield Transfer.type.in_(self.types)
        if self.created_from is not None:
            yield Transfer.created_time >= self.created_from
        if self.created_before is not None:
            yield Transfer.created_time < self.created_before
        if self.payment_id is not None:
            yield Transfer.payment_id == self.payment_id


async def list_(
    session: Session, wallet_id: uuid.UUID, filter_: Filter, *, owner: str | None, before: int | None, limit: int
) -> list[Transaction]:
    """Return a wallet's transactions, newest first, those of a version below `before`.

    Raises WalletNotFound, also for another's wallet than `owner`'s.
    """
    await wallets.get(session, wallet_id, owner=owner)
    return await repository.list_transactions(
        session, wallet_id, list(filter_.conditions()), before=before, limit=limit
    )


async def get(session: Session, id_: uuid.UUID, *, owner: str | None) -> Transaction:
    """Return a transaction as seen from the wallet of `owner`; with no owner, from the paying wallet if there is one.

    Raises TransactionNotFound, also when no wallet of the owner takes part.
    """
    transaction = await repository.get_transaction(session, id_, user_id=owner)
    if transaction is None:
        raise errors.TransactionNotFound(id=id_)
    return transaction
