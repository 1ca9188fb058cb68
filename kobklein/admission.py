"""Admission of costly calls: as many at a time as can be served soon; the others are told when to come back.

The limit follows how admitted calls go: it rises while they go well and it is reached, and falls by a share of itself
when more calls go badly than are tolerated. The user of an Admission says which calls go well.

Refused calls stand in a virtual queue, which is served as fast as calls end: each is told its turn in it. So however
many they are, they come back no faster than they can be served.
"""

import collections
import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from typing import Final

import pydantic

from kobklein.settings import Group

_WINDOW_CALLS: Final = 16
"""How many calls the limit is judged by; as many as it allows, if that is more."""
_DECREASE: Final = 0.8
_RATE_SECONDS: Final = 10.0
_RATE_CALLS: Final = 8
"""Fewest calls that ended within the last _RATE_SECONDS for their rate to be known."""


class AdmissionSettings(Group):
    """How many calls are admitted."""

    least: int = pydantic.Field(default=16, ge=1)
    """The limit at the start; it never falls below this."""
    most: int = pydantic.Field(default=500, ge=1)
    """The limit never rises above this."""
    longest_retry_seconds: float = pydantic.Field(default=30.0, ge=1)
    """The longest time after which a refused call is told to come back."""

    def broken_rules(self) -> Iterator[str]:
        """Yield what does not hold between the limits."""
        if self.least > self.most:
            yield "{least} must not be more than {most}"


@dataclasses.dataclass(frozen=True, slots=True)
class Ticket:
    """An admitted call."""

    entered: float
    """When it was admitted, by the clock of its Admission."""


class Admission:
    """The calls under way in one process. Pure but for the clock."""

    def __init__(
        self, settings: AdmissionSettings, *, tolerated: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Tolerate this share of calls that go badly."""
        self._settings = settings
        self._tolerated = tolerated
        self._clock = clock
        self._limit = float(settings.least)
        self._under_way = 0
        self._adjusted = -math.inf
        self._good, self._bad = 0, 0
        self._was_full = False
        self._ended: collections.deque[float] = collections.deque(maxlen=settings.most)
        self._last_turn = -math.inf

    @property
    def limit(self) -> int:
        """How many calls may be under way now."""
        return int(self._limit)

    @property
    def under_way(self) -> int:
        """How many calls are under way now."""
        return self._under_way

    def enter(self) -> Ticket | None:
        """Admit a call, which must `leave`; None when as many are under way as may be."""
        if self._under_way >= self.limit:
            self._was_full = True
            return None
        self._under_way += 1
        return Ticket(self._clock())

    def leave(self) -> None:
        """Note that an admitted call has ended, however it did."""
        self._under_way -= 1
        self._ended.append(self._clock())

    def age(self, ticket: Ticket) -> float:
        """Return how long ago a call was admitted, in seconds."""
        return self._clock() - ticket.entered

    def judge(self, ticket: Ticket, *, good: bool) -> None:
        """Note how a call went. One that entered before the limit was last adjusted says nothing of it as it is now."""
        if ticket.entered < self._adjusted:
            return
        self._good += good
        self._bad += not good
        if self._good + self._bad >= max(_WINDOW_CALLS, self.limit):
            self._adjust()

    def retry_seconds(self) -> float:
        """Return when a refused call is to come back: at its turn among those that are refused."""
        now = self._clock()
        turn = max(self._last_turn, now) + 1 / self._rate(now)
        self._last_turn = min(turn, now + self._settings.longest_retry_seconds)
        return max(1.0, self._last_turn - now)

    def _adjust(self) -> None:
        if self._bad > self._tolerated * (self._good + self._bad):
            self._limit = max(self._limit * _DECREASE, self._settings.least)
        elif self._was_full:
            self._limit = min(self._limit + math.sqrt(self._limit), self._settings.most)
        self._adjusted, self._good, self._bad, self._was_full = self._clock(), 0, 0, False

    def _rate(self, now: float) -> float:
        """Return how many calls end a second; before it is known, as many as the limit allows."""
        while self._ended and self._ended[0] < now - _RATE_SECONDS:
            self._ended.popleft()
        if len(self._ended) < _RATE_CALLS or self._ended[0] >= now:
            return self._limit
        return len(self._ended) / (now - self._ended[0])
