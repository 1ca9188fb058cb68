"""One HTTP request and its answer, as the gateway follows it."""

import asyncio
import contextlib
import dataclasses
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Protocol

from starlette.types import Receive, Scope, Send

from gateway import problems, slots, violations
from kobklein import ids

SCOPE_KEY: Final = "kobklein.exchange"
CUT: Final = "kobklein.cut"
"""Extension of a scope, with `close`, which closes its connection under an answer that is not complete."""
DEPARTURE: Final = "kobklein.departure"
"""Extension of a scope: the Departure of its client."""
_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_SINGLE: Final = frozenset(
    {
        b"authorization",
        b"content-type",
        b"grpc-timeout",
        b"host",
        b"idempotency-key",
        b"if-match",
        b"last-event-id",
        b"stripe-signature",
        b"x-request-id",
    }
)
"""Headers that, sent twice, would mean one thing here and another behind; such a request is refused."""

Header = tuple[bytes, bytes]


class Cancellable(Protocol):
    """A running call."""

    def cancel(self) -> object:
        """End it."""


class Gone(problems.Refused):
    """The client closed its connection before its answer; only the log and the metrics show this refusal."""

    def __init__(self) -> None:
        super().__init__(499, "the client left before its answer")


class Departure:
    """The end of a client's connection: whether it is there, and the work to do when it comes."""

    __slots__ = ("_callbacks", "gone")

    def __init__(self) -> None:
        self.gone = False
        self._callbacks: set[Callable[[], object]] = set()

    def happen(self) -> None:
        """Note that the client has gone, and call back."""
        self.gone = True
        for callback in tuple(self._callbacks):
            callback()

    @contextlib.contextmanager
    def cancels(self, call: Cancellable) -> Iterator[None]:
        """Cancel a call when the client goes; raises Gone then, and at once if it has gone already.

        It costs no task, since it costs every read.
        """
        if self.gone:
            raise Gone
        self._callbacks.add(call.cancel)
        try:
            yield
        except asyncio.CancelledError:
            if not self.gone:
                raise
            raise Gone from None
        finally:
            self._callbacks.discard(call.cancel)


@dataclasses.dataclass(slots=True)
class Exchange:
    """What is known of one request; its log line and its metrics are made of it."""

    scope: Scope
    receive: Receive
    send: Send
    headers: dict[bytes, bytes]
    repeated: list[bytes]
    """Headers that came more than once although they have one meaning."""
    request_id: str
    client: str
    """Address of the client, as far as it is known."""
    slot: slots.Slot = dataclasses.field(init=False)
    """Its place among what is served at a time."""
    route: str = ""
    """Template of the path; empty for a path that is none of ours."""
    part: str = ""
    """What its call is made to, in words; empty while there is none."""
    subject: str = ""
    refusal: str = ""
    """Why the caller was not proved or may not call."""
    status: int = 0
    signed: bool = False
    """Whether it is anonymous and its body has to prove who sent it, as that of a webhook."""
    client_view: problems.ClientView = violations.as_given
    """How a violation, which speaks of proto names, is shown to the client."""

    @property
    def path(self) -> str:
        """The path as it was sent."""
        raw: bytes = self.scope.get("raw_path") or self.scope["path"].encode()
        return raw.decode("latin-1")

    @property
    def departure(self) -> Departure:
        """The end of the client's connection; one that never comes where the server does not tell of it."""
        found: Departure | None = self.scope.get("extensions", {}).get(DEPARTURE)
        return found or Departure()

    def go_through(self, receive: Receive, send: Send) -> None:
        """Take what the layers in between have made of the ways in and out."""
        self.receive, self.send = receive, send

    async def answer(self, status: int, body: bytes, headers: Sequence[Header]) -> None:
        """Send a whole answer."""
        await self.start(status, [*headers, (b"content-length", b"%d" % len(body))])
        await self.send({"type": "http.response.body", "body": body})

    async def start(self, status: int, headers: list[Header]) -> None:
        """Send the head of an answer."""
        await self.send({"type": "http.response.start", "status": status, "headers": headers})

    def cut(self) -> None:
        """Close the connection once all that was sent is out: the client sees a body without its end.

        A server that does not know of it does the same when the application leaves the answer incomplete.
        """
        extension = self.scope.get("extensions", {}).get(CUT)
        if extension is not None:
            extension["close"]()

    async def refuse(self, problem: problems.Problem) -> None:
        """Send a problem document."""
        body = problem.body(instance=self.path, request_id=self.request_id)
        await self.answer(problem.status, body, [(b"content-type", problems.CONTENT_TYPE), *problem.headers])


def of(scope: Scope) -> Exchange:
    """Return the exchange that a scope belongs to."""
    exchange: Exchange = scope[SCOPE_KEY]
    return exchange


def begin(scope: Scope, receive: Receive, send: Send, *, client: str) -> Exchange:
    """Return the exchange of a new request, and leave it in the scope."""
    headers: dict[bytes, bytes] = {}
    repeated: list[bytes] = []
    for name, value in scope["headers"]:
        if name in headers and name in _SINGLE:
            repeated.append(name)
        headers[name] = value
    given = headers.get(b"x-request-id", b"")
    request_id = given.decode() if _REQUEST_ID.fullmatch(given) else str(ids.new())
    exchange = Exchange(scope, receive, send, headers, repeated, request_id, client)
    scope[SCOPE_KEY] = exchange
    return exchange


def media_type(headers: dict[bytes, bytes], name: bytes) -> tuple[str, dict[str, str]]:
    """Return the media type in a header and its parameters, in lower case."""
    first, *rest = headers.get(name, b"").decode("latin-1").lower().split(";")
    parameters: dict[str, Any] = {}
    for parameter in rest:
        key, _, value = parameter.partition("=")
        parameters[key.strip()] = value.strip().strip('"')
    return first.strip(), parameters
