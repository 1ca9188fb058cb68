"""Transactions: transfers as seen from one wallet, or from any account."""

import dataclasses
import datetime
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import sqlalchemy as sa

from kobklein.database import Session
from wallets_service import errors, statements
from wallets_service.ledger import entries, free_data
from wallets_service.models import Transaction, Transfer
from wallets_service.repository import accounts, histories, transfers
from wallets_service.repository import transactions as repository
from wallets_service.repository.histories import Head

MOST_WALKED: Final = 20_000
"""How many transactions one page looks at; where few of them meet the conditions, the page is short, or even empty."""


@dataclasses.dataclass(frozen=True, slots=True)
class Filter:
    """Which transactions of an account to list; None or empty is any."""

    types: Sequence[str] = ()
    created_from: datetime.datetime | None = None
    created_before: datetime.datetime | None = None
    payment_id: uuid.UUID | None = None
    reference: str = ""
    counterparty: str = ""
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)
    effective_from: datetime.datetime | None = None
    effective_before: datetime.datetime | None = None

    @property
    def recorded_from(self) -> datetime.datetime | None:
        """When the first of them can have been recorded: nothing counts later than that."""
        times = [time for time in (self.created_from, self.effective_from) if time is not None]
        return max(times, default=None)

    def conditions(self, counterparty_id: uuid.UUID | None) -> Iterator[sa.ColumnElement[bool]]:
        """Yield what a transfer must meet, beside when it was recorded."""
        effective_time = sa.func.coalesce(Transfer.effective_time, Transfer.created_time)
        if self.types:
            yield Transfer.type.in_(self.types)
        if self.payment_id is not None:
            yield Transfer.payment_id == self.payment_id
        if self.reference:
            yield Transfer.reference == self.reference
        if counterparty_id is not None:
            yield sa.or_(Transfer.debit_account_id == counterparty_id, Transfer.credit_account_id == counterparty_id)
        for key, text in self.metadata.items():
            yield sa.or_(*(Transfer.metadata_.contains({key: value}) for value in free_data.readings(text)))
        if self.effective_from is not None:
            yield effective_time >= self.effective_from
        if self.effective_before is not None:
            yield effective_time < self.effective_before


async def list_(
    session: Session,
    account_id: uuid.UUID,
    filter_: Filter,
    *,
    owner: str | None,
    wallets_only: bool,
    before: int | None,
    limit: int,
) -> tuple[list[Transaction], int | None]:
    """Return an account's transactions, newest first, of versions below `before`, and where to go on, if anywhere.

    It walks the account's own history between the times of the filter, which needs no index that every transfer would
    have to keep up, and stops after MOST_WALKED of it. A payment's transfers have an index, and need no such end.
    Raises WalletNotFound and AccountNotFound, as `statements.account` does.
    """
    account = await statements.account(session, account_id, owner=owner, wallets_only=wallets_only)
    first, end = await _versions(session, account, filter_, before)
    counterparty_id = None
    if filter_.counterparty:
        other = await accounts.get_account(session, address=filter_.counterparty, currency=account.currency)
        if other is None or other.id == account_id:
            return [], None
        counterparty_id = other.id
    after = first if filter_.payment_id is not None else max(first, end - 1 - MOST_WALKED)
    found = await repository.list_transactions(
        session, account_id, list(filter_.conditions(counterparty_id)), after=after, before=end, limit=limit + 1
    )
    if len(found) > limit:
        return found[:limit], found[limit - 1].version
    return found, after + 1 if after > first else None


async def _versions(session: Session, account: Head, filter_: Filter, before: int | None) -> tuple[int, int]:
    """Return the versions that all that is asked for lies between: above the first and below the second."""
    first, end = 0, account.version + 1 if before is None else before
    if before is None and filter_.created_before is not None:
        end = 1 + (await _before(session, account, filter_.created_before))
    if filter_.recorded_from is not None:
        first = await _before(session, account, filter_.recorded_from)
    return first, end


async def _before(session: Session, account: Head, time: datetime.datetime) -> int:
    return (await histories.point_before(session, account.id, time, until=account.version)).version


async def get(session: Session, id_: uuid.UUID, *, owner: str | None) -> Transaction:
    """Return a transaction as seen from the wallet of `owner`; with no owner, from the paying wallet if there is one.

    Raises TransactionNotFound, also when no wallet of the owner takes part.
    """
    transaction = await repository.get_transaction(session, id_, user_id=owner)
    if transaction is None:
        raise errors.TransactionNotFound(id=id_)
    return transaction


async def get_transfer(session: Session, id_: uuid.UUID) -> entries.Posting:
    """Return any transfer as it is recorded, as seen from neither side; raises TransferNotFound."""
    found = await transfers.get_transfers(session, [str(id_)])
    if not found:
        raise errors.TransferNotFound(id=id_)
    return found[str(id_)].posting
