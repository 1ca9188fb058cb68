"""Transfers in the order in which their transactions committed, and how far that order goes.

An account's versions are in that order, since the account is locked while a transfer on it is recorded. In the whole
ledger, the order is that of transactions: one that is below the snapshot's horizon has ended for good, and whoever
reads no further passes nothing over that commits later. A transaction that stays open holds the horizon back.
"""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from kobklein.database import Session
from wallets_service.cursors import START, Position
from wallets_service.ledger import rows
from wallets_service.ledger.entries import Posting
from wallets_service.models import Account

_SELECT: Final = f"""
    SELECT {{position}}, {", ".join(rows.TRANSFER)}, debit.address, credit.address
    FROM ({{transfers}}) transfers
    JOIN accounts debit ON debit.id = transfers.debit_account_id
    JOIN accounts credit ON credit.id = transfers.credit_account_id
    ORDER BY 1, 2 LIMIT :limit
"""  # noqa: S608  # of constants
_OF_ACCOUNT: Final = sa.text(
    _SELECT.format(
        position="transfers.version, 0",
        transfers="""
            (SELECT *, debit_version AS version FROM transfers
             WHERE debit_account_id = :id AND debit_version > :after ORDER BY debit_version LIMIT :limit)
            UNION ALL
            (SELECT *, credit_version AS version FROM transfers
             WHERE credit_account_id = :id AND credit_version > :after ORDER BY credit_version LIMIT :limit)
        """,
    )
).bindparams(sa.bindparam("id", type_=sa.Uuid))
_OF_LEDGER: Final = sa.text(
    _SELECT.format(
        position="transfers.xid::text::bigint, transfers.place",
        transfers="""
            SELECT * FROM transfers
            WHERE (xid, place) > (CAST(CAST(:xid AS text) AS xid8), CAST(:place AS integer))
              AND xid < pg_snapshot_xmin(pg_current_snapshot())
            ORDER BY xid, place LIMIT :limit
        """,
    )
)
_LEDGER_HEAD: Final = sa.text("""
    SELECT xid::text::bigint, place FROM transfers
    WHERE xid < pg_snapshot_xmin(pg_current_snapshot())
    ORDER BY xid DESC, place DESC LIMIT 1
""")


async def list_of_account(
    session: Session, account_id: uuid.UUID, *, after: int, limit: int
) -> list[tuple[Position, Posting]]:
    """Return the transfers of an account above a version, oldest first."""
    found = await session.execute(_OF_ACCOUNT, {"id": account_id, "after": after, "limit": limit})
    return [_at_position(row) for row in found]


async def list_of_ledger(session: Session, *, after: Position, limit: int) -> list[tuple[Position, Posting]]:
    """Return the transfers after a position in ledger order, as far as nothing more can come in between."""
    xid, place = after
    found = await session.execute(_OF_LEDGER, {"xid": str(xid), "place": place, "limit": limit})
    return [_at_position(row) for row in found]


async def account_heads(session: Session, account_ids: Sequence[uuid.UUID]) -> Mapping[uuid.UUID, Position]:
    """Return how far the histories of accounts go; those that do not exist are left out."""
    found = await session.execute(sa.select(Account.id, Account.version).where(Account.id.in_(account_ids)))
    return {id_: (version, 0) for id_, version in found}


async def ledger_head(session: Session) -> Position:
    """Return how far ledger order goes as far as nothing more can come in between."""
    row = (await session.execute(_LEDGER_HEAD)).one_or_none()
    return START if row is None else (row[0], row[1])


def _at_position(row: Sequence[Any]) -> tuple[Position, Posting]:
    xid, place, *columns, debit_account, credit_account = row
    return (xid, place), rows.posting(columns, debit_account, credit_account)
