"""How much the gateway serves at a time: requests, which are answered soon, and streams, which stay.

Streams have places of their own: however many clients watch, the places of requests are there for requests.
"""

from typing import Final

from gateway import problems
from gateway.settings import Settings

_REQUESTS_TAKEN: Final = problems.Refused(503, "too many requests at a time", (b"retry-after", b"1"))
_STREAMS_TAKEN: Final = problems.Refused(503, "too many streams at a time", (b"retry-after", b"5"))


class Slots:
    """The places of one process."""

    def __init__(self, settings: Settings) -> None:
        self.most_requests = settings.most_requests
        self.most_streams = settings.most_streams
        self.requests = 0
        self.streams = 0

    def take(self) -> "Slot":
        """Return a place among the requests, to be freed; raises Refused (503) when there is none."""
        if self.requests >= self.most_requests:
            raise _REQUESTS_TAKEN
        self.requests += 1
        return Slot(self)


class Slot:
    """The place of one request."""

    __slots__ = ("_slots", "_stream")

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._stream = False

    def become_stream(self) -> None:
        """Change the place for one among the streams; raises Refused (503) when there is none."""
        if self._slots.streams >= self._slots.most_streams:
            raise _STREAMS_TAKEN
        self._slots.requests -= 1
        self._slots.streams += 1
        self._stream = True

    def free(self) -> None:
        """Give the place back."""
        if self._stream:
            self._slots.streams -= 1
        else:
            self._slots.requests -= 1
