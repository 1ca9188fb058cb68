"""What admins set on accounts: overdraft, limits, free data, freezing, closing.

Every change holds the lock that a batch of transfers takes, so none is decided by half of it; and it is recorded in the
same transaction. A change that changes nothing leaves no record.
"""

import contextlib
import dataclasses
import enum
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, Final

from sqlalchemy import exc

from kobklein import database, money
from kobklein import errors as common_errors
from kobklein.database import Session
from wallets_service import addresses, audit, errors
from wallets_service.ledger.entries import ACTIVE, CLOSED, CREDIT_FROZEN, DEBIT_FROZEN, FROZEN
from wallets_service.models import Account
from wallets_service.repository import accounts as repository
from wallets_service.repository import holds

_OVERDRAFT: Final = "overdraft_limit"
_FREE_DATA: Final = "metadata_"
_FLOOR: Final = "accounts_floor"
_EMPTY: Final = "accounts_closed"


class Default(enum.Enum):
    """Stands for a value that depends on the account."""

    OF_ADDRESS = enum.auto()
    """The one that an account of this address opens with."""
    FINITE = enum.auto()
    """The one that the account has, which must not be without limit."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What an update asks for."""

    values: Mapping[str, Any]
    """New values of the account's columns, by attribute; None lifts a limit.

    The overdraft limit may be a `Default`.
    """
    currencies: Mapping[str, str]
    """In which currency the amounts are given, by the field that says so."""
    etag: str = ""
    """Only if the account still has this tag, if one is given."""


async def update(session: Session, id_: uuid.UUID, change: Change, *, reason: str) -> Account:
    """Change the overdraft limit, the limits or the free data of an account.

    Raises AccountNotFound, AccountClosed, EtagMismatch, OverdraftInUse, and InvalidArgument for amounts in another
    currency than the account's, for an overdraft without limit on an account of a user, and for one that is to end with
    no limit in its place; and for a change of the overdraft or a limit without a reason.
    """
    account = await _locked(session, id_)
    if change.etag.strip('"') not in ("", "*", str(account.revision)):
        raise common_errors.EtagMismatch(etag=account.revision)
    for field, currency in change.currencies.items():
        if currency != account.currency:
            raise common_errors.InvalidArgument.of(field, f"is not {account.currency}, the currency of the account")
    values = _resolved(change.values, account)
    if not reason.strip() and _differing(account, values) - {_FREE_DATA}:
        raise common_errors.InvalidArgument.of("reason", "is required to change the overdraft or a limit")
    return await _changed(session, account, "UPDATE", values, reason)


def _resolved(values: Mapping[str, Any], account: Account) -> Mapping[str, Any]:
    """Return the values as they are for an account."""
    limit = values.get(_OVERDRAFT, 0)
    if limit is None and addresses.of_user(account.address):
        raise common_errors.InvalidArgument.of("account.unlimited_overdraft", "is not for accounts of users")
    if limit is Default.OF_ADDRESS:
        return {**values, _OVERDRAFT: addresses.default_overdraft_limit(account.address)}
    if limit is Default.FINITE:
        if account.overdraft_limit is None:
            raise common_errors.InvalidArgument.of(
                "account.overdraft_limit", "is required to end an overdraft without limit"
            )
        return {**values, _OVERDRAFT: account.overdraft_limit}
    return values


async def freeze(session: Session, id_: uuid.UUID, *, debit: bool, credit: bool, reason: str) -> Account:
    """Stop money from leaving, from coming in, or both; what is stopped already stays so.

    Raises AccountNotFound and AccountClosed.
    """
    account = await _locked(session, id_)
    return await _changed(
        session, account, "FREEZE", {"status": frozen(account.status, debit=debit, credit=credit)}, reason
    )


