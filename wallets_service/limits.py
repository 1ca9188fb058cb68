"""Limits of currencies: how much may leave a wallet whose account has no limits of its own."""

from collections.abc import Sequence
from typing import Any

from kobklein import money
from kobklein.database import Session
from wallets_service import audit
from wallets_service.ledger import entries
from wallets_service.models import CurrencyLimits
from wallets_service.repository import limits as repository


async def set_(session: Session, currency: str, new: entries.Limits, *, reason: str) -> None:
    """Set all limits of a currency, None lifting one; batches of transfers that begin afterwards follow them."""
    row = await repository.lock_limits(session, currency)
    before = entries.Limits(row.transfer_limit, row.day_limit, row.month_limit)
    if new == before:
        return
    row.transfer_limit, row.day_limit, row.month_limit = new
    await audit.record(
        session,
        subject=f"limits/{currency}",
        action="SET",
        before=_rendered(before, currency),
        after=_rendered(new, currency),
        reason=reason,
    )


async def list_(session: Session) -> Sequence[CurrencyLimits]:
    """Return the limits of every currency that has any."""
    return await repository.list_limits(session)


def _rendered(limits: entries.Limits, currency: str) -> dict[str, Any] | None:
    """Return limits as the record of changes shows them; None when there are none."""
    if limits == entries.NO_LIMITS:
        return None
    return {
        f"{name}_amount": None if amount is None else money.render(amount, currency)
        for name, amount in limits._asdict().items()
    }
