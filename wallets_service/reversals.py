"""Reversals: new transfers that take posted ones back, whole or in part, and in total never more than they moved.

As with transfers, the id is derived from the caller's key, and the ledger is the idempotency store. That no more is
taken back than was moved is decided by the ledger, under the locks of both accounts.

A reversal takes back one movement of money and nothing else. It does not give back the fee, which is a transfer of its
own, nor the other side of a conversion, each side of which is reversed by itself and at its own amount, whatever the
rate is today. Of a hold's posting, the money goes back to the payer, not into the hold. Of a deposit, it goes back to
the provider's account here, and nobody tells the provider: that is what a refund of the payment is for. Limits neither
stop a reversal nor get back what was counted.
"""

import dataclasses
import uuid
from typing import Final

from kobklein import calls, database
from kobklein import errors as kobklein_errors
from wallets_service import errors
from wallets_service.ledger import entries
from wallets_service.ledger.group_commit import Ledger
from wallets_service.repository import transfers as repository

_TYPE: Final = "REFUND"
_REMAINDER: Final = {"extent": "REMAINDER"}
"""Marks, as free data, a reversal of all that was left: it tells such a request from one for the same amount."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A reversal to make; `amount` is minor units, None for all that is not taken back yet."""

    original_id: uuid.UUID
    amount: int | None
    currency: str
    """That of the original; empty if the caller does not say."""
    reason: str

    def transfer(self, id_: uuid.UUID, original: entries.Transfer, *, remainder: int) -> entries.Transfer:
        """Return it as the ledger takes it."""
        return entries.Transfer(
            str(id_),
            original.credit_account,
            original.debit_account,
            remainder if self.amount is None else self.amount,
            original.currency,
            _TYPE,
            description=self.reason,
            metadata=_REMAINDER if self.amount is None else {},
            reverses_id=original.id,
        )


async def reverse(
    ledger: Ledger, sessions: database.Sessions, order: Order, *, id_: uuid.UUID, dry_run: bool = False
) -> entries.Posting:
    """Take a transfer back; the answer is the same however often it is asked for under the id `id_` of its key.

    If all that is left is asked for, that is read first and then posted as an amount: should others have taken some of
    it back in between, ReversalExceeded says so, and nothing is done. If the process dies before the ledger commits,
    nothing has happened, and afterwards everything has; the repetition finds out which.

    Raises OriginalNotFound, NotReversible, ReversalExceeded, the ledger's other refusals, which all leave the key free,
    IdempotencyKeyReused, and InvalidArgument for a currency that is not the original's.
    """
    recorded = await database.transaction(sessions, lambda session: _find(session, order, id_))
    if str(id_) in recorded:
        return _repeated(recorded, order, id_)
    transfer = _transfer(recorded.get(str(order.original_id)), order, id_)
    (outcome,) = await (ledger.preview([transfer]) if dry_run else ledger.post([transfer]))
    if isinstance(outcome, errors.TransferIdReused):
        # A concurrent call with this key was faster, when another amount was left.
        recorded = await database.transaction(sessions, lambda session: _find(session, order, id_))
        return _repeated(recorded, order, id_)
    if isinstance(outcome, errors.Refusal):
        raise outcome
    assert isinstance(outcome, entries.Posting)  # noqa: S101  # what becomes of a transfer that is not refused
    return outcome


_Recorded = dict[entries.Id, repository.Recorded]


async def _find(session: database.Session, order: Order, id_: uuid.UUID) -> _Recorded:
    """Return original and reversal as of one instant: what is left before the reversal, or the reversal."""
    return await repository.get_transfers(session, [str(order.original_id), str(id_)])


def _transfer(original: repository.Recorded | None, order: Order, id_: uuid.UUID) -> entries.Transfer:
    if original is None:
        raise errors.OriginalNotFound(id=order.original_id)
    made = original.posting.transfer
    if order.currency not in ("", made.currency):
        raise kobklein_errors.InvalidArgument.of("currency", "is not that of the transaction")
    remainder = made.amount - original.reversed_amount
    if remainder == 0:
        raise errors.ReversalExceeded(
            id=made.id, currency=made.currency, reversible=0, amount=order.amount or made.amount
        )
    return order.transfer(id_, made, remainder=remainder)


def _repeated(recorded: _Recorded, order: Order, id_: uuid.UUID) -> entries.Posting:
    """Return the first answer again; raises IdempotencyKeyReused if it was to another request."""
    earlier, original = recorded.get(str(id_)), recorded.get(str(order.original_id))
    if earlier is None or original is None:
        raise kobklein_errors.IdempotencyKeyReused
    posting, made = earlier.posting, original.posting.transfer
    same = order.transfer(id_, made, remainder=posting.transfer.amount) == posting.transfer
    if not same or order.currency not in ("", made.currency):
        raise kobklein_errors.IdempotencyKeyReused
    calls.current().replayed = True
    return posting
