"""Accounts that somebody keeps locked: calls on them are turned away at once for a while, instead of waited for.

Without that, each batch with such a call would wait for the lock in vain, and everybody else's calls with it.
"""

import time
from collections.abc import Callable, Collection, Iterable
from typing import Final

from wallets_service.ledger.entries import Key

SECONDS: Final = 5.0
"""How long an account is left alone, before one batch tries again."""


class Kept:
    """Remembers which accounts are not to be had now."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: dict[Key, float] = {}

    def add(self, keys: Iterable[Key]) -> None:
        """Leave these accounts alone for a while."""
        until = self._clock() + SECONDS
        self._until.update(dict.fromkeys(keys, until))

    @property
    def keys(self) -> Collection[Key]:
        """The accounts that are left alone now."""
        if self._until:  # As seldom as can be.
            now = self._clock()
            self._until = {key: until for key, until in self._until.items() if until > now}
        return self._until
