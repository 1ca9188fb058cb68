"""How many calls one caller may make: a moving window per caller and budget."""

import time
from typing import Final, Protocol

import limits
import limits.aio

from kobklein import errors, windows
from kobklein.options.v1 import options_pb2
from kobklein.settings import RateSettings

_CLOSED_WITHOUT_STORE: Final = frozenset({options_pb2.RATE_LIMIT_PAYMENT})
"""Budgets that refuse every call while the counts are out of reach; the others let it pass."""


_IN_MEMORY: Final = "async+memory://"


class Windows(Protocol):
    """Moving windows, here or in a store that replicas share."""

    async def hit(self, item: limits.RateLimitItem, *key: str) -> bool:
        """Count a call of a key, and return whether it may pass."""

    async def get_window_stats(self, item: limits.RateLimitItem, *key: str) -> limits.WindowStats:
        """Return when the oldest call of a key leaves its window, in seconds since 1970, and how many may pass now."""


def _windows(storage_uri: str) -> Windows:
    if storage_uri == _IN_MEMORY:
        return windows.MovingWindows()
    storage = limits.storage.storage_from_string(storage_uri)
    if not isinstance(storage, limits.aio.storage.MovingWindowSupport):
        raise TypeError("a store without moving windows")
    return limits.aio.strategies.MovingWindowRateLimiter(storage)


class Budget:
    """One budget, of each key; lets every call pass while the counts are out of reach."""

    def __init__(self, rate: str, *, storage: str, name: str) -> None:
        """Count in `storage`, where `name` keeps this budget apart from others."""
        self._limiter = _windows(storage)
        self._rate = limits.parse(rate)
        self._name = name

    async def check(self, key: str) -> None:
        """Raise RateLimited if the budget of a key is used up; counts nothing."""
        try:
            window = await self._limiter.get_window_stats(self._rate, self._name, key)
        except Exception:  # Each store has errors of its own; all mean that nothing is counted.
            return
        if window.remaining <= 0:
            raise _limited(window)

    async def spend(self, key: str) -> None:
        """Count one call; raises RateLimited if there was none left."""
        try:
            passed = await self._limiter.hit(self._rate, self._name, key)
        except Exception:  # As above.
            return
        if not passed:
            raise _limited(await self._limiter.get_window_stats(self._rate, self._name, key))


def _limited(window: limits.WindowStats) -> errors.RateLimited:
    return errors.RateLimited(retry_after_seconds=max(1, int(window.reset_time - time.time()) + 1))


class RateLimiter:
    """Counts calls in the configured store."""

    def __init__(self, settings: RateSettings, *, scope: str = "") -> None:
        """Count in `settings.storage`; `scope` keeps apart the processes that one call passes through."""
        self._scope = scope
        self._limiter = _windows(settings.storage)
        self._budgets = {
            options_pb2.RATE_LIMIT_READ: limits.parse(settings.read),
            options_pb2.RATE_LIMIT_WRITE: limits.parse(settings.write),
            options_pb2.RATE_LIMIT_PAYMENT: limits.parse(settings.payment),
            options_pb2.RATE_LIMIT_REPORT: limits.parse(settings.report),
        }

    async def check(self, rate_limit: "options_pb2.RateLimit.ValueType", key: str) -> None:
        """Count one call of `key`, a caller's id or an address, against a budget.

        Raises RateLimited when the budget is used up.
        """
        budget = self._budgets.get(rate_limit)
        if budget is None:
            return
        name = self._scope + options_pb2.RateLimit.Name(rate_limit)
        try:
            passed = await self._limiter.hit(budget, name, key)
        except Exception as error:  # Each store has errors of its own; all mean that nobody counts.
            if rate_limit in _CLOSED_WITHOUT_STORE:
                raise errors.Unavailable(part="the rate limiter") from error
            return
        if not passed:
            raise _limited(await self._limiter.get_window_stats(budget, name, key))
