"""The record of who changed a rule of the ledger, when, why, and what it was before."""

import dataclasses
import datetime
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from kobklein import calls, ids
from kobklein.database import Session
from wallets_service.models import AuditEntry
from wallets_service.repository import audit as repository


@dataclasses.dataclass(frozen=True, slots=True)
class Filter:
    """Which entries to list; empty or None is any."""

    subject: str = ""
    actor: str = ""
    created_from: datetime.datetime | None = None
    created_before: datetime.datetime | None = None

    def conditions(self) -> Iterator[sa.ColumnElement[bool]]:
        """Yield what an entry must meet."""
        if self.subject:
            yield AuditEntry.subject == self.subject
        if self.actor:
            yield AuditEntry.actor == self.actor
        if self.created_from is not None:
            yield AuditEntry.created_time >= self.created_from
        if self.created_before is not None:
            yield AuditEntry.created_time < self.created_before


async def record(
    session: Session,
    *,
    subject: str,
    action: str,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
    reason: str,
) -> None:
    """Record one change in the transaction that makes it, so that there is neither one without the other.

    `subject` names what was changed (`account/<id>`, `limits/HTG`), `action` what was done (`FREEZE`), and the current
    call's caller is who did it. `before` and `after` are JSON with the names of the contract, shown
    in the form of JSON, and money as decimal text; None stands for what was not there yet, or is not there any more.
    """
    await repository.insert_entry(
        session,
        AuditEntry(
            id=ids.new(),
            subject=subject,
            action=action,
            actor=calls.current().subject,
            reason=reason,
            before=None if before is None else dict(before),
            after=None if after is None else dict(after),
        ),
    )


async def list_(session: Session, filter_: Filter, *, before: uuid.UUID | None, limit: int) -> Sequence[AuditEntry]:
    """Return entries, newest first, those older than the entry `before`."""
    return await repository.list_entries(session, list(filter_.conditions()), before=before, limit=limit)
