"""The time zones that callers may name."""

import functools
import zoneinfo
from typing import Final

_LOCAL_NAMES: Final = frozenset({"localtime", "posixrules", "Factory"})


@functools.cache
def names() -> frozenset[str]:
    """Return the names that mean the same everywhere; some systems have a few more, of their own."""
    return frozenset(zoneinfo.available_timezones()) - _LOCAL_NAMES
