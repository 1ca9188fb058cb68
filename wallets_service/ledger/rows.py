"""The rows of transfers and holds as every reader of them selects and takes them: in one order, with ids as text.

The readers differ in how they find rows, and where the addresses of both accounts come from.
"""

from collections.abc import Sequence
from typing import Any, Final

from wallets_service import fees
from wallets_service.ledger import free_data
from wallets_service.ledger.entries import Hold, NewHold, Posting, Transfer

TRANSFER: Final = (
    "transfers.id::text",
    "transfers.debit_account_id::text",
    "transfers.credit_account_id::text",
    "transfers.amount",
    "transfers.currency",
    "transfers.type",
    "transfers.payment_id::text",
    "transfers.reference",
    "transfers.description",
    "transfers.metadata::text",
    "transfers.hold_id::text",
    "transfers.reverses_id::text",
    "transfers.effective_time",
    "transfers.debit_balance_after",
    "transfers.credit_balance_after",
    "transfers.debit_version",
    "transfers.credit_version",
    "transfers.created_time",
    "transfers.group_id::text",
)
HOLD: Final = (
    "holds.id::text",
    "holds.debit_account_id::text",
    "holds.credit_account_id::text",
    "holds.amount",
    "holds.currency",
    "holds.type",
    "holds.expires_time - holds.created_time",
    "holds.payment_id::text",
    "holds.reference",
    "holds.description",
    "holds.metadata::text",
    "holds.fee_amount",
    "holds.fee_fixed_amount",
    "holds.fee_parts_per_million",
    "holds.fee_floor_amount",
    "holds.fee_cap_amount",
    "holds.fee_of::text",
    "holds.posted_amount",
    "holds.status",
    "holds.created_time",
    "holds.updated_time",
)


def posting(row: Sequence[Any], debit_account: str, credit_account: str) -> Posting:
    """Return the transfer in a row of exactly its columns."""
    id_, debit_id, credit_id = row[:3]
    made = (id_, debit_account, credit_account, *row[3:9], free_data.loads(row[9]), *row[10:13])
    return Posting(Transfer(*made), debit_id, credit_id, *row[13:])


def hold(row: Sequence[Any], debit_account: str, credit_account: str) -> Hold:
    """Return the hold in a row of exactly its columns, as it is recorded."""
    id_, debit_id, credit_id = row[:3]
    fee_amount, fixed, parts, floor, cap, fee_of = row[11:17]
    terms = None
    if fixed is not None:
        terms = fees.Terms(fixed_amount=fixed, parts_per_million=parts, floor_amount=floor, cap_amount=cap)
    made = (id_, debit_account, credit_account, *row[3:10], free_data.loads(row[10]), fee_amount, terms, fee_of)
    return Hold(NewHold(*made), debit_id, credit_id, *row[17:])
