"""Wallets: the accounts of users, as users see them."""

import dataclasses
import uuid
from collections.abc import Iterator, Sequence

import sqlalchemy as sa

from kobklein.database import Session
from wallets_service import addresses, errors
from wallets_service.models import Account
from wallets_service.repository import accounts as repository


@dataclasses.dataclass(frozen=True, slots=True)
class Filter:
    """Which wallets to list; None is any."""

    user_id: str | None = None
    currency: str | None = None
    status: str | None = None
    min_balance: int | None = None
    max_balance: int | None = None

    def conditions(self) -> Iterator[sa.ColumnElement[bool]]:
        """Yield what a wallet must meet."""
        if self.user_id is not None:
            yield Account.address == address(self.user_id)
        if self.currency is not None:
            yield Account.currency == self.currency
        if self.status is not None:
            yield Account.status == self.status
        if self.min_balance is not None:
            yield Account.balance >= self.min_balance
        if self.max_balance is not None:
            yield Account.balance <= self.max_balance


def address(user_id: str) -> str:
    """Return where a user's money lies."""
    return f"{addresses.USERS}{user_id}"


def user_id(address: str) -> str | None:
    """Return whose wallet lies there; None if it is no wallet."""
    return addresses.user_id(address)


async def create(session: Session, *, user_id: str, currency: str) -> Account:
    """Open an empty wallet; raises WalletExists."""
    wallet = await repository.insert_account(session, address=address(user_id), currency=currency, overdraft_limit=0)
    if wallet is None:
        raise errors.WalletExists(user_id=user_id, currency=currency)
    return wallet


async def get(session: Session, id_: uuid.UUID, *, owner: str | None) -> Account:
    """Return a wallet; raises WalletNotFound, also for another's than `owner`, who sees that of nobody else."""
    wallet = await repository.get_wallet(session, id_)
    if wallet is None or owner not in (None, wallet.user_id):
        raise errors.WalletNotFound(id=id_)
    return wallet


async def list_(session: Session, filter_: Filter, *, after: uuid.UUID | None, limit: int) -> Sequence[Account]:
    """Return wallets by id."""
    return await repository.list_wallets(session, list(filter_.conditions()), after=after, limit=limit)
