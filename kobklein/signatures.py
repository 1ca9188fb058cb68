"""When a webhook was signed: what can be told of its signature's header before its body is there."""

import time
from typing import Final

TOLERANCE_SECONDS: Final = 300
"""How far from now, either way, a webhook may have been signed."""
NOT_CURRENT: Final = f"does not name one time within {TOLERANCE_SECONDS} seconds of now, as t=1767225600"
_LONGEST_TIME: Final = 20


def is_current(signature: str) -> bool:
    """Whether a header such as `t=1767225600,v1=…` names one time, within TOLERANCE_SECONDS of now.

    More than one is refused, since only one of them is signed.
    """
    times = [value for name, _, value in (part.partition("=") for part in signature.split(",")) if name == "t"]
    if len(times) != 1 or not (times[0].isascii() and times[0].isdecimal() and len(times[0]) <= _LONGEST_TIME):
        return False
    return abs(int(times[0]) - time.time()) <= TOLERANCE_SECONDS
