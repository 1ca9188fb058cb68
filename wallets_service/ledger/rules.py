"""Why the ledger refuses: every rule as a pure function of what is asked and of how things stand."""

import datetime
from typing import Final

from wallets_service import addresses, errors, fees
from wallets_service.ledger.entries import (
    ACTIVE,
    CLOSED,
    CREDIT_FROZEN,
    DEBIT_FROZEN,
    EXPIRED,
    NO_LIMITS,
    PENDING,
    Account,
    Hold,
    Limits,
    NewHold,
    Posting,
    Transfer,
)

MIN_BALANCE: Final = -(2**63)
MAX_BALANCE: Final = 2**63 - 1
MAX_OPEN_HOLDS: Final = 1_000
"""How many holds of an account may be open, those of fees among them: all of them may end at once, and the batch that
gives them back keeps everybody waiting for so long."""


def sides(asked: Transfer | NewHold, debit: Account, credit: Account) -> errors.Refusal | None:
    """Return why money may not move from one account to the other at all."""
    if debit.key == credit.key:
        return errors.SameAccount(account=asked.debit_account)
    if debit.status not in (ACTIVE, CREDIT_FROZEN):
        return _stopped(debit)
    if credit.status not in (ACTIVE, DEBIT_FROZEN):
        return _stopped(credit)
    return None


def _stopped(account: Account) -> errors.Refusal:
    address, currency = account.key
    if account.status == CLOSED:
        return errors.AccountClosed(account=address, currency=currency)
    return errors.AccountFrozen(account=address, currency=currency, status=account.status)


def funds(asked: Transfer | NewHold, debit: Account) -> errors.Refusal | None:
    """Return why the paying account cannot pay: what is held for others is not there for this."""
    if debit.overdraft_limit is None:
        return None
    available = debit.balance - debit.held_amount + debit.overdraft_limit
    if asked.amount <= available:
        return None
    return errors.InsufficientFunds(
        account=asked.debit_account,
        currency=asked.currency,
        available=available,
        held=debit.held_amount,
        needed=asked.amount,
    )


def range_(transfer: Transfer, debit: Account, credit: Account) -> errors.Refusal | None:
    """Return why a balance would leave the range of 64 bits."""
    if debit.balance - transfer.amount < MIN_BALANCE:
        return _overflow(transfer, transfer.debit_account)
    if credit.balance + transfer.amount > MAX_BALANCE:
        return _overflow(transfer, transfer.credit_account)
    return None


def held_range(made: NewHold, debit: Account) -> errors.Refusal | None:
    """Return why what is held would leave the range of 64 bits, which it can only where the balance has no floor."""
    return _overflow(made, made.debit_account) if debit.held_amount + made.amount > MAX_BALANCE else None


def open_holds(made: NewHold, count: int) -> errors.Refusal | None:
    """Return why an account cannot pay another hold, when so many of its holds are open."""
    if count < MAX_OPEN_HOLDS:
        return None
    return errors.TooManyHolds(account=made.debit_account, currency=made.currency, limit=MAX_OPEN_HOLDS)


def _overflow(transfer: Transfer | NewHold, address: str) -> errors.AmountOverflow:
    return errors.AmountOverflow(account=address, currency=transfer.currency, amount=transfer.amount)


def limits(
    asked: Transfer | NewHold, debit: Account, of_currency: Limits | None, today: datetime.date
) -> errors.Refusal | None:
    """Return which limit of the paying account stands against it.

    A limit of the account's own goes before that of its currency, which holds for wallets only.
    """
    default = of_currency if of_currency is not None and addresses.wallet(debit.key[0]) else NO_LIMITS
    if default is NO_LIMITS and debit.transfer_limit is debit.day_limit is debit.month_limit is None:
        return None
    day, month = spent(debit, today)
    for name, own, common, used in (
        ("transfer", debit.transfer_limit, default.transfer, 0),
        ("day", debit.day_limit, default.day, day),
        ("month", debit.month_limit, default.month, month),
    ):
        limit = own if own is not None else common
        if limit is not None and used + asked.amount > limit:
            return errors.LimitExceeded(
                account=asked.debit_account, currency=asked.currency, period=name, limit=limit, used=used
            )
    return None