def frozen(status: str, *, debit: bool, credit: bool) -> str:
    """Return the status in which money is stopped in these directions too."""
    debit = debit or status in (FROZEN, DEBIT_FROZEN)
    credit = credit or status in (FROZEN, CREDIT_FROZEN)
    if debit and credit:
        return FROZEN
    return DEBIT_FROZEN if debit else CREDIT_FROZEN if credit else status


async def unfreeze(session: Session, id_: uuid.UUID, *, reason: str) -> Account:
    """Let money move both ways again; raises AccountNotFound and AccountClosed."""
    return await _changed(session, await _locked(session, id_), "UNFREEZE", {"status": ACTIVE}, reason)


async def close(session: Session, id_: uuid.UUID, *, reason: str) -> Account:
    """Close an account for ever; closing it again is answered with the account.

    Raises AccountNotFound, AccountNotEmpty while it has a balance or holds anything, and AccountInUse while anybody's
    hold is for it, which nobody could take then, and for what fees and conversions of others go through.
    """
    account = await _locked(session, id_, closed=True)
    if addresses.of_platform(account.address):
        raise _in_use(account, "fees and conversions go through it")
    if await holds.is_awaited(session, id_):
        raise _in_use(account, "a hold for it is open")
    return await _changed(session, account, "CLOSE", {"status": CLOSED}, reason)


def _in_use(account: Account, why: str) -> errors.AccountInUse:
    return errors.AccountInUse(account=account.address, currency=account.currency, why=why)


async def _locked(session: Session, id_: uuid.UUID, *, closed: bool = False) -> Account:
    account = await repository.lock_account(session, id_)
    if account is None:
        raise errors.AccountNotFound(account=id_)
    if account.status == CLOSED and not closed:
        raise errors.AccountClosed(account=account.address, currency=account.currency)
    return account


async def _changed(session: Session, account: Account, action: str, values: Mapping[str, Any], reason: str) -> Account:
    if not _differing(account, values):
        return account
    before = _rules(account)
    with _translated(account):
        await repository.update_account(session, account, values)
    await audit.record(
        session, subject=f"account/{account.id}", action=action, before=before, after=_rules(account), reason=reason
    )
    return account


def _differing(account: Account, values: Mapping[str, Any]) -> set[str]:
    """Return the names of the values that are not those of the account already."""
    return {name for name, value in values.items() if getattr(account, name) != value}


async def record_opening(session: Session, account: Account) -> None:
    """Record what was set on an account when it was opened."""
    await audit.record(
        session, subject=f"account/{account.id}", action="OPEN", before=None, after=_rules(account), reason=""
    )


@contextlib.contextmanager
def _translated(account: Account) -> Iterator[None]:
    """Say in the caller's words which rule of the database stands against a change of an account."""
    address, currency, balance, held = account.address, account.currency, account.balance, account.held_amount
    try:
        yield
    except (exc.IntegrityError, exc.DataError) as error:
        broken = database.constraint(error) if isinstance(error, exc.IntegrityError) else _FLOOR
        if broken == _FLOOR:  # Where the balance is near the end of 64 bits, the floor cannot even be worked out.
            raise errors.OverdraftInUse(account=address, currency=currency, used=held - balance) from error
        if broken == _EMPTY:
            raise errors.AccountNotEmpty(account=address, currency=currency, balance=balance, held=held) from error
        raise


def _rules(account: Account) -> dict[str, Any]:
    """Return what is set on an account, as the record of changes shows it."""
    return {
        "address": account.address,
        "currency": account.currency,
        "status": account.status,
        "overdraft_limit": _amount(account.overdraft_limit, account.currency),
        "limits": {
            "transfer_amount": _amount(account.transfer_limit, account.currency),
            "day_amount": _amount(account.day_limit, account.currency),
            "month_amount": _amount(account.month_limit, account.currency),
        },
        "metadata": account.metadata_,
    }


def _amount(minor_units: int | None, currency: str) -> str | None:
    return None if minor_units is None else money.render(minor_units, currency)
