"""Quotes, and whether they were accepted."""

import datetime
import uuid

import sqlalchemy as sa

from kobklein.database import Session
from wallets_service.models import Quote, Transfer

Position = tuple[datetime.datetime, uuid.UUID]
"""When a quote expires, and its id."""


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
        sa.select(Quote, Transfer.created_time, sa.func.clock_timestamp() >= Quote.expires_time)
        .outerjoin(Transfer, Transfer.id == Quote.transfer_id)
        .where(Quote.id == id_)
    )
    row = (await session.execute(found)).one_or_none()
    return None if row is None else (row[0], row[1], row[2])


async def delete_unaccepted(
    session: Session, *, kept: datetime.timedelta, after: Position | None, limit: int
) -> list[Position]:
    """Look at quotes that expired `kept` ago or earlier, the oldest first, and delete those that nobody accepted.

    Return the positions of all that were looked at, at most `limit`; those after `after`.
    """
    old = (
        sa.select(Quote.expires_time, Quote.id, Transfer.id)
        .outerjoin(Transfer, Transfer.id == Quote.transfer_id)
        .where(Quote.expires_time <= sa.func.statement_timestamp() - kept)
        .order_by(Quote.expires_time, Quote.id)
        .limit(limit)
    )
    if after is not None:
        old = old.where(sa.tuple_(Quote.expires_time, Quote.id) > sa.tuple_(*after))
    rows = (await session.execute(old)).all()
    unaccepted = [id_ for _, id_, transfer_id in rows if transfer_id is None]
    await session.execute(sa.delete(Quote).where(Quote.id.in_(unaccepted)))
    return [(expires_time, id_) for expires_time, id_, _ in rows]
