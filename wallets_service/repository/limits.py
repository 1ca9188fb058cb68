"""Limits of currencies, a row for each that ever had some."""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from kobklein.database import Session
from wallets_service.models import CurrencyLimits


async def lock_limits(session: Session, currency: str) -> CurrencyLimits:
    """Return the row of a currency under a lock; it is made first, since a row that is missing cannot be locked."""
    await session.execute(postgresql.insert(CurrencyLimits).values(currency=currency).on_conflict_do_nothing())
    row = sa.select(CurrencyLimits).where(CurrencyLimits.currency == currency).with_for_update()
    return (await session.scalars(row)).one()


async def list_limits(session: Session) -> Sequence[CurrencyLimits]:
    """Return the rows with any limit, by currency."""
    columns = (CurrencyLimits.transfer_limit, CurrencyLimits.day_limit, CurrencyLimits.month_limit)
    rows = sa.select(CurrencyLimits).where(sa.func.num_nonnulls(*columns) > 0).order_by(CurrencyLimits.currency)
    return (await session.scalars(rows)).all()
