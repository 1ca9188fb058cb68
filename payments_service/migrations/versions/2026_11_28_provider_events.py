"""References per user, a method's payments, events that staff look through, and the triggers of changes."""

from alembic import op

revision = "2026_11_28_provider_events"
down_revision = "2026_11_24_unknown_outcomes"
branch_labels = None
depends_on = None

REFERENCES = """
ALTER TABLE payments DROP CONSTRAINT payments_reference_unique;
CREATE UNIQUE INDEX payments_reference_unique ON payments (user_id, reference)
    WHERE status NOT IN ('FAILED', 'CANCELLED') AND deleted_time IS NULL;
CREATE INDEX payments_by_reference ON payments (reference) WHERE deleted_time IS NULL
"""

METHODS = """
CREATE INDEX payments_by_method ON payments (method, created_time, id) WHERE deleted_time IS NULL;
CREATE INDEX payments_pending_by_method ON payments (method, created_time)
    WHERE status = 'PENDING' AND deleted_time IS NULL
"""

CHARGES = """
ALTER TABLE payments
    ADD COLUMN refused_charges integer NOT NULL DEFAULT 0,
    ADD COLUMN due_event text NOT NULL DEFAULT '';
CREATE INDEX idempotency_keys_by_resource ON idempotency_keys (resource_id) WHERE resource_id IS NOT NULL
"""

CHANGES = """
ALTER TABLE payment_changes
    ADD COLUMN trigger text CONSTRAINT payment_changes_trigger_known
        CHECK (trigger IN ('CALL', 'EVENT', 'TIMER', 'SETTLEMENT')),
    ADD COLUMN event_id text NOT NULL DEFAULT ''
"""

EVENTS = """
ALTER TABLE inbox_events
    ADD COLUMN state text NOT NULL DEFAULT 'RECEIVED',
    ADD COLUMN payment_id uuid;
UPDATE inbox_events SET
    state = CASE
        WHEN applied_time IS NULL THEN 'RECEIVED'
        WHEN outcome IN ('applied', 'fetch', 'nothing new') THEN 'APPLIED'
        WHEN outcome = 'ignored' AND type = ANY ('{moving}') THEN 'UNAPPLIED'
        ELSE 'IGNORED'
    END,
    payment_id = (SELECT id FROM payments WHERE stripe_payment_intent_id = object_id);
ALTER TABLE inbox_events
    ADD CONSTRAINT inbox_events_state_known CHECK (state IN ('RECEIVED', 'APPLIED', 'IGNORED', 'UNAPPLIED')),
    ADD CONSTRAINT inbox_events_state_applied CHECK ((state = 'RECEIVED') = (applied_time IS NULL));
CREATE INDEX inbox_events_unapplied ON inbox_events (sequence) WHERE state = 'UNAPPLIED';
CREATE INDEX inbox_events_by_payment ON inbox_events (payment_id, sequence) WHERE payment_id IS NOT NULL;
CREATE INDEX inbox_events_by_type ON inbox_events (type, sequence)
"""

MOVING = """
    charge.refunded charge.refund.updated refund.created refund.updated refund.failed
    charge.dispute.created charge.dispute.funds_withdrawn charge.dispute.funds_reinstated charge.dispute.closed
    payout.created payout.paid payout.failed payout.canceled
    topup.succeeded topup.reversed transfer.created transfer.reversed
    application_fee.created application_fee.refunded
    customer_cash_balance_transaction.created source.transaction.created
    reserve.hold.created reserve.release.created
    issuing_transaction.created issuing_dispute.funds_reinstated issuing_dispute.funds_rescinded
    climate.order.created climate.order.canceled
    treasury.credit_reversal.posted treasury.debit_reversal.completed treasury.debit_reversal.initial_credit_granted
    treasury.inbound_transfer.succeeded treasury.inbound_transfer.failed
    treasury.outbound_payment.posted treasury.outbound_payment.failed treasury.outbound_payment.returned
    treasury.outbound_transfer.posted treasury.outbound_transfer.failed treasury.outbound_transfer.returned
    treasury.received_credit.succeeded treasury.received_debit.created
"""
"""The events of before that moved money and were ignored."""


def upgrade() -> None:
    """Change the schema; events of before get their states, and those that moved money are listed from now on."""
    for statements in (REFERENCES, METHODS, CHARGES, CHANGES):
        op.execute(statements)
    op.execute(EVENTS.replace("{moving}", f"{{{','.join(MOVING.split())}}}"))
