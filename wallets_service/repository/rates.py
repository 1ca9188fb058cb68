"""The table of rates."""

from collections.abc import Sequence
from fractions import Fraction

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from kobklein.database import Session
from wallets_service.models import Rate


async def list_rates(session: Session) -> Sequence[Rate]:
    """Return every rate."""
    return (await session.scalars(sa.select(Rate))).all()


async def lock(session: Session) -> None:
    """Let nobody else change the table until the transaction ends; everybody may read it."""
    await session.execute(sa.text("LOCK TABLE fx_rates IN SHARE ROW EXCLUSIVE MODE"))


async def get_rate(session: Session, sell_currency: str, buy_currency: str) -> Rate | None:
    """Return the rate of a pair."""
    return await session.get(Rate, (sell_currency, buy_currency))


async def delete_rate(session: Session, rate: Rate) -> None:
    """Delete the rate of a pair."""
    await session.delete(rate)
    await session.flush()


async def put_rate(
    session: Session, *, sell_currency: str, buy_currency: str, rate: Fraction, spread_parts_per_million: int
) -> Rate:
    """Insert the rate of a pair, or replace it, and return it."""
    inserted = postgresql.insert(Rate).values(
        sell_currency=sell_currency,
        buy_currency=buy_currency,
        rate=rate,
        spread_parts_per_million=spread_parts_per_million,
        updated_time=sa.func.clock_timestamp(),
    )
    put = inserted.on_conflict_do_update(
        constraint="fx_rates_pkey",
        set_={name: inserted.excluded[name] for name in ("rate", "spread_parts_per_million", "updated_time")},
    ).returning(Rate)
    return (await session.scalars(put, execution_options={"populate_existing": True})).one()
