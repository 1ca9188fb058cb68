"""Quotes, and whether they were accepted."""

import datetime
import uuid

import sqlalchemy as sa

from kobklein.database import Session
from wallets_service.models import Quote, Transfer


async def insert_quote(session: Session, quote: Quote) -> None:
    """Insert a quote."""
    session.add(quote)
    await session.flush()


async def now(session: Session) -> datetime.datetime:
    """Return the database's time, by which quotes expire."""
    time: datetime.datetime = (await session.scalars(sa.select(sa.func.clock_timestamp()))).one()
    return time


async def get_quote(session: Session, id_: uuid.UUID) -> tuple[Quote, datetime.datetime | None, bool] | None:
    """Return a quote, when its transfer was posted if it was, and whether its time is over."""
    found = (
        sa.select(Quote, Transfer.created_time, sa.func.clock_timestamp() > Quote.expires_time)
        .outerjoin(Transfer, Transfer.id == Quote.transfer_id)
        .where(Quote.id == id_)
    )
    row = (await session.execute(found)).one_or_none()
    return None if row is None else (row[0], row[1], row[2])
