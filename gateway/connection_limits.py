"""How many connections are open at a time, in all and of one address, and which ones may look at health beyond that."""

import collections
from typing import Final, Protocol

from gateway import addresses
from gateway.settings import Settings

_MOST_SPARE: Final = 64


class Closable(Protocol):
    """A connection."""

    def turn_away(self) -> None:
        """Refuse whatever it wants."""


class ConnectionLimits:
    """The connections of one process.

    Those beyond a limit are spare ones, which may only ask for health, and at once. The oldest of them makes room for
    the newest, so that a probe gets in however many others try.
    """

    def __init__(self, settings: Settings) -> None:
        self._most = settings.most_connections
        self._most_of_one = settings.most_connections_per_address
        self._proxies = settings.trusted_proxies
        self._by_address = collections.Counter[str]()
        self._open: dict[Closable, str] = {}
        self._spare: dict[Closable, None] = {}

    def enter(self, connection: Closable, peer: str) -> bool:
        """Count a new connection, and return whether it is within the limits; a trusted proxy has none of its own."""
        address = addresses.limited_as(peer)
        crowded = self._by_address[address] >= self._most_of_one and not addresses.is_trusted(peer, self._proxies)
        if len(self._open) < self._most and not crowded:
            self._open[connection] = address
            self._by_address[address] += 1
            return True
        self._spare[connection] = None
        if len(self._spare) > _MOST_SPARE:
            oldest = next(iter(self._spare))
            del self._spare[oldest]
            oldest.turn_away()
        return False

    def leave(self, connection: Closable) -> None:
        """Forget a connection that is closed, or a spare one that is served."""
        self._spare.pop(connection, None)
        address = self._open.pop(connection, None)
        if address is not None:
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]
