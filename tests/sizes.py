"""How large a test runs: small on every change, full in `make chaos`."""

import os
from typing import Final, TypeVar

N = TypeVar("N", int, float)
FULL: Final = os.environ.get("TEST_SIZE") == "full"


def size(change: N, full: N) -> N:
    """Return the size for this run: the first on every change, the second where time does not count."""
    return full if FULL else change
