"""Holds, linked transfers, reversals, backdating, limits, fees, conversions, seals, and the record of who changed what.

Revision ID: 2026_11_24_ledger_features
Revises: 2026_11_23_ledger
"""

import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.dialects import postgresql

revision = "2026_11_24_ledger_features"
down_revision = "2026_11_23_ledger"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)
_BYTEWISE = sa.Text(collation="C")
_NOW = sa.func.clock_timestamp()
_IMMUTABLE_TABLES = ("audit_entries", "seals")
_KEEP_QUOTE = """
    CREATE FUNCTION keep_quote() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF OLD.expires_time > clock_timestamp() - interval '1 day' THEN
            RAISE restrict_violation USING
                MESSAGE = format('quote %s may still be accepted, or is being accepted', OLD.id),
                TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
        ELSIF EXISTS (SELECT FROM transfers WHERE id = OLD.transfer_id) THEN
            RAISE restrict_violation USING
                MESSAGE = format('quote %s was accepted, and says what for its transfers are', OLD.id),
                TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
        END IF;
        RETURN OLD;
    END $$
"""
"""The day is for acceptances that were in time, and whose transaction has not ended: none lasts that long."""

_NAME_HASH = "substr(sha256(convert_to(address || '/' || currency, 'UTF8')), 1, 16)"
_NAMED = f"""
    SELECT id AS old_id, encode(
        set_byte(set_byte(hash, 6, get_byte(hash, 6) & 15 | 128), 8, get_byte(hash, 8) & 63 | 128), 'hex'
    )::uuid AS new_id
    FROM (SELECT id, {_NAME_HASH} AS hash FROM accounts) hashed
"""  # noqa: S608  # put together from constants of this module
"""The ids that follow from the names of accounts: UUIDs, version 8, of SHA-256. None of them is an id of before."""
_RENAME_IN_TRANSFERS = f"""
    WITH named AS MATERIALIZED ({_NAMED}),
         numbered AS (SELECT id, row_number() OVER (ORDER BY created_time, id) AS place FROM transfers)
    UPDATE transfers
    SET place = numbered.place, debit_account_id = debit.new_id, credit_account_id = credit.new_id
    FROM numbered, named debit, named credit
    WHERE transfers.id = numbered.id
      AND debit.old_id = transfers.debit_account_id
      AND credit.old_id = transfers.credit_account_id
"""  # noqa: S608  # as above
_RENAME_IN_ANSWERS = f"""
    UPDATE idempotency_keys
    SET answer = overlay(answer PLACING convert_to(named.new_id::text, 'UTF8') FROM 3)
    FROM ({_NAMED}) named
    WHERE substr(answer, 1, 2) = '\\x0a24' AND substr(answer, 3, 36) = convert_to(named.old_id::text, 'UTF8')
"""  # noqa: S608  # as above
"""Answers that are kept are of CreateWallet alone, and begin with the wallet's id: field 1, 36 bytes long."""
_RENAME_ACCOUNTS = f"UPDATE accounts SET id = named.new_id FROM ({_NAMED}) named WHERE id = named.old_id"  # noqa: S608  # as above
_USER_ID = "CASE WHEN address ~ '^user/[^/]+$' THEN substr(address, 6) END"


