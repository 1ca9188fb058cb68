"""The tables of the ledger.

An account's `version` counts its transfers, and every transfer stores the version and the balance it left on both
sides: a statement is a look-up in exact commit order, and each account's history can be checked link by link.
"""

import dataclasses
import datetime
import decimal
import uuid
from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.dialects import postgresql

from kobklein import idempotency
from wallets_service.rates import decimals

_Time = sa.DateTime(timezone=True)
_MONEY = sa.BigInteger
_PENDING = sa.text("status = 'PENDING'")


class Xid(sa.types.UserDefinedType[int]):
    """PostgreSQL's 64-bit transaction id, which never wraps around."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        """Return the name of the type."""
        return "xid8"

    def result_processor(self, _dialect: object, _coltype: object) -> Callable[[str], int]:
        """Return how the text that the driver gives becomes a number."""
        return int


class ExactRate(sa.TypeDecorator[Fraction]):
    """A decimal of the database that is a fraction here, so that nothing is ever computed with decimals."""

    impl = sa.Numeric(21, decimals.PLACES)
    cache_ok = True

    def process_bind_param(self, value: Fraction | None, _dialect: object) -> decimal.Decimal | None:
        """Return what the driver takes."""
        return None if value is None else decimal.Decimal(decimals.text(value))

    def process_result_value(self, value: decimal.Decimal | None, _dialect: object) -> Fraction | None:
        """Return the fraction that a decimal of the driver is."""
        return None if value is None else Fraction(value)


def _where_given(name: str, *columns: str) -> tuple[sa.Index]:
    """Return an index of the rows whose last column is given, which most leave empty."""
    return (sa.Index(name, *columns, postgresql_where=sa.text(f"{columns[-1]} IS NOT NULL")),)


def _backdated(name: str, account_id: str, version: str) -> tuple[sa.Index]:
    """Return an index of the backdated transfers of an account, by when they count."""
    given = sa.text("effective_time IS NOT NULL")
    return (sa.Index(name, account_id, "effective_time", version, postgresql_where=given),)


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
        sa.CheckConstraint(
            "status IN ('ACTIVE', 'FROZEN', 'DEBIT_FROZEN', 'CREDIT_FROZEN', 'CLOSED')", name="accounts_status"
        ),
        sa.CheckConstraint("status <> 'CLOSED' OR (balance = 0 AND held_amount = 0)", name="accounts_closed"),
        sa.CheckConstraint(
            "least(transfer_limit, day_limit, month_limit, day_spent, month_spent) >= 0", name="accounts_limits"
        ),
    )

    id: orm.Mapped[uuid.UUID] = orm.mapped_column(primary_key=True)
    address: orm.Mapped[str] = orm.mapped_column(sa.Text(collation="C"))
    currency: orm.Mapped[str] = orm.mapped_column(sa.Text(collation="C"))
    user_id: orm.Mapped[str | None] = orm.mapped_column(
        sa.Text, sa.Computed("CASE WHEN address ~ '^user/[^/]+$' THEN substr(address, 6) END", persisted=False)
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
    metadata_: orm.Mapped[dict[str, Any]] = orm.mapped_column("metadata", postgresql.JSONB, server_default="{}")
    revision: orm.Mapped[int] = orm.mapped_column(sa.BigInteger, server_default="1")
    """Counts the changes of its rules: status, overdraft limit, limits, metadata."""
    transfer_limit: orm.Mapped[int | None] = orm.mapped_column(_MONEY)
    day_limit: orm.Mapped[int | None] = orm.mapped_column(_MONEY)
    month_limit: orm.Mapped[int | None] = orm.mapped_column(_MONEY)
    spent_date: orm.Mapped[datetime.date | None]
    """The day, in the platform's time zone, that `day_spent` and `month_spent` are of."""
    day_spent: orm.Mapped[int] = orm.mapped_column(_MONEY, server_default="0")
    month_spent: orm.Mapped[int] = orm.mapped_column(_MONEY, server_default="0")
    if TYPE_CHECKING:
        lapsed_amount: orm.Mapped[int]
        """What of `held_amount` belongs to holds whose time is over: it is free, though nobody gave it back yet."""

    @property
    def held(self) -> int:
        """What is really held now."""
        return self.held_amount - self.lapsed_amount

    @property
    def available(self) -> int | None:
        """What may leave it now; None is without limit."""
        return None if self.overdraft_limit is None else self.balance - self.held + self.overdraft_limit


