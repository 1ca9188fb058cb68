"""Problem documents (RFC 9457): the one shape of every answer that is not a success."""

import dataclasses
import http
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import grpc
import orjson
from starlette.exceptions import HTTPException

from gateway import names, violations
from kobklein import errors

ClientView = Callable[[errors.Violation], errors.Violation]

CONTENT_TYPE: Final = b"application/problem+json"
TYPE_PREFIX: Final = "urn:kobklein:problem:"
INTERNAL: Final = 500
"""Status of whatever nobody foresaw."""

_NOT_IN_CHALLENGE: Final = re.compile(r"[^ !#-\[\]-~]")
"""Characters that a quoted text of a challenge may not have (RFC 6750, 3)."""
REASONS: Final = {
    400: "BAD_REQUEST",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    408: "REQUEST_TIMEOUT",
    409: "CONFLICT",
    413: "CONTENT_TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
    429: "RATE_LIMITED",
    431: "REQUEST_HEADER_FIELDS_TOO_LARGE",
    499: "CLIENT_CLOSED_REQUEST",
    500: "INTERNAL_SERVER_ERROR",
    501: "NOT_IMPLEMENTED",
    503: "SERVICE_UNAVAILABLE",
    504: "GATEWAY_TIMEOUT",
}
"""The reasons of refusals whose sender names none: the gateway's own, and gRPC's. They are part of the contract, unlike
Python's names of statuses, which change between its versions."""
_DETAILS: Final = {
    400: "the request is not valid",
    401: "a bearer token is needed",
    403: "this caller may not do this",
    404: "there is no such thing, or not for this caller",
    409: "the state of the resource does not allow this",
    429: "too many calls",
    499: "the call was cancelled",
    501: "this is not available yet",
    503: "too many calls at a time",
    504: "the call took longer than it may",
}
"""What to say of a status whose sender said nothing for clients; texts of libraries stay inside."""


@dataclasses.dataclass(frozen=True, slots=True)
class Problem:
    """A refusal, ready to be sent."""

    status: int
    reason: str
    detail: str
    violations: Sequence[errors.Violation] = ()
    headers: tuple[tuple[bytes, bytes], ...] = ()
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """What the reason is about, by the error's own names."""

    def document(self, *, instance: str, request_id: str) -> dict[str, Any]:
        """Return the JSON object."""
        document: dict[str, Any] = {
            "type": TYPE_PREFIX + self.reason.lower().replace("_", "-"),
            "title": self.reason.replace("_", " ").capitalize(),
            "status": self.status,
            "detail": self.detail,
            "instance": instance,
            "reason": self.reason,
            "requestId": request_id,
        }
        if self.violations:
            document["errors"] = [{"field": v.field, "detail": v.description} for v in self.violations]
        if self.metadata:
            document["metadata"] = {names.camel(name): value for name, value in self.metadata.items()}
        return document

    def body(self, *, instance: str, request_id: str) -> bytes:
        """Return the JSON text."""
        return orjson.dumps(self.document(instance=names.printable(instance), request_id=request_id))


class Refused(Exception):
    """Raised by the gateway itself for what only HTTP knows of."""

    def __init__(self, status: int, detail: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(detail)
        self.problem = Problem(status, _reason(status), detail, headers=headers)


def of(error: Exception, client_view: ClientView = violations.as_given, *, part: str = "") -> Problem:
    """Return the problem that an error is for the client.

    `client_view` puts violations into the client's names, and `part` is what a call was made to. An unforeseen
    error says nothing of itself: its detail belongs in the log.
    """
    if isinstance(error, Refused):
        return error.problem
    if isinstance(error, errors.Error):
        return _of_status(errors.from_status(errors.to_status(error)), client_view)
    if isinstance(error, grpc.aio.AioRpcError):
        return _of_status(_named(errors.from_rpc_error(error), part), client_view)
    status = error.status_code if isinstance(error, HTTPException) else INTERNAL
    return Problem(status, _reason(status), _DETAILS.get(status, _reason(status).replace("_", " ").lower()))


def _named(status: errors.Status, part: str) -> errors.Status:
    """Return a status with a reason where gRPC itself says that it got no answer."""
    if status.reason or status.code is not grpc.StatusCode.UNAVAILABLE:
        return status
    return errors.from_status(errors.to_status(errors.Unavailable(part=part or "a part of the system")))


def _of_status(status: errors.Status, client_view: ClientView) -> Problem:
    http_status = status.http_status if 400 <= status.http_status <= 599 else INTERNAL
    shown = tuple(map(client_view, status.violations))
    detail = (
        status.message if status.reason and http_status != INTERNAL else _DETAILS.get(http_status, "internal error")
    )
    if http_status == 403:  # It may name a field, as violations do.
        detail = client_view(errors.Violation("", detail)).description
    if shown:
        detail = "; ".join(f"{v.field}: {v.description}" for v in shown)
    return Problem(
        http_status,
        status.reason or _reason(http_status),
        detail,
        shown,
        _headers(status, http_status),
        _metadata(status, http_status),
    )


def _metadata(status: errors.Status, http_status: int) -> Mapping[str, str]:
    """Return what an error says of its reason; one from inside, whatever it says, says nothing to clients."""
    foreseen = status.reason and status.code in errors.HTTP_STATUS and http_status != INTERNAL
    return status.metadata if foreseen else {}


def _headers(status: errors.Status, http_status: int) -> tuple[tuple[bytes, bytes], ...]:
    if http_status == 401:
        return ((b"www-authenticate", _challenge(status)),)
    if status.retry_after_seconds is not None:
        return ((b"retry-after", str(math.ceil(status.retry_after_seconds)).encode()),)
    return ((b"retry-after", b"1"),) if http_status in (429, 503) else ()


def _challenge(status: errors.Status) -> bytes:
    """Return what RFC 6750, 3, has a 401 say: nothing more than the scheme where there was no token."""
    error = status.metadata.get("error")
    if error != errors.INVALID_TOKEN:
        return b"Bearer"
    return f'Bearer error="{error}", error_description="{_NOT_IN_CHALLENGE.sub("?", status.message)}"'.encode()


def _reason(status: int) -> str:
    return REASONS.get(status) or http.HTTPStatus(status).name
