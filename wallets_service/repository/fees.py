"""The schedule of fees."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from kobklein.database import Session
from wallets_service.models import Fee


async def lock_fees(session: Session) -> None:
    """Let one transaction change the schedule at a time; those that read it do not wait."""
    await session.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext("fees"))))


async def get_fee(session: Session, *, currency: str, type_: str) -> Fee | None:
    """Return what a kind of transfer costs in a currency, as it is now; None when it costs nothing."""
    return await session.get(Fee, (currency, type_), populate_existing=True)


async def upsert_fee(session: Session, *, currency: str, type_: str, **terms: Any) -> Fee:
    """Write what a kind of transfer costs in a currency, whether it cost something before or not."""
    changed = {**terms, "updated_time": sa.func.clock_timestamp()}
    statement = (
        postgresql.insert(Fee)
        .values(currency=currency, type=type_, **changed)
        .on_conflict_do_update(index_elements=[Fee.currency, Fee.type], set_=changed)
        .returning(Fee)
    )
    return (await session.scalars(statement, execution_options={"populate_existing": True})).one()


async def delete_fee(session: Session, fee: Fee) -> None:
    """Delete a row of the schedule."""
    await session.delete(fee)
    await session.flush()


async def list_fees(session: Session) -> Sequence[Fee]:
    """Return the schedule by currency and kind."""
    return (await session.scalars(sa.select(Fee).order_by(Fee.currency, Fee.type))).all()
