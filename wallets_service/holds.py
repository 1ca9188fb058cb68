"""Holds: money of one account that is reserved for another, until it is taken, given back, or its time is over.

What a hold reserves and frees is decided by the ledger, in a batch, under the locks of both accounts: of a post, a void
and the expiry that meet, one comes first and the others find the hold ended.
"""

import dataclasses
import uuid
from collections.abc import Iterator, Sequence
from typing import Final

import sqlalchemy as sa

from kobklein import database
from kobklein import errors as common_errors
from kobklein.database import Session
from wallets_service import errors, models, wallets
from wallets_service.ledger.book import Outcome
from wallets_service.ledger.entries import PENDING, Hold, Id, NewHold, Release, Transfer
from wallets_service.ledger.group_commit import Ledger
from wallets_service.repository import holds as repository

_MOST_ATTEMPTS: Final = 5


@dataclasses.dataclass(frozen=True, slots=True)
class Filter:
    """Which holds to list; None or empty is any."""

    user_id: str | None = None
    """Paid by or to this user's wallets."""
    currency: str = ""
    status: str | None = None
    reference: str = ""

    def conditions(self) -> Iterator[sa.ColumnElement[bool]]:
        """Yield what a hold must meet, besides being the user's."""
        if self.currency:
            yield models.Hold.currency == self.currency
        if self.status is not None:
            yield repository.has_status(self.status)
        if self.reference:
            yield models.Hold.reference == self.reference
            yield models.Hold.reference != ""  # So says the index, which leaves out the many that have none.


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """How much of a hold to take."""

    transfer_id: Id
    amount: int | None
    """Minor units of the hold's currency; None takes all that is left."""
    release_rest: bool


async def create(ledger: Ledger, made: NewHold) -> Hold:
    """Reserve the money; under the id of a hold with the same content, return that hold as it is now.

    Raises the Refusal of the ledger: the money is not there, a limit stands against it, an account is frozen or closed.
    """
    return _hold(*await ledger.post([made]))


async def get(session: Session, id_: uuid.UUID, *, owner: str | None) -> Hold:
    """Return a hold; raises HoldNotFound, also when `owner` neither pays nor is paid by it."""
    hold = await repository.get_hold(session, id_)
    if hold is None or (owner is not None and wallets.address(owner) not in _sides(hold)):
        raise errors.HoldNotFound(id=id_)
    return hold


async def get_for_payee(session: Session, id_: uuid.UUID, *, owner: str | None) -> Hold:
    """Return a hold to whoever may take it or give it back.

    Raises HoldNotFound as `get` does, and PermissionDenied for the payer, who promised it.
    """
    hold = await get(session, id_, owner=owner)
    if owner is not None and wallets.address(owner) != hold.made.credit_account:
        raise common_errors.PermissionDenied
    return hold


def _sides(hold: Hold) -> tuple[str, str]:
    return hold.made.debit_account, hold.made.credit_account


async def list_(session: Session, filter_: Filter, *, before: repository.Position | None, limit: int) -> Sequence[Hold]:
    """Return holds, newest first, those made before the one at `before`."""
    address = None if filter_.user_id is None else wallets.address(filter_.user_id)
    return await repository.list_holds(session, list(filter_.conditions()), address=address, before=before, limit=limit)


async def post(sessions: database.Sessions, ledger: Ledger, hold: Hold, part: Part) -> Hold:
    """Move a part of what is held to the payee, at most once under the part's transfer id; return the hold then.

    A part that is all that is left is read first, and read again when another part was quicker. When the process dies
    after the ledger has posted, a repetition finds the transfer by its id. Raises the Refusal of the ledger: HoldEnded,
    HoldExceeded, a frozen or closed account.
    """
    for attempt in range(1, _MOST_ATTEMPTS + 1):
        amount = part.amount
        if amount is None:
            amount = await database.transaction(sessions, lambda session: _rest(session, hold, part))
        transfer = _transfer(hold.made, part, amount)
        posted, after = await ledger.post([transfer, release_of(transfer)])
        overtaken = isinstance(posted, errors.HoldExceeded | errors.TransferIdReused)
        if part.amount is not None or not overtaken or attempt == _MOST_ATTEMPTS:
            return _hold(posted if isinstance(posted, errors.Refusal) else after)
    raise AssertionError  # pragma: no cover  # the last attempt returned or raised


async def _rest(session: Session, hold: Hold, part: Part) -> int:
    """Return what is left of a hold, or what the part has taken of it if it is posted already; raises HoldEnded.

    The hold is read first: if it reads as ended by this very part, the look after it finds the part.
    """
    now = await get(session, uuid.UUID(hold.made.id), owner=None)
    taken = await repository.get_transfer_amount(session, uuid.UUID(part.transfer_id))
    if taken is not None:
        return taken
    if now.status != PENDING:
        raise errors.HoldEnded(id=now.made.id, status=now.status)
    return now.remaining_amount


def _transfer(made: NewHold, part: Part, amount: int) -> Transfer:
    return Transfer(
        part.transfer_id,
        made.debit_account,
        made.credit_account,
        amount,
        made.currency,
        made.type,
        made.payment_id,
        made.reference,
        made.description,
        made.metadata,
        hold_id=made.id,
        releases_hold=part.release_rest,
    )


async def void(ledger: Ledger, hold: Hold) -> Hold:
    """Give back what is still held; a hold that was voided before is answered again.

    Raises HoldEnded when it was posted or has expired.
    """
    return _hold(*await ledger.post([Release(hold.made.id, hold.made.debit_key, hold.made.credit_key)]))


def release_of(transfer: Transfer) -> Release:
    """Return the release that a sweeper would ask for of the hold that a transfer takes from.

    It leaves a hold that has not expired as it is: posted right after the transfer, it is answered with the hold as the
    transfer left it.
    """
    assert transfer.hold_id is not None  # noqa: S101  # only transfers of holds come here
    return Release(transfer.hold_id, transfer.debit_key, transfer.credit_key, expiry=True)


def _hold(outcome: Outcome) -> Hold:
    """Return the hold that the ledger answers with; raises its Refusal."""
    if isinstance(outcome, errors.Refusal):
        raise outcome
    assert isinstance(outcome, Hold)  # noqa: S101  # what becomes of a hold or a release that is not refused
    return outcome
