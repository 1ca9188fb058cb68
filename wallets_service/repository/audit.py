"""Audit entries, which are only ever added."""

import uuid
from collections.abc import Sequence

import sqlalchemy as sa

from kobklein.database import Session
from wallets_service.models import AuditEntry


async def insert_entry(session: Session, entry: AuditEntry) -> None:
    """Insert an entry."""
    session.add(entry)
    await session.flush()


async def list_entries(
    session: Session, conditions: Sequence[sa.ColumnElement[bool]], *, before: uuid.UUID | None, limit: int
) -> Sequence[AuditEntry]:
    """Return the entries that meet every condition, newest first: their ids are in the order of time."""
    entries = sa.select(AuditEntry).where(*conditions).order_by(AuditEntry.id.desc()).limit(limit)
    if before is not None:
        entries = entries.where(AuditEntry.id < before)
    return (await session.scalars(entries)).all()
