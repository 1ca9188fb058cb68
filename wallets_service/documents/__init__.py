"""Statements as files: each form is written as it is read, so that a long one takes no more memory than a short one."""

import datetime
import zoneinfo
from collections.abc import Sequence
from typing import Final, Protocol

from wallets_service.models import Transaction
from wallets_service.repository.histories import Head
from wallets_service.statements import Period

_MOMENT: Final = datetime.timedelta(microseconds=1)
_MINUTE: Final = datetime.timedelta(minutes=1)
_NOTHING: Final = datetime.timedelta(0)


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


def file_name(account: Head, period: Period, zone: zoneinfo.ZoneInfo, extension: str) -> str:
    """Return a name of letters, digits and dashes that says which account, and which days of the zone, first and last.

    A range that holds no time has the day that it begins with.
    """
    last = max(period.from_time, period.before_time - _MOMENT)
    days = "-".join(local(time, zone).date().isoformat().replace("-", "") for time in (period.from_time, last))
    return f"statement-{str(account.id)[:8]}-{account.currency}-{days}.{extension}"


def local(time: datetime.datetime, zone: zoneinfo.ZoneInfo) -> datetime.datetime:
    """Return an instant in a zone; at either end of all time, where a zone may have no date for it, as it is.

    RFC 3339 cannot write an offset with seconds, such as that of Paris until 1911: it is rounded to the minute, and the
    instant stays the same.
    """
    try:
        there = time.astimezone(zone)
        offset = there.utcoffset() or _NOTHING
        if offset % _MINUTE:
            there = time.astimezone(datetime.timezone(round(offset / _MINUTE) * _MINUTE))
    except OverflowError:
        return time
    return there