def spent(account: Account, today: datetime.date) -> tuple[int, int]:
    """Return what counts against an account's limits of this day and this month."""
    date = account.spent_date
    if date == today:
        return account.day_spent, account.month_spent
    if date is not None and (date.year, date.month) == (today.year, today.month):
        return 0, account.month_spent
    return 0, 0


def times(transfer: Transfer, time: datetime.datetime) -> errors.Refusal | None:
    """Return why a transfer comes too late, or counts from a time that is not past yet."""
    if transfer.expires_time is not None and time >= transfer.expires_time:
        return errors.TransferTooLate(id=transfer.id)
    if transfer.effective_time is not None and transfer.effective_time >= time:
        return errors.EffectiveTimeNotPast(id=transfer.id)
    return None


def posting_of(transfer: Transfer, hold: Hold | None) -> errors.Refusal | None:
    """Return why a transfer may not take the money of the hold that it names."""
    if hold is None:
        return errors.HoldNotFound(id=transfer.hold_id)
    if (hold.made.debit_key, hold.made.credit_key) != (transfer.debit_key, transfer.credit_key):
        return errors.HoldOfOtherAccounts(id=transfer.hold_id)
    if hold.status != PENDING:
        return errors.HoldEnded(id=transfer.hold_id, status=hold.status)
    if transfer.amount > hold.remaining_amount:
        return errors.HoldExceeded(id=transfer.hold_id, currency=transfer.currency, remaining=hold.remaining_amount)
    return None


def expired(hold: Hold, time: datetime.datetime) -> bool:
    """Return whether a hold's time is over while it still holds money, or was given back for that."""
    return hold.status == EXPIRED or (hold.status == PENDING and time >= hold.expires_time)


def given_back(account: Account, hold: Hold, zone: datetime.tzinfo) -> Account:
    """Return the paying account without what a hold still holds, which no longer counts in its day and month either."""
    amount = hold.remaining_amount
    made_date = hold.created_time.astimezone(zone).date()
    same_day = account.spent_date == made_date
    same_month = account.spent_date is not None and account.spent_date.replace(day=1) == made_date.replace(day=1)
    return account._replace(
        held_amount=account.held_amount - amount,
        day_spent=max(0, account.day_spent - amount * same_day),
        month_spent=max(0, account.month_spent - amount * same_month),
    )


def fee_settled(of: Hold | None, fee: Hold | None) -> bool:
    """Return whether the hold of a fee follows its hold: what is due of it is taken, and what is left ends with it."""
    return (
        of is not None
        and of.made.fee_terms is not None
        and fee is not None
        and fee.posted_amount == fees.due(of.made.fee_terms, of.posted_amount)
        and (fee.status == PENDING) == (of.status == PENDING and fee.posted_amount < fee.made.amount)
    )


def reversal(transfer: Transfer, original: Posting | None, reversed_amount: int) -> errors.Refusal | None:
    """Return why a transfer may not take back the one that it names, of which `reversed_amount` is taken back."""
    if original is None:
        return errors.OriginalNotFound(id=transfer.reverses_id)
    made = original.transfer
    if made.reverses_id is not None:
        return errors.NotReversible(id=made.id, why="it is a reversal itself")
    if (made.debit_key, made.credit_key) != (transfer.credit_key, transfer.debit_key):
        return errors.NotReversible(id=made.id, why="a reversal goes the other way between the same accounts")
    if reversed_amount + transfer.amount > made.amount:
        return errors.ReversalExceeded(
            id=made.id, currency=made.currency, reversible=made.amount - reversed_amount, amount=transfer.amount
        )
    return None
