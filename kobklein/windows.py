"""Moving windows in the memory of one process, with the two methods that are needed of a strategy of `limits`.

The library's own memory looks at the calls of every caller after each call, so the cost of one grows with their number.
Here it does not: a call drops what has left its own window, and forgets a few callers who have gone silent.
"""

import collections
import time
from collections.abc import Callable
from typing import Final

import limits

_MOST_KEYS: Final = 200_000
"""Callers whose calls are kept for one length of windows; beyond, the one who is silent the longest is forgotten."""
_FORGOTTEN_AT_ONCE: Final = 2
"""More than one, so that silent callers are forgotten faster than new ones can come."""

_Key = tuple[str, ...]
_Windows = collections.OrderedDict[_Key, collections.deque[float]]
"""The times of the calls that passed by key, none of them empty; the key whose last one is the oldest comes first."""


class MovingWindows:
    """Lets `amount` calls of a key pass in any stretch of time as long as a window; refused ones do not count."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._by_seconds: dict[int, _Windows] = collections.defaultdict(collections.OrderedDict)

    async def hit(self, item: limits.RateLimitItem, *key: str) -> bool:
        """Count a call of a key, and return whether it may pass."""
        now, seconds = self._clock(), item.get_expiry()
        windows, start = self._by_seconds[seconds], now - seconds
        times = windows.get(key) or collections.deque()
        while times and times[0] <= start:
            times.popleft()
        if len(times) >= item.amount:
            return False
        times.append(now)
        windows[key] = times
        windows.move_to_end(key)
        _forget(windows, start)
        return True

    async def get_window_stats(self, item: limits.RateLimitItem, *key: str) -> limits.WindowStats:
        """Return when the oldest call of a key leaves its window, in seconds since 1970, and how many may pass now."""
        now, seconds = self._clock(), item.get_expiry()
        kept = [moment for moment in self._by_seconds[seconds].get(key, ()) if moment > now - seconds]
        oldest = kept[0] if kept else now - seconds
        return limits.WindowStats(time.time() + oldest + seconds - now, item.amount - len(kept))

    def __len__(self) -> int:
        return sum(map(len, self._by_seconds.values()))


def _forget(windows: _Windows, start: float) -> None:
    """Drop keys without a call since `start`, and those beyond the limit; at most a few, and never the newest."""
    for _ in range(_FORGOTTEN_AT_ONCE):
        oldest = next(iter(windows))
        if windows[oldest][-1] > start and len(windows) <= _MOST_KEYS:
            return
        del windows[oldest]
