"""Free data as it was sent: every number of it is a double, whatever PostgreSQL writes it as."""

import json
from typing import Any


def loads(text: str) -> dict[str, Any]:
    """Return the free data that a JSONB column holds as text, equal to what was stored.

    PostgreSQL writes numbers out in full: 1e23 comes back as a whole number of 24 digits, which no double equals.
    """
    found: dict[str, Any] = json.loads(text, parse_int=float)
    return found
