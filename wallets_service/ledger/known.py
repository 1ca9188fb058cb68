"""Accounts as the last transactions of a writer left them, so that only those are read again that changed since.

Nothing is believed because it is remembered: each account is locked as ever, and what is remembered of it counts only
if the row still bears the same stamp, which is the transaction that wrote it. Whoever changed an account in between,
another replica, an admin or a hand in psql, has left another one. (PostgreSQL reuses stamps after four billion
transactions; an account that is out of use for so long is long forgotten.)
"""

from collections.abc import Iterable, Mapping
from typing import Final

from wallets_service.ledger.book import Decision, Stamp, State
from wallets_service.ledger.entries import Account, Key

_CAPACITY: Final = 100_000
"""About 50 MB of accounts."""


class Known:
    """Remembers the accounts that were last in use, at most so many; none of it is safe to share between threads."""

    def __init__(self, capacity: int = _CAPACITY) -> None:
        self._generation = capacity // 2
        self._recent: dict[Key, tuple[Account, Stamp]] = {}
        self._older: dict[Key, tuple[Account, Stamp]] = {}

    def find(self, keys: Iterable[Key]) -> tuple[dict[Key, Account], dict[Key, Stamp]]:
        """Return those of the accounts that are remembered, and their stamps."""
        recent, older = self._recent, self._older
        accounts, stamps = {}, {}
        for key in keys:
            found = recent.get(key) or older.get(key)
            if found is not None:
                accounts[key], stamps[key] = found
        return accounts, stamps

    def remember(self, state: State, decision: Decision) -> None:
        """Remember what a batch has read and left; call it only once that is committed."""
        changed, stamp = decision.accounts, (state.transaction, state.time)
        self._add({key: (state.accounts[key], stamp) for key, stamp in state.stamps.items() if key not in changed})
        self._add({key: (account, stamp) for key, account in changed.items()})

    def _add(self, accounts: Mapping[Key, tuple[Account, Stamp]]) -> None:
        self._recent.update(accounts)
        if len(self._recent) > self._generation:
            self._recent, self._older = {}, self._recent
