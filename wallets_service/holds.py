"""Holds: money of one account that is reserved for another, until it is taken, given back, or its time is over.

What a hold reserves and frees is decided by the ledger, in a batch, under the locks of both accounts: of a post, a void
and the expiry that meet, one comes first and the others find the hold ended.
"""

import dataclasses
import uuid
from collections.abc import Collection, Iterator, Sequence
from typing import Final

import sqlalchemy as sa

from kobklein import database
from kobklein import errors as common_errors
from kobklein.database import Session
from wallets_service import addresses, errors, fee_legs, fee_schedule, fees, models, wallets
from wallets_service.ledger.book import Outcome
from wallets_service.ledger.entries import (
    PENDING,
    TRANSFER,
    FeeSettlement,
    Hold,
    Id,
    NewHold,
    Operation,
    Posting,
    Release,
    Transfer,
)
from wallets_service.ledger.group_commit import Ledger
from wallets_service.repository import holds as repository
from wallets_service.repository.holds import Held

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


async def create(
    sessions: database.Sessions,
    ledger: Ledger,
    made: NewHold,
    *,
    default_lifetime: bool,
    currencies: Collection[str],
) -> Held:
    """Reserve the money, and the fee of now beside it; under the id of a hold, return that hold as it is now.

    A hold between users costs what a transfer costs. Both are reserved or neither; if the process dies before the
    ledger commits, nothing is. A repetition goes by the fee that is recorded, whatever the schedule says since, and so
    with a `default_lifetime`, which the caller did not choose.

    Raises CurrencyNotOffered for a new hold in any but `currencies`, and the Refusal of the ledger: the money is not
    there, a limit stands against it, an account is frozen or closed.
    """
    for _ in range(2):
        priced = await database.transaction(
            sessions, lambda session: _priced(session, made, default_lifetime, currencies)
        )
        outcomes = await ledger.post(_reserving(priced))
        refusal = fee_legs.refusal(outcomes, priced, priced.fee_amount)
        if not isinstance(refusal, errors.HoldIdReused):
            break  # Otherwise a concurrent call with this id may have been faster, with another fee.
    if refusal is not None:
        raise refusal
    return _held(*outcomes)


async def _priced(session: Session, made: NewHold, default_lifetime: bool, currencies: Collection[str]) -> NewHold:
    """Return a hold with the fee, and the default, that it was made with, or else with those of now."""
    earlier = await repository.get_hold(session, uuid.UUID(made.id))
    if earlier is not None:
        then = earlier.hold.made
        lifetime = then.lifetime if default_lifetime else made.lifetime
        return dataclasses.replace(made, fee_amount=then.fee_amount, fee_terms=then.fee_terms, lifetime=lifetime)
    common_errors.CurrencyNotOffered.check("currency", made.currency, currencies)
    if made.type != TRANSFER or None in (wallets.user_id(made.debit_account), wallets.user_id(made.credit_account)):
        return made
    terms = await fee_schedule.terms(session, currency=made.currency, type_=made.type)
    fee = fees.charged(made.amount, terms)
    return dataclasses.replace(made, fee_amount=fee, fee_terms=terms) if fee else made


def _reserving(made: NewHold) -> list[Operation]:
    """Return what reserves the money, and the fee if there is one; the reference finds both."""
    if not made.fee_amount:
        return [made]
    fee = NewHold(
        made.fee_hold_id,
        made.debit_account,
        addresses.FEES,
        made.fee_amount,
        made.currency,
        fee_legs.TYPE,
        made.lifetime,
        reference=made.reference,
        fee_of=made.id,
    )
    return [dataclasses.replace(made, linked=True), fee]


async def get(session: Session, id_: uuid.UUID, *, owner: str | None) -> Held:
    """Return a hold; raises HoldNotFound, also when `owner` neither pays nor is paid by it."""
    held = await repository.get_hold(session, id_)
    if held is None or (owner is not None and wallets.address(owner) not in _sides(held.hold)):
        raise errors.HoldNotFound(id=id_)
    return held


async def get_for_payee(session: Session, id_: uuid.UUID, *, owner: str | None) -> Hold:
    """Return a hold to whoever may take it or give it back.

    Raises HoldNotFound as `get` does, and PermissionDenied for the payer, who promised it.
    """
    hold = (await get(session, id_, owner=owner)).hold
    if owner is not None and wallets.address(owner) != hold.made.credit_account:
        raise common_errors.PermissionDenied("only the payee or an admin may post or void this hold")
    return hold


def _sides(hold: Hold) -> tuple[str, str]:
    return hold.made.debit_account, hold.made.credit_account


