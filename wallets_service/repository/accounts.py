"""Accounts, and wallets, which are accounts of users."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from kobklein.database import Session
from wallets_service.ledger import entries
from wallets_service.models import Account


async def insert_account(
    session: Session, *, address: str, currency: str, overdraft_limit: int | None
) -> Account | None:
    """Insert an empty account and return it; None when it is there already."""
    statement = (
        postgresql.insert(Account)
        .values(
            id=entries.account_id(address, currency),
            address=address,
            currency=currency,
            overdraft_limit=overdraft_limit,
        )
        .on_conflict_do_nothing()
        .returning(Account.id)
    )
    inserted = (await session.scalars(statement)).one_or_none()
    return await session.get(Account, inserted) if inserted else None


async def get_account(session: Session, *, address: str, currency: str) -> Account | None:
    """Return an account by its name."""
    found = sa.select(Account).where(Account.address == address, Account.currency == currency)
    return (await session.scalars(found)).one_or_none()


async def get_account_by_id(session: Session, id_: uuid.UUID) -> Account | None:
    """Return an account by its id."""
    return (await session.scalars(sa.select(Account).where(Account.id == id_))).one_or_none()


async def lock_account(session: Session, id_: uuid.UUID) -> Account | None:
    """Lock an account as a batch of transfers does, so that none changes it until the transaction ends; return it.

    It is read after the lock is there: read by the same statement, its holds could be older than its held amount.
    """
    await session.execute(sa.select(Account.id).where(Account.id == id_).with_for_update(key_share=True))
    return await get_account_by_id(session, id_)


async def update_account(session: Session, account: Account, values: Mapping[str, Any]) -> None:
    """Set attributes of a locked account, and count the change; its time never goes back, nor behind a transfer's."""
    await session.execute(
        sa.update(Account)
        .where(Account.id == account.id)
        .values(
            {
                **{getattr(Account, name): value for name, value in values.items()},
                Account.revision: Account.revision + 1,
                Account.updated_time: sa.func.greatest(Account.updated_time, sa.func.clock_timestamp()),
            }
        )
        .execution_options(synchronize_session=False)
    )
    await session.refresh(account)


async def list_accounts(
    session: Session, *, prefix: str, currency: str, after: tuple[str, str] | None, limit: int
) -> Sequence[Account]:
    """Return accounts by address and currency."""
    accounts = sa.select(Account).order_by(Account.address, Account.currency).limit(limit)
    if prefix:
        accounts = accounts.where(Account.address.startswith(prefix, autoescape=True))
    if currency:
        accounts = accounts.where(Account.currency == currency)
    if after is not None:
        accounts = accounts.where(sa.tuple_(Account.address, Account.currency) > sa.tuple_(*after))
    return (await session.scalars(accounts)).all()


async def get_wallet(session: Session, id_: uuid.UUID) -> Account | None:
    """Return an account by its id, if it is a user's."""
    found = sa.select(Account).where(Account.id == id_, Account.user_id.is_not(None))
    return (await session.scalars(found)).one_or_none()


async def list_wallets(
    session: Session, conditions: Sequence[sa.ColumnElement[bool]], *, after: uuid.UUID | None, limit: int
) -> Sequence[Account]:
    """Return the users' accounts that meet every condition, by id."""
    wallets = sa.select(Account).where(Account.user_id.is_not(None), *conditions).order_by(Account.id).limit(limit)
    if after is not None:
        wallets = wallets.where(Account.id > after)
    return (await session.scalars(wallets)).all()