def upgrade() -> None:
    """Extend accounts and transfers, add the new tables, then let the application role use them.

    All in one transaction, which locks both tables against everybody and writes every transfer twice: stop the service
    of before, which would go on to open accounts under random ids. There is no way back but a backup.
    """
    _extend_accounts()
    _extend_transfers()
    _rename_accounts()
    _index_transfers()
    _create_holds()
    _create_rules()
    _create_quotes()
    _create_audit_entries()
    _create_seals()
    for table in _IMMUTABLE_TABLES:
        op.execute(
            f"CREATE TRIGGER {table}_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
    _grant(context.config.attributes["application_role"])


def _extend_accounts() -> None:
    op.drop_constraint("accounts_status", "accounts")
    op.create_check_constraint(
        "accounts_status", "accounts", "status IN ('ACTIVE', 'FROZEN', 'DEBIT_FROZEN', 'CREDIT_FROZEN', 'CLOSED')"
    )
    op.create_check_constraint("accounts_closed", "accounts", "status <> 'CLOSED' OR (balance = 0 AND held_amount = 0)")
    for column in (
        sa.Column("metadata", postgresql.JSONB, nullable=False, server_default="{}"),
        sa.Column("revision", sa.BigInteger, nullable=False, server_default="1"),
        sa.Column("transfer_limit", sa.BigInteger),
        sa.Column("day_limit", sa.BigInteger),
        sa.Column("month_limit", sa.BigInteger),
        sa.Column("spent_date", sa.Date),
        sa.Column("day_spent", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("month_spent", sa.BigInteger, nullable=False, server_default="0"),
    ):
        op.add_column("accounts", column)
    # Stored, it would be computed anew with every change of a balance.
    op.drop_column("accounts", "user_id")
    op.add_column("accounts", sa.Column("user_id", sa.Text, sa.Computed(_USER_ID, persisted=False)))
    op.create_check_constraint(
        "accounts_limits", "accounts", "least(transfer_limit, day_limit, month_limit, day_spent, month_spent) >= 0"
    )


def _extend_transfers() -> None:
    """Add columns that most transfers leave empty.

    `xid` and `place` are ledger order: every transaction below the snapshot's horizon has ended, so whoever
    reads up to there skips none. Transfers from before this revision get the revision's own transaction, and are
    numbered by time and id.
    """
    for column in (
        sa.Column("hold_id", sa.Uuid),
        sa.Column("reverses_id", sa.Uuid),
        sa.Column("group_id", sa.Uuid),
        sa.Column("effective_time", _TIME),
        sa.Column("xid", _Xid, nullable=False, server_default=sa.text("pg_current_xact_id()")),
        sa.Column("place", sa.Integer, nullable=False, server_default="1"),
    ):
        op.add_column("transfers", column)


def _rename_accounts() -> None:
    """Let the ids of accounts follow from their names, and number the transfers with the same writing of each.

    First in what names the accounts, then in the accounts themselves, in which the names are looked up. The keys of
    their histories are made anew afterwards, all at once, which costs less than to move every entry by itself.
    """
    op.execute("ALTER TABLE transfers DISABLE TRIGGER transfers_immutable")
    op.execute("ALTER TABLE accounts DISABLE TRIGGER accounts_permanent")
    for side in ("debit", "credit"):
        op.drop_constraint(f"transfers_{side}_version_key", "transfers")
    op.execute(_RENAME_IN_TRANSFERS)
    for side in ("debit", "credit"):
        op.create_unique_constraint(
            f"transfers_{side}_version_key", "transfers", [f"{side}_account_id", f"{side}_version"]
        )
    op.execute(_RENAME_IN_ANSWERS)
    op.execute(_RENAME_ACCOUNTS)
    op.execute("ALTER TABLE accounts ENABLE TRIGGER accounts_permanent")
    op.execute("ALTER TABLE transfers ENABLE TRIGGER transfers_immutable")


def _index_transfers() -> None:
    """Index what most transfers leave empty only where it is not. Ledger order grows at its end, which is cheap."""
    op.create_index("transfers_commit_order", "transfers", ["xid", "place"], unique=True)
    op.create_check_constraint("transfers_effective_time", "transfers", "effective_time < created_time")
    for name, columns, condition in (
        ("transfers_hold_id", ["hold_id"], "hold_id IS NOT NULL"),
        ("transfers_reverses_id", ["reverses_id"], "reverses_id IS NOT NULL"),
        ("transfers_group_id", ["group_id"], "group_id IS NOT NULL"),
        (
            "transfers_debit_effective",
            ["debit_account_id", "effective_time", "debit_version"],
            "effective_time IS NOT NULL",
        ),
        (
            "transfers_credit_effective",
            ["credit_account_id", "effective_time", "credit_version"],
            "effective_time IS NOT NULL",
        ),
    ):
        op.create_index(name, "transfers", columns, postgresql_where=sa.text(condition))


class _Xid(sa.types.UserDefinedType[int]):
    """PostgreSQL's 64-bit transaction id, which never wraps around."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        return "xid8"


def _create_holds() -> None:
    op.create_table(
        "holds",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("debit_account_id", sa.Uuid, sa.ForeignKey("accounts.id"), nullable=False),
        sa.Column("credit_account_id", sa.Uuid, sa.ForeignKey("accounts.id"), nullable=False),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.Column("posted_amount", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("currency", _BYTEWISE, nullable=False),
        sa.Column("status", sa.Text, nullable=False, server_default="PENDING"),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("payment_id", sa.Uuid),
        sa.Column("reference", sa.Text, nullable=False, server_default=""),
        sa.Column("description", sa.Text, nullable=False, server_default=""),
        sa.Column("metadata", postgresql.JSONB, nullable=False, server_default="{}"),
        sa.Column("expires_time", _TIME, nullable=False),
        sa.Column("created_time", _TIME, nullable=False),
        sa.Column("updated_time", _TIME, nullable=False),
        sa.Column("fee_amount", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("fee_fixed_amount", sa.BigInteger),
        sa.Column("fee_parts_per_million", sa.Integer),
        sa.Column("fee_floor_amount", sa.BigInteger),
        sa.Column("fee_cap_amount", sa.BigInteger),
        sa.Column("fee_of", sa.Uuid, sa.ForeignKey("holds.id")),
        sa.CheckConstraint("amount > 0", name="holds_amount"),
        sa.CheckConstraint("fee_amount >= 0 AND (fee_of IS NULL OR fee_amount = 0)", name="holds_fee"),
        sa.CheckConstraint(
            "num_nonnulls(fee_fixed_amount, fee_parts_per_million, fee_floor_amount)"
            " = CASE fee_amount WHEN 0 THEN 0 ELSE 3 END",
            name="holds_fee_terms",
        ),
        sa.CheckConstraint("posted_amount BETWEEN 0 AND amount", name="holds_posted_amount"),
        sa.CheckConstraint("status <> 'PENDING' OR posted_amount < amount", name="holds_pending"),
        sa.CheckConstraint("status IN ('PENDING', 'POSTED', 'VOIDED', 'EXPIRED')", name="holds_status"),
        sa.CheckConstraint("debit_account_id <> credit_account_id", name="holds_two_accounts"),
    )
    op.create_index("holds_debit_account", "holds", ["debit_account_id", "created_time", "id"])
    op.create_index("holds_credit_account", "holds", ["credit_account_id", "created_time", "id"])
    op.create_index("holds_created", "holds", ["created_time", "id"])
    op.create_index("holds_status", "holds", ["status", "created_time", "id"])
    op.create_index("holds_currency", "holds", ["currency", "created_time", "id"])
    op.create_index(
        "holds_reference", "holds", ["reference", "created_time", "id"], postgresql_where=sa.text("reference <> ''")
    )
    op.create_index("holds_fee_of", "holds", ["fee_of"], postgresql_where=sa.text("fee_of IS NOT NULL"))
    pending = sa.text("status = 'PENDING'")
    op.create_index("holds_expiry", "holds", ["expires_time"], postgresql_where=pending)
    op.create_index("holds_pending", "holds", ["debit_account_id", "expires_time"], postgresql_where=pending)
    op.execute(
        "CREATE TRIGGER holds_permanent BEFORE DELETE OR TRUNCATE"
        " OR UPDATE OF id, debit_account_id, credit_account_id, amount, currency, expires_time, fee_amount,"
        " fee_fixed_amount, fee_parts_per_million, fee_floor_amount, fee_cap_amount, fee_of ON holds"
        " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )


def _create_rules() -> None:
    """Create what admins set: one row per currency, kind or pair."""
    op.create_table(
        "currency_limits",
        sa.Column("currency", _BYTEWISE, primary_key=True),
        sa.Column("transfer_limit", sa.BigInteger),
        sa.Column("day_limit", sa.BigInteger),
        sa.Column("month_limit", sa.BigInteger),
        sa.CheckConstraint("least(transfer_limit, day_limit, month_limit) >= 0", name="currency_limits_amounts"),
    )
    op.create_table(
        "fees",
        sa.Column("currency", _BYTEWISE, primary_key=True),
        sa.Column("type", sa.Text, primary_key=True),
        sa.Column("fixed_amount", sa.BigInteger, nullable=False),
        sa.Column("parts_per_million", sa.Integer, nullable=False),
        sa.Column("floor_amount", sa.BigInteger, nullable=False),
        sa.Column("cap_amount", sa.BigInteger),
        sa.Column("updated_time", _TIME, nullable=False, server_default=_NOW),
        sa.CheckConstraint("least(fixed_amount, floor_amount, cap_amount) >= 0", name="fees_amounts"),
        sa.CheckConstraint("parts_per_million BETWEEN 0 AND 1000000", name="fees_parts_per_million"),
        sa.CheckConstraint("cap_amount >= floor_amount", name="fees_bounds"),
        sa.CheckConstraint("type IN ('TRANSFER', 'CONVERSION')", name="fees_type"),
    )
    op.create_table(
        "fx_rates",
        sa.Column("sell_currency", _BYTEWISE, primary_key=True),
        sa.Column("buy_currency", _BYTEWISE, primary_key=True),
        sa.Column("rate", sa.Numeric(21, 12), nullable=False),
        sa.Column("spread_parts_per_million", sa.Integer, nullable=False),
        sa.Column("updated_time", _TIME, nullable=False, server_default=_NOW),
        sa.CheckConstraint("rate > 0", name="fx_rates_rate"),
        sa.CheckConstraint("spread_parts_per_million BETWEEN 0 AND 500000", name="fx_rates_spread"),
        sa.CheckConstraint("sell_currency <> buy_currency", name="fx_rates_two_currencies"),
    )


def _create_quotes() -> None:
    """Create the offered prices. Whether one was accepted is not stored: its transfer is posted or is not.

    None of them changes. Only what expired without being accepted can be deleted.
    """
    op.create_table(
        "fx_quotes",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("user_id", sa.Text, nullable=False),
        sa.Column("sell_currency", _BYTEWISE, nullable=False),
        sa.Column("sell_amount", sa.BigInteger, nullable=False),
        sa.Column("buy_currency", _BYTEWISE, nullable=False),
        sa.Column("buy_amount", sa.BigInteger, nullable=False),
        sa.Column("spread_amount", sa.BigInteger, nullable=False),
        sa.Column("fee_amount", sa.BigInteger, nullable=False),
        sa.Column("rate", sa.Numeric(21, 12), nullable=False),
        sa.Column("spread_parts_per_million", sa.Integer, nullable=False),
        sa.Column("rounding", sa.Text, nullable=False),
        sa.Column("rounding_currency", _BYTEWISE, nullable=False),
        sa.Column("rate_source", sa.Text, nullable=False),
        sa.Column("rate_time", _TIME, nullable=False),
        sa.Column("transfer_id", sa.Uuid, nullable=False),
        sa.Column("expires_time", _TIME, nullable=False),
        sa.Column("created_time", _TIME, nullable=False),
        sa.CheckConstraint(
            "least(sell_amount, buy_amount) > 0 AND least(spread_amount, fee_amount) >= 0", name="fx_quotes_amounts"
        ),
        sa.CheckConstraint("sell_currency <> buy_currency", name="fx_quotes_two_currencies"),
    )
    op.create_index("fx_quotes_expiry", "fx_quotes", ["expires_time", "id"])
    op.execute(_KEEP_QUOTE)
    op.execute(
        "CREATE TRIGGER fx_quotes_immutable BEFORE UPDATE OR TRUNCATE ON fx_quotes"
        " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )
    op.execute("CREATE TRIGGER fx_quotes_kept BEFORE DELETE ON fx_quotes FOR EACH ROW EXECUTE FUNCTION keep_quote()")


def _create_audit_entries() -> None:
    op.create_table(
        "audit_entries",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("subject", _BYTEWISE, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("before", postgresql.JSONB),
        sa.Column("after", postgresql.JSONB),
        sa.Column("created_time", _TIME, nullable=False, server_default=_NOW),
    )
    op.create_index("audit_entries_subject", "audit_entries", ["subject", "id"])


def _create_seals() -> None:
    """Create the chain: each row seals the transfers of a range of ledger order, under the row before it."""
    op.create_table(
        "seals",
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("format", sa.SmallInteger, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("transfer_count", sa.Integer, nullable=False),
        sa.Column("last_xid", _Xid, nullable=False),
        sa.Column("last_place", sa.Integer, nullable=False),
        sa.Column("digests", sa.LargeBinary, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.Column("signature", sa.LargeBinary, nullable=False),
        sa.Column("public_key", sa.LargeBinary, nullable=False),
        sa.Column("sealed_time", _TIME, nullable=False),
        sa.UniqueConstraint("sequence", name="seals_sequence_key"),
        sa.CheckConstraint("transfer_count > 0 AND octet_length(digests) = 32 * transfer_count", name="seals_digests"),
    )


def _grant(role: str) -> None:
    """Let the application role read everything, and write what a running service writes."""
    connection = op.get_bind()
    if connection.scalar(sa.text("SELECT current_user = :role"), {"role": role}):
        return
    name = connection.dialect.identifier_preparer.quote(role)
    columns = "metadata, revision, transfer_limit, day_limit, month_limit, spent_date, day_spent, month_spent"
    op.execute(f"GRANT UPDATE ({columns}) ON accounts TO {name}")
    op.execute(f"GRANT SELECT, INSERT ON holds, fx_quotes, audit_entries, seals TO {name}")
    op.execute(f"GRANT UPDATE (status, posted_amount, updated_time) ON holds TO {name}")
    op.execute(f"GRANT DELETE ON fx_quotes TO {name}")
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON currency_limits, fees, fx_rates TO {name}")
