"""What a verification finds."""

import dataclasses
import datetime
import uuid
from collections.abc import Callable
from typing import Final

MAX_BREAKS: Final = 1_000

Progress = Callable[[str, int, int], None]
"""Is told what is checked now, how much of it is done, and how much there is; 0 when nobody knows."""


@dataclasses.dataclass(frozen=True, slots=True)
class Total:
    """All balances in one currency."""

    currency: str
    balance: int
    user_balance: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Break:
    """One thing that does not hold; what it is not about stays empty.

    A broken history names the transfer whose balance does not follow from the one before it, or whose place is not the
    next; without a transfer, the history does not end where the account stands. A broken chain names the place of the
    first transfer that is not as it was sealed; without a transfer, it is one that is gone, or a seal itself is wrong.
    """

    check: str
    detail: str
    address: str | None = None
    currency: str | None = None
    transfer_id: uuid.UUID | None = None
    hold_id: uuid.UUID | None = None
    sequence: int = 0
    expected_amount: int = 0
    actual_amount: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Report:
    """What a verification found."""

    account_count: int
    transfer_count: int
    hold_count: int
    sealed_count: int
    verified_time: datetime.datetime
    totals: list[Total]
    breaks: list[Break]
    """The first MAX_BREAKS."""
