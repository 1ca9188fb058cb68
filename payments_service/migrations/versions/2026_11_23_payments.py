"""Payments, their audit trail, the inbox of webhooks, and the answers kept under idempotency keys."""

from alembic import context, op

revision = "2026_11_23_payments"
down_revision = None
branch_labels = None
depends_on = None

PAYMENTS = """
CREATE TABLE payments (
    id uuid CONSTRAINT payments_pk PRIMARY KEY,
    user_id text NOT NULL,
    amount bigint NOT NULL,
    currency text NOT NULL,
    method text NOT NULL,
    status text NOT NULL,
    description text NOT NULL,
    reference text NOT NULL,
    stripe_payment_intent_id text,
    metadata jsonb NOT NULL,
    received_amount bigint NOT NULL DEFAULT 0,
    refunded_amount bigint NOT NULL DEFAULT 0,
    capturable_amount bigint NOT NULL DEFAULT 0,
    next_action jsonb,
    failure_code text NOT NULL DEFAULT '',
    failure_message text NOT NULL DEFAULT '',
    failure_field text NOT NULL DEFAULT '',
    payment_method_id text NOT NULL DEFAULT '',
    step text,
    due_time timestamptz,
    attempts integer NOT NULL DEFAULT 0,
    leased_until timestamptz,
    fence bigint NOT NULL DEFAULT 0,
    authorised_time timestamptz,
    completed_time timestamptz,
    created_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    deleted_time timestamptz,
    version integer NOT NULL DEFAULT 1,
    CONSTRAINT payments_reference_unique UNIQUE (reference),
    CONSTRAINT payments_intent_unique UNIQUE (stripe_payment_intent_id),
    CONSTRAINT payments_amount_positive CHECK (amount > 0),
    CONSTRAINT payments_currency_code CHECK (currency ~ '^[A-Z]{3}$'),
    CONSTRAINT payments_method_known
        CHECK (method IN ('STRIPE', 'MONCASH', 'NATCASH', 'BANK_TRANSFER', 'CASH', 'WALLET')),
    CONSTRAINT payments_status_known
        CHECK (status IN ('PENDING', 'PROCESSING', 'COMPLETED', 'FAILED', 'CANCELLED', 'REFUNDED')),
    CONSTRAINT payments_step_known CHECK (step IN ('AUTHORISE', 'CONFIRM', 'FETCH', 'CANCEL', 'SETTLE')),
    CONSTRAINT payments_step_while_processing CHECK ((step IS NULL) = (status <> 'PROCESSING')),
    CONSTRAINT payments_step_due CHECK ((step IS NULL) = (due_time IS NULL)),
    CONSTRAINT payments_received_within_amount CHECK (received_amount BETWEEN 0 AND amount),
    CONSTRAINT payments_refunded_within_received CHECK (refunded_amount BETWEEN 0 AND received_amount),
    CONSTRAINT payments_capturable_within_amount CHECK (capturable_amount BETWEEN 0 AND amount),
    CONSTRAINT payments_settle_received CHECK (step <> 'SETTLE' OR received_amount = amount),
    CONSTRAINT payments_completed_received
        CHECK (status NOT IN ('COMPLETED', 'REFUNDED') OR (received_amount = amount AND completed_time IS NOT NULL)),
    CONSTRAINT payments_ended_unpaid CHECK (status NOT IN ('FAILED', 'CANCELLED') OR received_amount = 0),
    CONSTRAINT payments_refunded_wholly CHECK ((status = 'REFUNDED') = (refunded_amount = amount)),
    CONSTRAINT payments_deleted_unpaid
        CHECK (deleted_time IS NULL OR status IN ('PENDING', 'FAILED', 'CANCELLED'))
)
"""

INDEXES = """
CREATE INDEX payments_due ON payments (due_time) WHERE step IN ('AUTHORISE', 'CONFIRM', 'FETCH', 'CANCEL');
CREATE INDEX payments_to_settle ON payments (due_time) WHERE step = 'SETTLE';
CREATE INDEX payments_by_status ON payments (status);
CREATE INDEX payments_by_created ON payments (created_time, id) WHERE deleted_time IS NULL;
CREATE INDEX payments_by_amount ON payments (amount, id) WHERE deleted_time IS NULL;
CREATE INDEX payments_by_user_created ON payments (user_id, created_time, id) WHERE deleted_time IS NULL;
CREATE INDEX payments_by_user_amount ON payments (user_id, amount, id) WHERE deleted_time IS NULL;
CREATE INDEX payments_by_status_created ON payments (status, created_time, id) WHERE deleted_time IS NULL
"""

CHANGES = """
CREATE TABLE payment_changes (
    sequence bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT payment_changes_pk PRIMARY KEY,
    payment_id uuid NOT NULL CONSTRAINT payment_changes_payment REFERENCES payments,
    version integer NOT NULL,
    actor text NOT NULL,
    what text NOT NULL,
    before text,
    after text NOT NULL,
    time timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT payment_changes_version_unique UNIQUE (payment_id, version)
)
"""

APPEND_ONLY = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are never changed', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER payment_changes_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON payment_changes
    EXECUTE FUNCTION refuse_change();
CREATE TRIGGER payments_never_deleted BEFORE DELETE OR TRUNCATE ON payments EXECUTE FUNCTION refuse_change()
"""

NOTIFY = """
CREATE FUNCTION notify_payment() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('payments', NEW.id || ' ' || NEW.version || ' ' || coalesce(NEW.step, ''));
    RETURN NULL;
END $$;
CREATE TRIGGER payments_notify_new AFTER INSERT ON payments
    FOR EACH ROW EXECUTE FUNCTION notify_payment();
CREATE TRIGGER payments_notify_change AFTER UPDATE ON payments
    FOR EACH ROW WHEN (OLD.version <> NEW.version) EXECUTE FUNCTION notify_payment()
"""

INBOX = """
CREATE TABLE inbox_events (
    sequence bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT inbox_events_pk PRIMARY KEY,
    provider text NOT NULL,
    event_id text NOT NULL,
    type text NOT NULL,
    object_id text NOT NULL,
    payload bytea NOT NULL,
    event_time timestamptz NOT NULL,
    received_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    due_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    attempts integer NOT NULL DEFAULT 0,
    applied_time timestamptz,
    outcome text NOT NULL DEFAULT '',
    CONSTRAINT inbox_events_event_unique UNIQUE (provider, event_id)
);
CREATE INDEX inbox_events_due ON inbox_events (due_time) WHERE applied_time IS NULL;
CREATE INDEX inbox_events_waiting ON inbox_events (object_id, sequence) WHERE applied_time IS NULL
"""

KEYS = """
CREATE TABLE idempotency_keys (
    subject text NOT NULL,
    key text NOT NULL,
    fingerprint bytea NOT NULL,
    resource_id uuid,
    answer bytea,
    leased_until timestamptz,
    created_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT idempotency_keys_pk PRIMARY KEY (subject, key)
);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_time)
"""

GRANTS = """
GRANT SELECT, INSERT, UPDATE ON payments, inbox_events TO {role};
GRANT SELECT, INSERT ON payment_changes TO {role};
GRANT SELECT, INSERT, UPDATE, DELETE ON idempotency_keys TO {role}
"""


def upgrade() -> None:
    """Create everything, and let the application role use it: it cannot delete payments or touch the audit trail."""
    for statements in (PAYMENTS, INDEXES, CHANGES, APPEND_ONLY, NOTIFY, INBOX, KEYS):
        op.execute(statements)
    role = context.config.attributes["application_role"]
    op.execute(GRANTS.format(role=op.get_bind().dialect.identifier_preparer.quote(role)))
