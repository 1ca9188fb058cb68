"""The calls that a service runs at a time, counted by kind: however many of one kind there are, others pass."""

import collections
import contextlib
from collections.abc import Iterator
from typing import Final

from kobklein import errors
from kobklein.options.v1 import options_pb2

_RETRY_SECONDS: Final = 1.0


class RunningCalls:
    """The calls of one process that answer once; their kind is the budget that they are counted against."""

    def __init__(self, most: int) -> None:
        """Let at most so many calls of each kind run at a time."""
        self._most = most
        self._running: collections.Counter[options_pb2.RateLimit.ValueType] = collections.Counter()

    @contextlib.contextmanager
    def one_more(self, kind: "options_pb2.RateLimit.ValueType") -> Iterator[None]:
        """Run a call inside; raises Overloaded when as many of its kind run as may."""
        if self._running[kind] >= self._most:
            raise errors.Overloaded(retry_after_seconds=_RETRY_SECONDS)
        self._running[kind] += 1
        try:
            yield
        finally:
            self._running[kind] -= 1
