"""Accounts, transfers and idempotency keys, with the rules that hold whoever writes.

Revision ID: 2026_11_23_ledger
Revises:
"""

import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.dialects import postgresql

revision = "2026_11_23_ledger"
down_revision = None
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)
_BYTEWISE = sa.Text(collation="C")
_NOW = sa.func.clock_timestamp()

_SAME_CURRENCY = """
    CREATE FUNCTION transfers_check_accounts() RETURNS trigger LANGUAGE plpgsql SET search_path = public AS $$
    BEGIN
        IF EXISTS (
            SELECT FROM added
            LEFT JOIN accounts debit ON debit.id = added.debit_account_id AND debit.currency = added.currency
            LEFT JOIN accounts credit ON credit.id = added.credit_account_id AND credit.currency = added.currency
            WHERE debit.id IS NULL OR credit.id IS NULL
        ) THEN
            RAISE foreign_key_violation USING
                MESSAGE = 'a transfer needs two accounts of its own currency',
                TABLE = 'transfers', CONSTRAINT = 'transfers_accounts';
        END IF;
        RETURN NULL;
    END $$
"""
_IMMUTABLE = """
    CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE restrict_violation USING
            MESSAGE = format('%s on %s is refused: what is recorded stays as it is', TG_OP, TG_TABLE_NAME),
            TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
    END $$
"""


def upgrade() -> None:
    """Create the tables, then the triggers, then let the application role in."""
    _create_accounts()
    _create_transfers()
    _create_idempotency_keys()
    _create_triggers()
    _grant(context.config.attributes["application_role"])


def _create_accounts() -> None:
    op.create_table(
        "accounts",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("address", _BYTEWISE, nullable=False),
        sa.Column("currency", _BYTEWISE, nullable=False),
        sa.Column(
            "user_id",
            sa.Text,
            sa.Computed("CASE WHEN address ~ '^user/[^/]+$' THEN substr(address, 6) END", persisted=True),
        ),
        sa.Column("balance", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("held_amount", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("overdraft_limit", sa.BigInteger),
        sa.Column("status", sa.Text, nullable=False, server_default="ACTIVE"),
        sa.Column("version", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("created_time", _TIME, nullable=False, server_default=_NOW),
        sa.Column("updated_time", _TIME, nullable=False, server_default=_NOW),
        sa.UniqueConstraint("address", "currency", name="accounts_address_currency_key"),
        sa.CheckConstraint(
            "overdraft_limit IS NULL OR balance - held_amount >= -overdraft_limit", name="accounts_floor"
        ),
        sa.CheckConstraint("overdraft_limit >= 0", name="accounts_overdraft_limit"),
        sa.CheckConstraint("held_amount >= 0", name="accounts_held_amount"),
        sa.CheckConstraint("status IN ('ACTIVE', 'FROZEN', 'CLOSED')", name="accounts_status"),
        # Balances change all the time and stand in no index: with room on the page, an update touches no index at all.
        postgresql_with={"fillfactor": "50"},
    )


def _create_transfers() -> None:
    op.create_table(
        "transfers",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("debit_account_id", sa.Uuid, nullable=False),
        sa.Column("credit_account_id", sa.Uuid, nullable=False),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.Column("currency", _BYTEWISE, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("payment_id", sa.Uuid),
        sa.Column("reference", sa.Text, nullable=False, server_default=""),
        sa.Column("description", sa.Text, nullable=False, server_default=""),
        sa.Column("metadata", postgresql.JSONB, nullable=False, server_default="{}"),
        sa.Column("debit_balance_after", sa.BigInteger, nullable=False),
        sa.Column("credit_balance_after", sa.BigInteger, nullable=False),
        sa.Column("debit_version", sa.BigInteger, nullable=False),
        sa.Column("credit_version", sa.BigInteger, nullable=False),
        sa.Column("created_time", _TIME, nullable=False),
        sa.UniqueConstraint("debit_account_id", "debit_version", name="transfers_debit_version_key"),
        sa.UniqueConstraint("credit_account_id", "credit_version", name="transfers_credit_version_key"),
        sa.CheckConstraint("amount > 0", name="transfers_amount"),
        sa.CheckConstraint("debit_account_id <> credit_account_id", name="transfers_two_accounts"),
    )
    op.create_index(
        "transfers_payment_id", "transfers", ["payment_id"], postgresql_where=sa.text("payment_id IS NOT NULL")
    )


def _create_idempotency_keys() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("subject", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("fingerprint", sa.LargeBinary, nullable=False),
        sa.Column("resource_id", sa.Uuid),
        sa.Column("answer", sa.LargeBinary),
        sa.Column("leased_until", _TIME),
        sa.Column("created_time", _TIME, nullable=False, server_default=_NOW),
    )


def _create_triggers() -> None:
    """One check per statement, not foreign keys: those look up both accounts anew for every single row.

    It is as strong as they are, since no account can be deleted or change its currency.
    """
    op.execute(_SAME_CURRENCY)
    op.execute(_IMMUTABLE)
    op.execute(
        "CREATE TRIGGER transfers_accounts AFTER INSERT ON transfers"
        " REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION transfers_check_accounts()"
    )
    op.execute(
        "CREATE TRIGGER transfers_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON transfers"
        " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )
    op.execute(
        "CREATE TRIGGER accounts_permanent BEFORE DELETE OR TRUNCATE OR UPDATE OF id, address, currency ON accounts"
        " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )


def _grant(role: str) -> None:
    """Let the application role read everything, and write what a running service writes."""
    connection = op.get_bind()
    if connection.scalar(sa.text("SELECT current_user = :role"), {"role": role}):
        return
    name = connection.dialect.identifier_preparer.quote(role)
    op.execute(f"GRANT SELECT ON accounts, transfers, alembic_version TO {name}")
    op.execute(f"GRANT INSERT ON accounts, transfers TO {name}")
    op.execute(
        f"GRANT UPDATE (balance, held_amount, overdraft_limit, status, version, updated_time) ON accounts TO {name}"
    )
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON idempotency_keys TO {name}")