async def list_(session: Session, filter_: Filter, *, before: repository.Position | None, limit: int) -> Sequence[Held]:
    """Return holds, newest first, those made before the one at `before`."""
    address = None if filter_.user_id is None else wallets.address(filter_.user_id)
    return await repository.list_holds(session, list(filter_.conditions()), address=address, before=before, limit=limit)


async def post(sessions: database.Sessions, ledger: Ledger, hold: Hold, part: Part) -> Held:
    """Move a part of what is held to the payee, at most once under the part's transfer id; return the hold then.

    Its part of the fee, if there is one, is taken with it or neither is. How much that is follows from what is posted
    by then, under the locks: parts that meet take the fee together, to the minor unit.

    A part that is all that is left is read first, and read again when another part was quicker. When the process dies
    after the ledger has posted, a repetition finds the transfer by its id. Raises the Refusal of the ledger: HoldEnded,
    HoldExceeded, a frozen or closed account.
    """
    for attempt in range(1, _MOST_ATTEMPTS + 1):
        amount = part.amount
        if amount is None:
            amount = await database.transaction(sessions, lambda session: _rest(session, hold, part))
        transfer = hold.made.part(part.transfer_id, amount, releases_rest=part.release_rest)
        moves, looks = _taking(hold.made, transfer)
        outcomes = await ledger.post([*moves, *looks])
        refusal = fee_legs.refusal(outcomes, transfer, fee=0)
        overtaken = isinstance(refusal, errors.HoldExceeded | errors.TransferIdReused)
        if part.amount is not None or not overtaken or attempt == _MOST_ATTEMPTS:
            after, *fee = outcomes[len(moves) :]
            taken, charge = outcomes[0], outcomes[1] if len(moves) > 1 else None
            return _held(refusal or after, *fee)._replace(
                part=taken if isinstance(taken, Posting) else None,
                fee=charge if isinstance(charge, Posting) else None,
            )
    raise AssertionError  # pragma: no cover  # the last attempt returned or raised


async def _rest(session: Session, hold: Hold, part: Part) -> int:
    """Return what is left of a hold, or what the part has taken of it if it is posted already; raises HoldEnded.

    The hold is read first: if it reads as ended by this very part, the look after it finds the part.
    """
    now = (await get(session, uuid.UUID(hold.made.id), owner=None)).hold
    taken = await repository.get_transfer_amount(session, uuid.UUID(part.transfer_id))
    if taken is not None:
        return taken
    if now.status != PENDING:
        raise errors.HoldEnded(id=now.made.id, status=now.status)
    return now.remaining_amount


def _taking(made: NewHold, transfer: Transfer) -> tuple[list[Operation], list[Release]]:
    """Return what posts a part with its part of the fee, and what then looks at the hold and at that of its fee."""
    if not made.fee_amount:
        return [transfer], [_look_at(made)]
    linked = dataclasses.replace(transfer, linked=True)
    return [linked, _settlement(made, uuid.UUID(transfer.id))], [_look_at(made), _look_at_fee(made)]


async def void(ledger: Ledger, hold: Hold) -> Held:
    """Give back what is still held, and of the fee too; a hold that was voided before is answered again.

    Raises HoldEnded when it was posted or has expired.
    """
    made = hold.made
    release = Release(made.id, made.debit_key, made.credit_key)
    if not made.fee_amount:
        return _held(*await ledger.post([release]))
    settlement = _settlement(made, uuid.UUID(made.id))
    voided, _, fee = await ledger.post([dataclasses.replace(release, linked=True), settlement, _look_at_fee(made)])
    return _held(voided, fee)


def _settlement(made: NewHold, of: uuid.UUID) -> FeeSettlement:
    """Return what lets the fee's hold follow the hold; the id of a transfer that takes of it is derived from `of`."""
    id_ = str(fee_legs.id_of_part(of))
    return FeeSettlement(id_, made.fee_hold_id, made.id, made.debit_key, (addresses.FEES, made.currency))


def _look_at(made: NewHold) -> Release:
    """Return the release that a sweeper would ask for: it leaves a hold that has not expired as it is.

    Posted right after a transfer that takes from the hold, it is answered with the hold as the transfer left it.
    """
    return Release(made.id, made.debit_key, made.credit_key, expiry=True)


def _look_at_fee(made: NewHold) -> Release:
    return Release(made.fee_hold_id, made.debit_key, (addresses.FEES, made.currency), expiry=True)


def _held(outcome: Outcome, fee: Outcome | None = None) -> Held:
    """Return the hold that the ledger answers with, and what is taken of its fee; raises its Refusal."""
    if isinstance(outcome, errors.Refusal):
        raise outcome
    assert isinstance(outcome, Hold)  # noqa: S101  # what becomes of a hold or a release that is not refused
    if isinstance(fee, Hold) and fee.made.fee_of == outcome.made.id:
        return Held(outcome, fee.posted_amount)
    return Held(outcome, 0)
