"""Statements as files: each form is written as it is read, so that a long one takes no more memory than a short one."""

import datetime
import zoneinfo
from collections.abc import Sequence
from typing import Protocol

from wallets_service.models import Transaction
from wallets_service.repository.histories import Head
from wallets_service.statements import Period


class Document(Protocol):
    """One form of a statement."""

    media_type: str
    disposition: str
    """Whether a browser shows or saves it."""
    extension: str

    def __init__(self, account: Head, period: Period, zone: zoneinfo.ZoneInfo) -> None: ...

    def head(self) -> str:
        """Return what comes before the lines."""

    def lines(self, transactions: Sequence[Transaction]) -> str:
        """Return some lines."""

    def tail(self) -> str:
        """Return what comes after the lines."""


def file_name(account: Head, period: Period, extension: str) -> str:
    """Return a name of letters, digits and dashes that says which account and which days."""
    days = f"{period.from_time:%Y%m%d}-{period.before_time:%Y%m%d}"
    return f"statement-{str(account.id)[:8]}-{account.currency}-{days}.{extension}"


def local(time: datetime.datetime, zone: zoneinfo.ZoneInfo) -> datetime.datetime:
    """Return an instant in a zone; at either end of all time, where a zone may have no date for it, as it is."""
    try:
        return time.astimezone(zone)
    except OverflowError:
        return time
