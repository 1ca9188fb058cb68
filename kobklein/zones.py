"""The time zones that callers may name, and when their days begin, all by Python's table of zones."""

import datetime
import functools
import zoneinfo
from typing import Final

_LOCAL_NAMES: Final = frozenset({"localtime", "posixrules", "Factory"})


@functools.cache
def names() -> frozenset[str]:
    """Return the names that mean the same everywhere; some systems have a few more, of their own."""
    return frozenset(zoneinfo.available_timezones()) - _LOCAL_NAMES


def midnight(day: datetime.date, name: str) -> datetime.datetime:
    """Return when a day begins in a zone.

    A day whose midnight comes twice begins with the first one, and has 25 hours. One whose midnight is skipped begins
    when the clocks go forward. A day that a zone has skipped as a whole begins and ends at once.
    """
    local = datetime.datetime(day.year, day.month, day.day, tzinfo=zoneinfo.ZoneInfo(name), fold=0)
    return local.astimezone(datetime.UTC)
