"""Accounts: opened, found and listed."""

import dataclasses
import uuid
from collections.abc import Sequence

from kobklein.database import Session
from wallets_service import addresses, controls, errors
from wallets_service.models import Account
from wallets_service.repository import accounts as repository


@dataclasses.dataclass(frozen=True, slots=True)
class Filter:
    """Which accounts to list; empty is any."""

    prefix: str = ""
    currency: str = ""


async def create(session: Session, *, address: str, currency: str, overdraft_limit: int | None) -> Account:
    """Open an account; without a limit of its own, it has the one of its kind of address.

    A limit of its own is recorded as a change is. Opening it again is answered with the account as it is. Raises
    AccountExists when that has another limit.
    """
    limit = addresses.default_overdraft_limit(address) if overdraft_limit is None else overdraft_limit
    opened = await repository.insert_account(session, address=address, currency=currency, overdraft_limit=limit)
    if opened is not None and overdraft_limit is not None:
        await controls.record_opening(session, opened)
    account = opened or await get(session, address=address, currency=currency)
    if account.overdraft_limit != limit:
        raise errors.AccountExists(account=address, currency=currency)
    return account


async def get(session: Session, *, address: str, currency: str) -> Account:
    """Return an account; raises AccountNotFound."""
    account = await repository.get_account(session, address=address, currency=currency)
    if account is None:
        raise errors.AccountNotFound(account=address, currency=currency)
    return account


async def get_by_id(session: Session, id_: uuid.UUID) -> Account:
    """Return an account; raises AccountNotFound."""
    account = await repository.get_account_by_id(session, id_)
    if account is None:
        raise errors.AccountNotFound(account=id_)
    return account


async def list_(session: Session, filter_: Filter, *, after: tuple[str, str] | None, limit: int) -> Sequence[Account]:
    """Return accounts by address and currency."""
    return await repository.list_accounts(
        session, prefix=filter_.prefix, currency=filter_.currency, after=after, limit=limit
    )
