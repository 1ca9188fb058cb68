"""The sandbox's time: the machine's, plus an offset that tests may advance."""

import time
from dataclasses import dataclass

DAY = 86_400


@dataclass(slots=True)
class Clock:
    """Only moves forward, like the time it stands for."""

    offset_seconds: int = 0

    def now(self) -> int:
        """Seconds since 1970."""
        return int(time.time()) + self.offset_seconds

    def advance(self, seconds: int) -> None:
        """Move the sandbox's time ahead of the machine's."""
        self.offset_seconds += seconds
