"""The tables of the ledger.

An account's `version` counts its transfers, and every transfer stores the version and the balance it left on both
sides: a statement is a look-up in exact commit order, and each account's history can be checked link by link.
"""

import dataclasses
import datetime
import uuid
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.dialects import postgresql

from kobklein import idempotency

_Time = sa.DateTime(timezone=True)
_MONEY = sa.BigInteger


class Base(orm.DeclarativeBase):
    """Root of the mapped tables; the idempotency keys stand in the same metadata."""

    metadata = idempotency.metadata


class Account(Base):
    """Money of one address in one currency, in minor units."""

    __tablename__ = "accounts"
    __table_args__ = (
        sa.UniqueConstraint("address", "currency", name="accounts_address_currency_key"),
        sa.CheckConstraint(
            "overdraft_limit IS NULL OR balance - held_amount >= -overdraft_limit", name="accounts_floor"
        ),
        sa.CheckConstraint("overdraft_limit >= 0", name="accounts_overdraft_limit"),
        sa.CheckConstraint("held_amount >= 0", name="accounts_held_amount"),
        sa.CheckConstraint("status IN ('ACTIVE', 'FROZEN', 'CLOSED')", name="accounts_status"),
    )

    id: orm.Mapped[uuid.UUID] = orm.mapped_column(primary_key=True)
    address: orm.Mapped[str] = orm.mapped_column(sa.Text(collation="C"))
    currency: orm.Mapped[str] = orm.mapped_column(sa.Text(collation="C"))
    user_id: orm.Mapped[str | None] = orm.mapped_column(
        sa.Text, sa.Computed("CASE WHEN address ~ '^user/[^/]+$' THEN substr(address, 6) END", persisted=True)
    )
    """Whose wallet it is; None for every account that is not a wallet."""
    balance: orm.Mapped[int] = orm.mapped_column(_MONEY, server_default="0")
    held_amount: orm.Mapped[int] = orm.mapped_column(_MONEY, server_default="0")
    overdraft_limit: orm.Mapped[int | None] = orm.mapped_column(_MONEY)
    """How far below zero the available balance may go; None is without limit."""
    status: orm.Mapped[str] = orm.mapped_column(sa.Text, server_default="ACTIVE")
    version: orm.Mapped[int] = orm.mapped_column(sa.BigInteger, server_default="0")
    created_time: orm.Mapped[datetime.datetime] = orm.mapped_column(_Time, server_default=sa.func.clock_timestamp())
    updated_time: orm.Mapped[datetime.datetime] = orm.mapped_column(_Time, server_default=sa.func.clock_timestamp())


class Transfer(Base):
    """Money moved from one account to another; no role can change or delete the row."""

    __tablename__ = "transfers"
    __table_args__ = (
        sa.UniqueConstraint("debit_account_id", "debit_version", name="transfers_debit_version_key"),
        sa.UniqueConstraint("credit_account_id", "credit_version", name="transfers_credit_version_key"),
        sa.CheckConstraint("amount > 0", name="transfers_amount"),
        sa.CheckConstraint("debit_account_id <> credit_account_id", name="transfers_two_accounts"),
        sa.Index("transfers_payment_id", "payment_id", postgresql_where=sa.text("payment_id IS NOT NULL")),
    )

    id: orm.Mapped[uuid.UUID] = orm.mapped_column(primary_key=True)
    debit_account_id: orm.Mapped[uuid.UUID]
    credit_account_id: orm.Mapped[uuid.UUID]
    amount: orm.Mapped[int] = orm.mapped_column(_MONEY)
    currency: orm.Mapped[str] = orm.mapped_column(sa.Text(collation="C"))
    type: orm.Mapped[str] = orm.mapped_column(sa.Text)
    payment_id: orm.Mapped[uuid.UUID | None]
    reference: orm.Mapped[str] = orm.mapped_column(sa.Text, server_default="")
    description: orm.Mapped[str] = orm.mapped_column(sa.Text, server_default="")
    metadata_: orm.Mapped[dict[str, Any]] = orm.mapped_column("metadata", postgresql.JSONB, server_default="{}")
    debit_balance_after: orm.Mapped[int] = orm.mapped_column(_MONEY)
    credit_balance_after: orm.Mapped[int] = orm.mapped_column(_MONEY)
    debit_version: orm.Mapped[int] = orm.mapped_column(sa.BigInteger)
    credit_version: orm.Mapped[int] = orm.mapped_column(sa.BigInteger)
    created_time: orm.Mapped[datetime.datetime] = orm.mapped_column(_Time)


@dataclasses.dataclass(frozen=True, slots=True)
class Transaction:
    """A transfer as seen from one wallet."""

    id: uuid.UUID
    wallet_id: uuid.UUID
    type: str
    direction: str
    """DEBIT or CREDIT."""
    amount: int
    currency: str
    balance_after: int
    version: int
    """Its place in the wallet's history, from 1."""
    counterparty: str
    payment_id: uuid.UUID | None
    reference: str
    description: str
    metadata: dict[str, Any]
    created_time: datetime.datetime
