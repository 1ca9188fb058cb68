"""The fee as a leg of the group that it is charged in: the second one, paid by who pays what it is charged for."""

import uuid
from collections.abc import Sequence
from typing import Final

from kobklein import ids
from wallets_service import errors
from wallets_service.ledger import book, entries

TYPE: Final = "FEE"


def id_of(charged: uuid.UUID) -> uuid.UUID:
    """Return the id of the fee of a transfer."""
    return ids.derived(charged, "fee")


def id_of_part(of: uuid.UUID) -> uuid.UUID:
    """Return the id of what is taken of a hold's fee with a part of the hold, or with its end."""
    return ids.derived(of, "fee of hold")


def refusal(
    outcomes: Sequence[book.Outcome], charged: entries.Transfer | entries.NewHold, fee: int
) -> errors.Refusal | None:
    """Return why a group is refused, in the terms of what was asked for; None if it is not.

    The first of `outcomes` is that of the transfer, or the hold, that is charged for, and the second that of its fee,
    unless this is 0. Which of the two the payer cannot pay is chance to them: both are told as one.
    """
    paid_before = (0, charged.amount) if fee else ()
    for place, outcome in enumerate(outcomes):
        if isinstance(outcome, errors.Refusal) and not isinstance(outcome, errors.LinkedTransferRefused):
            by_the_payer = place < len(paid_before)
            return _of_both(outcome, charged, fee, paid=paid_before[place]) if by_the_payer else outcome
    return None


def _of_both(
    found: errors.Refusal, charged: entries.Transfer | entries.NewHold, fee: int, *, paid: int
) -> errors.Refusal:
    """Return a leg's refusal as one of both: how things stood before any leg, and what both of them need.

    `paid` is what the payer had paid, or reserved, when the leg was decided.
    """
    if isinstance(found, errors.InsufficientFunds):
        return errors.InsufficientFunds(
            account=charged.debit_account,
            currency=charged.currency,
            available=found.available_amount + paid,
            held=found.held_amount - (paid if isinstance(charged, entries.NewHold) else 0),
            needed=charged.amount + fee,
            fee=fee,
        )
    if isinstance(found, errors.LimitExceeded) and found.used_amount:
        return errors.LimitExceeded(
            account=charged.debit_account,
            currency=charged.currency,
            period=found.period,
            limit=found.limit_amount,
            used=found.used_amount - paid,
        )
    return found
