"""Which claim of a payment ended without anybody knowing what the provider did."""

from alembic import op

revision = "2026_11_24_unknown_outcomes"
down_revision = "2026_11_23_payments"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column, which no replica of an earlier version looks at or needs to clear."""
    op.execute("ALTER TABLE payments ADD COLUMN unknown_fence bigint")
