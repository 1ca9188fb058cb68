"""The schedule of fees: what each kind of transfer costs in each currency, and who said so."""

from collections.abc import Sequence
from typing import Any

from kobklein import money
from kobklein.database import Session
from wallets_service import audit, errors, fees
from wallets_service.models import Fee
from wallets_service.repository import fees as repository


async def set_(session: Session, *, currency: str, type_: str, terms: fees.Terms, reason: str) -> Fee:
    """Set what a kind of transfer costs in a currency, and record who did, unless it costs that already.

    Changes of the schedule take turns, so that every entry's `before` is the `after` of the one before it.
    """
    await repository.lock_fees(session)
    earlier = await repository.get_fee(session, currency=currency, type_=type_)
    if earlier is not None and _terms(earlier) == terms:
        return earlier
    before = None if earlier is None else _shown(earlier)
    fee = await repository.upsert_fee(
        session,
        currency=currency,
        type_=type_,
        fixed_amount=terms.fixed_amount,
        parts_per_million=terms.parts_per_million,
        floor_amount=terms.floor_amount,
        cap_amount=terms.cap_amount,
    )
    await audit.record(
        session, subject=_subject(currency, type_), action="SET", before=before, after=_shown(fee), reason=reason
    )
    return fee


async def delete(session: Session, *, currency: str, type_: str, reason: str) -> None:
    """Let a kind of transfer cost nothing in a currency, and record who did; raises FeeNotFound if it does already."""
    await repository.lock_fees(session)
    fee = await repository.get_fee(session, currency=currency, type_=type_)
    if fee is None:
        raise errors.FeeNotFound(currency=currency, type=type_)
    before = _shown(fee)
    await repository.delete_fee(session, fee)
    await audit.record(
        session, subject=_subject(currency, type_), action="DELETE", before=before, after=None, reason=reason
    )


async def list_(session: Session) -> Sequence[Fee]:
    """Return the schedule by currency and kind."""
    return await repository.list_fees(session)


async def terms(session: Session, *, currency: str, type_: str) -> fees.Terms:
    """Return what a kind of transfer costs in a currency now."""
    fee = await repository.get_fee(session, currency=currency, type_=type_)
    return fees.FREE if fee is None else _terms(fee)


def _terms(fee: Fee) -> fees.Terms:
    return fees.Terms(
        fixed_amount=fee.fixed_amount,
        parts_per_million=fee.parts_per_million,
        floor_amount=fee.floor_amount,
        cap_amount=fee.cap_amount,
    )


def _subject(currency: str, type_: str) -> str:
    return f"fees/{currency}/{type_}"


def _shown(fee: Fee) -> dict[str, Any]:
    """Return a fee as an audit entry shows it: money as decimals."""
    amounts = {
        name: None if amount is None else money.render(amount, fee.currency)
        for name, amount in (
            ("fixed_amount", fee.fixed_amount),
            ("floor_amount", fee.floor_amount),
            ("cap_amount", fee.cap_amount),
        )
    }
    return {**amounts, "parts_per_million": fee.parts_per_million}
