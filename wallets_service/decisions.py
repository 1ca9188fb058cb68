"""What becomes of transfers, decided in memory: a pure function of the accounts and of what was posted before."""

import dataclasses
import datetime
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from wallets_service import errors

ACTIVE: Final = "ACTIVE"
FROZEN: Final = "FROZEN"
CLOSED: Final = "CLOSED"
MIN_BALANCE: Final = -(2**63)
MAX_BALANCE: Final = 2**63 - 1
_UNLIMITED_KINDS: Final = frozenset({"provider", "fx"})
"""First parts of the addresses whose balance mirrors money outside of the ledger, and may be negative without limit."""


Id = str
"""A UUID as canonical text: ids come as text, go as text, and are only compared in between."""
Key = tuple[str, str]
"""The address and currency that name an account to the outside."""


class Account(NamedTuple):
    """An account between two transfers; a tuple, since each transfer makes two and nothing is cheaper to make."""

    id: Id
    key: Key
    balance: int
    held_amount: int
    overdraft_limit: int | None
    status: str
    version: int


@dataclasses.dataclass(frozen=True, slots=True)
class Transfer:
    """A transfer as its maker asks for it; its equality decides whether a repeated id is a replay."""

    id: Id
    debit_account: str
    credit_account: str
    amount: int
    currency: str
    type: str
    payment_id: Id | None = None
    reference: str = ""
    description: str = ""
    metadata: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Posting:
    """A transfer as it is recorded: with what it left on both sides."""

    transfer: Transfer
    debit_account_id: Id
    credit_account_id: Id
    debit_balance_after: int
    credit_balance_after: int
    debit_version: int
    credit_version: int
    created_time: datetime.datetime


Outcome = Posting | errors.Refusal


@dataclasses.dataclass(frozen=True, slots=True)
class Decision:
    """What became of a batch."""

    outcomes: list[Outcome]
    """One per transfer, in the given order; a replay's is its first posting."""
    postings: list[Posting]
    """Those to be recorded."""
    accounts: dict[Key, Account]
    """The accounts that they changed, as they are afterwards."""


def decide(
    transfers: Iterable[Transfer],
    accounts: Mapping[Key, Account],
    posted: Mapping[Id, Posting],
    *,
    time: datetime.datetime,
) -> Decision:
    """Decide each transfer in order, on the balances that the ones before it left.

    `accounts` holds both accounts of every transfer, new ones as they would open; `posted` the earlier postings of the
    same ids. Neither is changed.
    """
    decision = Decision(outcomes=[], postings=[], accounts={})
    known = dict(posted)
    for transfer in transfers:
        earlier = known.get(transfer.id)
        if earlier is not None:
            decision.outcomes.append(_repeated(transfer, earlier))
            continue
        debit_key, credit_key = keys(transfer)
        debit = decision.accounts.get(debit_key) or accounts[debit_key]
        credit = decision.accounts.get(credit_key) or accounts[credit_key]
        refusal = _refusal(transfer, debit, credit)
        if refusal is not None:
            decision.outcomes.append(refusal)
            continue
        debit = decision.accounts[debit_key] = _moved(debit, -transfer.amount)
        credit = decision.accounts[credit_key] = _moved(credit, transfer.amount)
        posting = known[transfer.id] = _posting(transfer, debit, credit, time)
        decision.postings.append(posting)
        decision.outcomes.append(posting)
    return decision


def keys(transfer: Transfer) -> tuple[Key, Key]:
    """Return the accounts of a transfer: the paying and the receiving one."""
    return (transfer.debit_account, transfer.currency), (transfer.credit_account, transfer.currency)


def opened(id_: Id, key: Key) -> Account:
    """Return a new account with the floor of its kind of address."""
    return Account(id_, key, 0, 0, default_overdraft_limit(key[0]), ACTIVE, 0)


def default_overdraft_limit(address: str) -> int | None:
    """Return how far below zero an account may go unless it says otherwise; None is without limit."""
    return None if address.partition("/")[0] in _UNLIMITED_KINDS else 0


def _repeated(transfer: Transfer, earlier: Posting) -> Outcome:
    return earlier if earlier.transfer == transfer else errors.TransferIdReused(id=transfer.id)


def _refusal(transfer: Transfer, debit: Account, credit: Account) -> errors.Refusal | None:
    if debit.key == credit.key:
        return errors.SameAccount(account=transfer.debit_account)
    for account in (debit, credit):
        if account.status != ACTIVE:
            refused = errors.AccountFrozen if account.status == FROZEN else errors.AccountClosed
            return refused(account=account.key[0], currency=transfer.currency)
    left = debit.balance - transfer.amount
    if debit.overdraft_limit is not None and left - debit.held_amount < -debit.overdraft_limit:
        return errors.InsufficientFunds(
            account=transfer.debit_account, currency=transfer.currency, amount=transfer.amount
        )
    if left < MIN_BALANCE:
        return _overflow(transfer, transfer.debit_account)
    if credit.balance + transfer.amount > MAX_BALANCE:
        return _overflow(transfer, transfer.credit_account)
    return None


def _overflow(transfer: Transfer, address: str) -> errors.AmountOverflow:
    return errors.AmountOverflow(account=address, currency=transfer.currency, amount=transfer.amount)


def _moved(account: Account, amount: int) -> Account:
    id_, key, balance, held_amount, overdraft_limit, status, version = account
    return Account(id_, key, balance + amount, held_amount, overdraft_limit, status, version + 1)


def _posting(transfer: Transfer, debit: Account, credit: Account, time: datetime.datetime) -> Posting:
    return Posting(transfer, debit.id, credit.id, debit.balance, credit.balance, debit.version, credit.version, time)