class Transfer(Base):
    """Money moved from one account to another; no role can change or delete the row."""

    __tablename__ = "transfers"
    __table_args__ = (
        sa.UniqueConstraint("debit_account_id", "debit_version", name="transfers_debit_version_key"),
        sa.UniqueConstraint("credit_account_id", "credit_version", name="transfers_credit_version_key"),
        sa.CheckConstraint("amount > 0", name="transfers_amount"),
        sa.CheckConstraint("debit_account_id <> credit_account_id", name="transfers_two_accounts"),
        sa.CheckConstraint("effective_time < created_time", name="transfers_effective_time"),
        sa.Index("transfers_commit_order", "xid", "place", unique=True),
        *_where_given("transfers_payment_id", "payment_id"),
        *_where_given("transfers_hold_id", "hold_id"),
        *_where_given("transfers_reverses_id", "reverses_id"),
        *_where_given("transfers_group_id", "group_id"),
        *_backdated("transfers_debit_effective", "debit_account_id", "debit_version"),
        *_backdated("transfers_credit_effective", "credit_account_id", "credit_version"),
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
    hold_id: orm.Mapped[uuid.UUID | None]
    reverses_id: orm.Mapped[uuid.UUID | None]
    group_id: orm.Mapped[uuid.UUID | None]
    """The first of the transfers that it was posted together with."""
    effective_time: orm.Mapped[datetime.datetime | None] = orm.mapped_column(_Time)
    """When it counts, if that was before it was recorded."""
    xid: orm.Mapped[int] = orm.mapped_column(Xid, server_default=sa.text("pg_current_xact_id()"))
    place: orm.Mapped[int] = orm.mapped_column(server_default="1")
    """Its place in its transaction; with `xid`, ledger order."""


class Hold(Base):
    """Money of one account that is reserved for another."""

    __tablename__ = "holds"
    __table_args__ = (
        sa.Index("holds_debit_account", "debit_account_id", "created_time", "id"),
        sa.Index("holds_credit_account", "credit_account_id", "created_time", "id"),
        sa.Index("holds_created", "created_time", "id"),
        sa.Index("holds_status", "status", "created_time", "id"),
        sa.Index("holds_currency", "currency", "created_time", "id"),
        sa.Index("holds_reference", "reference", "created_time", "id", postgresql_where=sa.text("reference <> ''")),
        *_where_given("holds_fee_of", "fee_of"),
        sa.Index("holds_expiry", "expires_time", postgresql_where=_PENDING),
        sa.Index("holds_pending", "debit_account_id", "expires_time", postgresql_where=_PENDING),
    )

    id: orm.Mapped[uuid.UUID] = orm.mapped_column(primary_key=True)
    debit_account_id: orm.Mapped[uuid.UUID] = orm.mapped_column(sa.ForeignKey("accounts.id"))
    credit_account_id: orm.Mapped[uuid.UUID] = orm.mapped_column(sa.ForeignKey("accounts.id"))
    amount: orm.Mapped[int] = orm.mapped_column(_MONEY)
    posted_amount: orm.Mapped[int] = orm.mapped_column(_MONEY, server_default="0")
    currency: orm.Mapped[str] = orm.mapped_column(sa.Text(collation="C"))
    status: orm.Mapped[str] = orm.mapped_column(sa.Text, server_default="PENDING")
    type: orm.Mapped[str] = orm.mapped_column(sa.Text)
    payment_id: orm.Mapped[uuid.UUID | None]
    reference: orm.Mapped[str] = orm.mapped_column(sa.Text, server_default="")
    description: orm.Mapped[str] = orm.mapped_column(sa.Text, server_default="")
    metadata_: orm.Mapped[dict[str, Any]] = orm.mapped_column("metadata", postgresql.JSONB, server_default="{}")
    expires_time: orm.Mapped[datetime.datetime] = orm.mapped_column(_Time)
    created_time: orm.Mapped[datetime.datetime] = orm.mapped_column(_Time)
    updated_time: orm.Mapped[datetime.datetime] = orm.mapped_column(_Time)
    fee_amount: orm.Mapped[int] = orm.mapped_column(_MONEY, server_default="0")
    """What the hold of its fee reserves beside it."""
    fee_fixed_amount: orm.Mapped[int | None] = orm.mapped_column(_MONEY)
    """This and the next three are the terms by which what is posted of it is charged."""
    fee_parts_per_million: orm.Mapped[int | None]
    fee_floor_amount: orm.Mapped[int | None] = orm.mapped_column(_MONEY)
    fee_cap_amount: orm.Mapped[int | None] = orm.mapped_column(_MONEY)
    fee_of: orm.Mapped[uuid.UUID | None] = orm.mapped_column(sa.ForeignKey("holds.id"))
    """The hold that it reserves the fee of."""


Account.lapsed_amount = orm.column_property(
    sa.case(
        (Account.held_amount == 0, 0),
        else_=sa.select(sa.func.coalesce(sa.func.sum(Hold.amount - Hold.posted_amount), 0).cast(sa.BigInteger))
        .where(
            Hold.debit_account_id == Account.id,
            Hold.status == "PENDING",
            Hold.expires_time <= sa.func.clock_timestamp(),
        )
        .correlate_except(Hold)
        .scalar_subquery(),
    )
)


class CurrencyLimits(Base):
    """How much may leave a wallet of a currency whose account has no limits of its own."""

    __tablename__ = "currency_limits"

    currency: orm.Mapped[str] = orm.mapped_column(sa.Text(collation="C"), primary_key=True)
    transfer_limit: orm.Mapped[int | None] = orm.mapped_column(_MONEY)
    day_limit: orm.Mapped[int | None] = orm.mapped_column(_MONEY)
    month_limit: orm.Mapped[int | None] = orm.mapped_column(_MONEY)


class Fee(Base):
    """What a kind of transfer costs in a currency."""

    __tablename__ = "fees"

    currency: orm.Mapped[str] = orm.mapped_column(sa.Text(collation="C"), primary_key=True)
    type: orm.Mapped[str] = orm.mapped_column(sa.Text, primary_key=True)
    fixed_amount: orm.Mapped[int] = orm.mapped_column(_MONEY)
    parts_per_million: orm.Mapped[int]
    floor_amount: orm.Mapped[int] = orm.mapped_column(_MONEY)
    cap_amount: orm.Mapped[int | None] = orm.mapped_column(_MONEY)
    updated_time: orm.Mapped[datetime.datetime] = orm.mapped_column(_Time, server_default=sa.func.clock_timestamp())


class Rate(Base):
    """Units of one currency for one unit of another, as an admin set it."""

    __tablename__ = "fx_rates"

    sell_currency: orm.Mapped[str] = orm.mapped_column(sa.Text(collation="C"), primary_key=True)
    buy_currency: orm.Mapped[str] = orm.mapped_column(sa.Text(collation="C"), primary_key=True)
    rate: orm.Mapped[Fraction] = orm.mapped_column(ExactRate)
    spread_parts_per_million: orm.Mapped[int]
    updated_time: orm.Mapped[datetime.datetime] = orm.mapped_column(_Time, server_default=sa.func.clock_timestamp())


class Quote(Base):
    """The price of a conversion; no role can change it. It is accepted once its transfer is posted, and kept then."""

    __tablename__ = "fx_quotes"
    __table_args__ = (sa.Index("fx_quotes_expiry", "expires_time", "id"),)

    id: orm.Mapped[uuid.UUID] = orm.mapped_column(primary_key=True)
    user_id: orm.Mapped[str] = orm.mapped_column(sa.Text)
    sell_currency: orm.Mapped[str] = orm.mapped_column(sa.Text(collation="C"))
    sell_amount: orm.Mapped[int] = orm.mapped_column(_MONEY)
    buy_currency: orm.Mapped[str] = orm.mapped_column(sa.Text(collation="C"))
    buy_amount: orm.Mapped[int] = orm.mapped_column(_MONEY)
    spread_amount: orm.Mapped[int] = orm.mapped_column(_MONEY)
    fee_amount: orm.Mapped[int] = orm.mapped_column(_MONEY)
    """In the sold currency, on top of what is sold."""
    rate: orm.Mapped[Fraction] = orm.mapped_column(ExactRate)
    spread_parts_per_million: orm.Mapped[int]
    rounding: orm.Mapped[str] = orm.mapped_column(sa.Text)
    """What rounding took from the user, in minor units of `rounding_currency`, as a decimal."""
    rounding_currency: orm.Mapped[str] = orm.mapped_column(sa.Text(collation="C"))
    rate_source: orm.Mapped[str] = orm.mapped_column(sa.Text)
    rate_time: orm.Mapped[datetime.datetime] = orm.mapped_column(_Time)
    transfer_id: orm.Mapped[uuid.UUID]
    """Under which it is accepted: derived from the quote's own id, and here for what only SQL sees."""
    expires_time: orm.Mapped[datetime.datetime] = orm.mapped_column(_Time)
    created_time: orm.Mapped[datetime.datetime] = orm.mapped_column(_Time)


class AuditEntry(Base):
    """One change of a rule; no role can change the row."""

    __tablename__ = "audit_entries"
    __table_args__ = (sa.Index("audit_entries_subject", "subject", "id"),)

    id: orm.Mapped[uuid.UUID] = orm.mapped_column(primary_key=True)
    subject: orm.Mapped[str] = orm.mapped_column(sa.Text(collation="C"))
    action: orm.Mapped[str] = orm.mapped_column(sa.Text)
    actor: orm.Mapped[str] = orm.mapped_column(sa.Text)
    reason: orm.Mapped[str] = orm.mapped_column(sa.Text)
    before: orm.Mapped[dict[str, Any] | None] = orm.mapped_column(postgresql.JSONB(none_as_null=True))
    after: orm.Mapped[dict[str, Any] | None] = orm.mapped_column(postgresql.JSONB(none_as_null=True))
    created_time: orm.Mapped[datetime.datetime] = orm.mapped_column(_Time, server_default=sa.func.clock_timestamp())


class Seal(Base):
    """One link of the chain: the digests of a run of transfers, under the hash of the link before it."""

    __tablename__ = "seals"
    __table_args__ = (sa.UniqueConstraint("sequence", name="seals_sequence_key"),)

    number: orm.Mapped[int] = orm.mapped_column(sa.BigInteger, primary_key=True, autoincrement=False)
    format: orm.Mapped[int] = orm.mapped_column(sa.SmallInteger)
    """The version of what is hashed, and how."""
    sequence: orm.Mapped[int] = orm.mapped_column(sa.BigInteger)
    """How many transfers are sealed up to and with this link."""
    transfer_count: orm.Mapped[int]
    last_xid: orm.Mapped[int] = orm.mapped_column(Xid)
    last_place: orm.Mapped[int]
    digests: orm.Mapped[bytes]
    """The SHA-256 of each of its transfers, one after the other."""
    hash: orm.Mapped[bytes]
    signature: orm.Mapped[bytes]
    public_key: orm.Mapped[bytes]
    sealed_time: orm.Mapped[datetime.datetime] = orm.mapped_column(_Time)


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
    effective_time: datetime.datetime
    hold_id: uuid.UUID | None
    reverses_id: uuid.UUID | None
    group_id: uuid.UUID | None
