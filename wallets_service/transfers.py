"""Transfers from user to user, each with its fee: one linked group of the ledger.

The ledger is its own idempotency store. A transfer's id is derived from the caller's key, so it is in the ledger if and
only if the call had its effect, and a process that dies at any point leaves one of the two.
"""

import dataclasses
import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from kobklein import calls, database
from kobklein import errors as kobklein_errors
from wallets_service import addresses, errors, fee_legs, fee_schedule, fees, wallets
from wallets_service.ledger import book, entries
from wallets_service.ledger.group_commit import Ledger
from wallets_service.repository import transfers as repository


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A transfer to make; the amount is minor units, and what arrives."""

    user_id: str
    to_user_id: str
    amount: int
    currency: str
    reference: str = ""
    description: str = ""
    metadata: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    to_new_user: bool = False
    """Whether the payee may have no wallet in any currency yet."""

    def transfer(self, id_: uuid.UUID) -> entries.Transfer:
        """Return it as the ledger takes it."""
        return entries.Transfer(
            str(id_),
            wallets.address(self.user_id),
            wallets.address(self.to_user_id),
            self.amount,
            self.currency,
            entries.TRANSFER,
            reference=self.reference,
            description=self.description,
            metadata=self.metadata,
            payee_may_be_new=self.to_new_user,
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Made:
    """A transfer that was made, or would be."""

    posting: entries.Posting
    fee: entries.Posting | None = None
    reversed_amount: int = 0
    payee_is_new: bool = False
    """Whether a transfer that was only tried opens the payee's first wallet."""


async def create(
    ledger: Ledger,
    sessions: database.Sessions,
    order: Order,
    *,
    id_: uuid.UUID,
    currencies: Collection[str],
    dry_run: bool = False,
) -> Made:
    """Move the money and charge the fee of now, both or neither; the answer is the same however often it is asked for.

    `id_` is derived from the caller's key. What is posted under it is the answer, whatever the schedule, the balance or
    the accounts have become since, and marks the call as a repetition. A fee that is set while the transfer is on its
    way may come too late for it; the answer has the fee that was charged. A dry run takes all the same steps but the
    posting, and is not refused for a payee who is new, but says so.

    If the process dies before the ledger commits, nothing has happened, and afterwards everything has; the repetition
    finds out which. Raises IdempotencyKeyReused, and CurrencyNotOffered for any but `currencies` and the ledger's
    refusals, which leave the key free.
    """
    transfer = order.transfer(id_)
    earlier, terms = await database.transaction(sessions, lambda session: _prepared(session, transfer))
    if earlier is not None:
        return _repeated(earlier, transfer)
    kobklein_errors.CurrencyNotOffered.check("currency", order.currency, currencies)
    fee = fees.charged(order.amount, terms)
    legs, new = _legs(transfer, fee), False
    if dry_run:
        outcomes, new = await _tried(ledger, legs)
    else:
        outcomes = await ledger.post(legs)
    refusal = fee_legs.refusal(outcomes, transfer, fee)
    if isinstance(refusal, errors.TransferIdReused):
        # A concurrent call with this key was faster, perhaps with another fee.
        earlier = await database.transaction(sessions, lambda session: _find(session, id_))
        if earlier is not None:
            return _repeated(earlier, transfer)
    if refusal is not None:
        raise refusal
    posting, *charges = [outcome for outcome in outcomes if isinstance(outcome, entries.Posting)]
    return Made(posting, charges[0] if charges else None, payee_is_new=new)


async def get(sessions: database.Sessions, id_: uuid.UUID, *, owner: str | None) -> Made:
    """Return a transfer from wallet to wallet; raises TransferNotFound, also for one that `owner` has no part in."""
    made = await database.transaction(sessions, lambda session: _find(session, id_))
    if made is not None:
        transfer = made.posting.transfer
        sides = wallets.user_id(transfer.debit_account), wallets.user_id(transfer.credit_account)
        if (
            transfer.type == entries.TRANSFER
            and transfer.reverses_id is None
            and None not in sides
            and owner in (None, *sides)
        ):
            return made
    raise errors.TransferNotFound(id=id_)


async def _prepared(session: database.Session, transfer: entries.Transfer) -> tuple[Made | None, fees.Terms]:
    """Return what is posted under the transfer's id, and what a transfer like it costs now."""
    made = await _find(session, uuid.UUID(transfer.id))
    return made, await fee_schedule.terms(session, currency=transfer.currency, type_=entries.TRANSFER)


async def _find(session: database.Session, id_: uuid.UUID) -> Made | None:
    found = await repository.get_transfers(
        session, [str(each) for each in (id_, fee_legs.id_of(id_), fee_legs.id_of_part(id_))]
    )
    recorded = found.pop(str(id_), None)
    if recorded is None:
        return None
    fee = next(iter(found.values()), None)
    return Made(recorded.posting, fee.posting if fee else None, recorded.reversed_amount)


def _repeated(earlier: Made, transfer: entries.Transfer) -> Made:
    """Return the first answer again, in which nothing was taken back yet; raises IdempotencyKeyReused."""
    if earlier.posting.transfer != transfer:
        raise kobklein_errors.IdempotencyKeyReused
    calls.current().replayed = True
    return dataclasses.replace(earlier, reversed_amount=0)


def _legs(transfer: entries.Transfer, fee: int) -> list[entries.Transfer]:
    """Return the transfer, and its fee if there is one; the reference finds both."""
    if not fee:
        return [transfer]
    charge = entries.Transfer(
        str(fee_legs.id_of(uuid.UUID(transfer.id))),
        transfer.debit_account,
        addresses.FEES,
        fee,
        transfer.currency,
        fee_legs.TYPE,
        reference=transfer.reference,
    )
    return [dataclasses.replace(transfer, linked=True), charge]


async def _tried(ledger: Ledger, legs: Sequence[entries.Transfer]) -> tuple[list[book.Outcome], bool]:
    """Return what would become of the legs, and whether they would open the payee's first wallet."""
    moved, *fee = legs
    outcomes = await ledger.preview([dataclasses.replace(moved, payee_may_be_new=False), *fee])
    if not isinstance(outcomes[0], errors.PayeeIsNew):
        return outcomes, False
    return await ledger.preview([dataclasses.replace(moved, payee_may_be_new=True), *fee]), True
