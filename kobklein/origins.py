"""Why something is done: the request behind it, as log lines and calls to other services name it."""

import collections
import contextlib
import contextvars
import dataclasses
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import structlog

MAX_LENGTH: Final = 128
"""Longest id of a request, in characters."""
MAX_JOINED_LENGTH: Final = 4096
"""Longest id of a call that another service makes for several requests: their ids with commas between them."""
_REQUEST_ID: Final = "request_id"
_HEADER: Final = "x-request-id"
_TRACEPARENT: Final = "traceparent"
_PARENT: Final = re.compile("[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
"""How the W3C's Trace Context writes it; another text would stand in the log as if it were ours."""
_TRACE: Final = (_TRACEPARENT, "tracestate")
"""The W3C trace context, which is passed on as it came."""
_MAX_TRACE_LENGTH: Final = 1024
_MOST_REMEMBERED: Final = 10_000


@dataclasses.dataclass(frozen=True, slots=True)
class Origin:
    """What a piece of work goes back to."""

    request_id: str
    trace: tuple[tuple[str, str], ...] = ()

    @property
    def log_fields(self) -> dict[str, str]:
        """What log lines say of it."""
        return {_REQUEST_ID: self.request_id, **dict(pair for pair in self.trace if pair[0] == _TRACEPARENT)}

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The metadata of a call to another service that is made because of this."""
        return ((_HEADER, self.request_id), *self.trace)


_current: contextvars.ContextVar[Origin | None] = contextvars.ContextVar("origin", default=None)


def current() -> Origin | None:
    """Return the origin of this task's work; None where it is not known."""
    return _current.get()


def enter(origin: Origin) -> None:
    """Let the rest of this task, and the tasks that it starts, go back to `origin`."""
    _current.set(origin)
    structlog.contextvars.bind_contextvars(**origin.log_fields)


@contextlib.contextmanager
def scope(origin: Origin) -> Iterator[None]:
    """Let the work inside go back to `origin`."""
    token = _current.set(origin)
    try:
        with structlog.contextvars.bound_contextvars(**origin.log_fields):
            yield
    finally:
        _current.reset(token)


def joined(origins: Iterable[Origin]) -> Origin:
    """Return what a call that serves several requests at once goes back to: as many of them as its id has room for."""
    each = list(dict.fromkeys(origins))
    if len(each) == 1:
        return each[0]
    ids = ",".join(origin.request_id for origin in each)
    return Origin(ids if len(ids) <= MAX_JOINED_LENGTH else ids[: ids.rindex(",", 0, MAX_JOINED_LENGTH)])


def given(metadata: Mapping[str, str], *, longest: int = MAX_LENGTH) -> Origin | None:
    """Return the origin in the metadata of a call; None without a usable id."""
    request_id = metadata.get(_HEADER, "")
    if not (0 < len(request_id) <= longest and request_id.isprintable()):
        return None
    return Origin(request_id, trace(metadata))


def trace(metadata: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return the trace context in the metadata of a call."""
    if not _PARENT.fullmatch(metadata.get(_TRACEPARENT, "")):
        return ()
    found = ((name, metadata.get(name, "")) for name in _TRACE)
    return tuple(pair for pair in found if 0 < len(pair[1]) <= _MAX_TRACE_LENGTH and pair[1].isprintable())


class Memory:
    """Which requests made things due that are done later, by their ids; the latest alone, and of this process alone."""

    def __init__(self) -> None:
        self._origins: collections.OrderedDict[uuid.UUID, Origin] = collections.OrderedDict()

    def note(self, id_: uuid.UUID) -> None:
        """Remember the origin of this task's work."""
        origin = current()
        if origin is not None:
            self._origins[id_] = origin
            while len(self._origins) > _MOST_REMEMBERED:
                self._origins.popitem(last=False)

    def of(self, id_: uuid.UUID) -> Origin:
        """Return what made a thing due; where that is not known here, as after a restart, the thing itself."""
        return self._origins.get(id_) or Origin(str(id_))

    def forget(self, id_: uuid.UUID) -> None:
        """Forget work that is done."""
        self._origins.pop(id_, None)
