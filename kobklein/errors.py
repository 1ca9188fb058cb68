"""The tree of errors, and their way over gRPC as `google.rpc.Status`.

Error
├── InvalidArgument            the request itself is wrong; names every offending field
├── Unauthenticated            no caller, or not a provable one
├── PermissionDenied           a caller who may not do this
├── RateLimited                too many calls
├── TooManyStreams             of all callers together
├── Overloaded                 more calls of its kind at a time than can be served; this one has not begun
├── Unavailable                a part is out of reach for now; nothing is decided
├── CurrencyNotOffered         nothing new begins in this currency
├── EtagMismatch               the resource changed since the caller read it
├── SumOverflow                a sum of amounts is more than 64 bits hold
├── IdempotencyKeyMissing      the call needs a key
├── IdempotencyKeyReused       the key came with another request before
├── IdempotencyKeyInUse        the first call with this key is still running
└── (each service adds its own in its `errors` module)

A use case raises; nothing in between catches; one interceptor turns the error into a status, and the gateway turns the
status into a problem document. The reason of an error is its class name in UPPER_SNAKE_CASE and part of the contract.
"""

import dataclasses
import math
import re
from collections.abc import Collection, Iterable, Sequence
from typing import ClassVar, Final

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

DOMAIN: Final = "kobklein"
MOST_VIOLATIONS: Final = 100
"""Most violations that one refusal names; a request with more has not one mistake but another purpose."""
_MOST_VIOLATION_BYTES: Final = 24 * 1024
_LONGEST_TEXT: Final = 1024
"""Longest message, and longest value of metadata.

A refusal travels in metadata, of which clients take 64 KiB (`kobklein/client.py`): the violations and the message once
in base64, and the message again with each byte as three characters. One that is longer would never arrive.
"""
_HTTP_STATUS_KEY: Final = "http_status"
_CODE_BY_NUMBER: Final = {code.value[0]: code for code in grpc.StatusCode}

HTTP_STATUS: Final[dict[grpc.StatusCode, int]] = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}
"""HTTP status of each gRPC code; codes that are not here are 500."""

INVALID_TOKEN: Final = "invalid_token"  # noqa: S105  # a word of RFC 6750
_FULL: Final = "Concurrent RPC limit exceeded!"
"""What gRPC itself says for a server that runs as many calls as it may; the refused one has not begun."""
_TOO_LONG: Final = "larger than max"
"""What gRPC itself says, with two sizes, of a message that is longer than a side takes."""


@dataclasses.dataclass(frozen=True, slots=True)
class Violation:
    """One thing wrong with a request: the path of the field, in proto names, and what is wrong, for the caller."""

    field: str
    description: str


class Error(Exception):
    """Root of every error this platform raises on purpose.

    A subclass sets the gRPC code and a message template; its keyword arguments fill the template and travel as the
    metadata of `google.rpc.ErrorInfo`. `http_status` is for the few whose HTTP status their code does not give.
    """

    code: ClassVar[grpc.StatusCode] = grpc.StatusCode.INTERNAL
    message: ClassVar[str] = "internal error"
    http_status: ClassVar[int | None] = None
    repeated_by_channels: ClassVar[bool] = True
    """Whether a channel may repeat the call by itself where its retry policy says so, as it does for UNAVAILABLE; False
    for an error that already stands at the end of bounded repetitions."""
    retry_after_seconds: float | None = None
    violations: Sequence[Violation] = ()

    def __init__(self, **metadata: object) -> None:
        super().__init__(self.message.format(**metadata))
        self.metadata = {key: str(value) for key, value in metadata.items()}

    @property
    def reason(self) -> str:
        """The stable name of this error: its class name in UPPER_SNAKE_CASE."""
        return reason_of(type(self))

    def shown_to(self, owner: str | None) -> "Error":
        """Return what the caller is told: this error, or one that says less about what is not theirs.

        `owner` is the subject whose resources alone the caller may see; None for a caller who may see everybody's.
        """
        del owner
        return self


def reason_of(error: type[Error]) -> str:
    """Return the stable name of an error class."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", error.__name__).upper()


class InvalidArgument(Error):
    """The request is wrong by itself, whatever the state of the system."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    message = "{detail}"

    def __init__(self, *violations: Violation) -> None:
        self.violations = _fitting(violations)
        super().__init__(detail="; ".join(f"{v.field}: {v.description}" for v in self.violations))
        self.metadata = {}

    @classmethod
    def of(cls, field: str, description: str) -> "InvalidArgument":
        """Return the error for a single field, by its path in proto names."""
        return cls(Violation(field, description))


class CurrencyNotOffered(Error):
    """Nothing new begins in this currency; what exists in it goes on to its end."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    message = "{field}: {currency} is not offered; offered are {offered}"

    def __init__(self, *, field: str, currency: str, offered: Iterable[str]) -> None:
        list_ = ", ".join(offered)
        super().__init__(field=field, currency=currency, offered=list_)
        del self.metadata["field"]  # The violation names it, by REST in the names of JSON.
        self.violations = (Violation(field, f"{currency} is not offered; offered are {list_}"),)

    @classmethod
    def check(cls, field: str, currency: str, offered: Collection[str]) -> None:
        """Raise it unless the currency in a field of the request is offered."""
        if currency not in offered:
            raise cls(field=field, currency=currency, offered=offered)


class Unauthenticated(Error):
    """There is no caller, or the token does not prove one."""

    code = grpc.StatusCode.UNAUTHENTICATED
    message = "{detail}"

    def __init__(self, detail: str = "a bearer token is needed", *, invalid_token: bool = False) -> None:
        """Refuse with `detail`; `invalid_token` is what RFC 6750 calls it when there is a token, and it is not good."""
        super().__init__(detail=detail)
        self.metadata = {"error": INVALID_TOKEN} if invalid_token else {}


class PermissionDenied(Error):
    """The caller may not do this."""

    code = grpc.StatusCode.PERMISSION_DENIED
    message = "{detail}"

    def __init__(self, detail: str) -> None:
        super().__init__(detail=detail)
        self.metadata = {}


class RateLimited(Error):
    """The caller has used up a budget of calls."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    message = "too many calls; try again in {retry_after_seconds} s"

    def __init__(self, *, retry_after_seconds: int) -> None:
        super().__init__(retry_after_seconds=retry_after_seconds)
        self.retry_after_seconds = retry_after_seconds


class TooManyStreams(Error):
    """The service holds as many streams open as it may, for all callers together; this one has not begun."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    message = "too many streams are open; try again in a while"
    http_status = 503
    retry_after_seconds = 5.0


class Overloaded(Error):
    """More calls of this kind are under way than can be served in time; this one has not begun, and left no trace."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    message = "too many calls are under way; try again in {retry_after_seconds} s"
    http_status = 503

    def __init__(self, *, retry_after_seconds: float) -> None:
        super().__init__(retry_after_seconds=math.ceil(retry_after_seconds))
        self.retry_after_seconds = retry_after_seconds


class Unavailable(Error):
    """A part of the system is out of reach; whether the call had an effect may be open, so repeat it with its key."""

    code = grpc.StatusCode.UNAVAILABLE
    message = "{part} is out of reach for now"
    retry_after_seconds = 1.0


class EtagMismatch(Error):
    """The resource is not as the caller saw it."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    message = "the resource has changed: its etag is now {etag}"
    http_status = 412


class SumOverflow(Error):
    """A report's sum of amounts is more than 64 bits hold, so there is no right answer; a narrower question has one."""

    code = grpc.StatusCode.OUT_OF_RANGE
    message = "{sum} in {currency} is more than 64 bits hold; ask for a shorter time or for less at once"


class IdempotencyKeyMissing(Error):
    """The method moves money or creates something, and this process is set to refuse such calls without a key."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    message = "an Idempotency-Key is required, so that a repeated call is recognised"


class IdempotencyKeyReused(Error):
    """The key belongs to another request."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    message = "this Idempotency-Key was used before, with another request"
    http_status = 422


class IdempotencyKeyInUse(Error):
    """The first call with this key has not ended yet."""

    code = grpc.StatusCode.ABORTED
    message = "a call with this Idempotency-Key is still running"
    retry_after_seconds = 1.0


@dataclasses.dataclass(frozen=True, slots=True)
class Status:
    """A refused call as its caller sees it, read back from `google.rpc.Status`."""

    code: grpc.StatusCode
    message: str
    reason: str = ""
    metadata: dict[str, str] = dataclasses.field(default_factory=dict)
    violations: tuple[Violation, ...] = ()
    retry_after_seconds: float | None = None
    http_status: int = 500


def to_status(error: Error) -> status_pb2.Status:
    """Return `error` as a rich status: ErrorInfo always, BadRequest and RetryInfo where they apply."""
    metadata = {key: shortened(value) for key, value in error.metadata.items()}
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata)
    if error.http_status is not None:
        info.metadata[_HTTP_STATUS_KEY] = str(error.http_status)
    details = [_pack(info)]
    if error.violations:
        bad_request = error_details_pb2.BadRequest(
            field_violations=[
                error_details_pb2.BadRequest.FieldViolation(field=v.field, description=v.description)
                for v in error.violations
            ]
        )
        details.append(_pack(bad_request))
    if error.retry_after_seconds is not None:
        delay = duration_pb2.Duration(nanos=0)
        delay.FromMilliseconds(int(error.retry_after_seconds * 1000))
        details.append(_pack(error_details_pb2.RetryInfo(retry_delay=delay)))
    return status_pb2.Status(code=error.code.value[0], message=shortened(str(error)), details=details)


def shortened(text: str) -> str:
    """Return a text that fits into a refusal."""
    return text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + "…"


def _fitting(violations: Sequence[Violation]) -> Sequence[Violation]:
    """Return the first of the violations: as many as a refusal has room for, and their texts as long as it has."""
    fitting: list[Violation] = []
    room = _MOST_VIOLATION_BYTES
    for violation in violations[:MOST_VIOLATIONS]:
        short = Violation(shortened(violation.field), shortened(violation.description))
        room -= len(f"{short.field}{short.description}".encode())
        if room < 0:
            break
        fitting.append(short)
    return tuple(fitting)


def from_status(status: status_pb2.Status) -> Status:
    """Return the parts of a rich status; parts that are absent, or an ErrorInfo of others, leave their defaults."""
    code = _CODE_BY_NUMBER.get(status.code, grpc.StatusCode.UNKNOWN)
    info, bad_request, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), None
    for detail in status.details:
        if detail.Is(info.DESCRIPTOR):
            detail.Unpack(info)
            if info.domain != DOMAIN:  # Its names mean something else, and nobody here meant them for clients.
                info.Clear()
        elif detail.Is(bad_request.DESCRIPTOR):
            detail.Unpack(bad_request)
        elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            retry_info = error_details_pb2.RetryInfo()
            detail.Unpack(retry_info)
            retry = retry_info.retry_delay.ToMilliseconds() / 1000
    metadata = dict(info.metadata)
    http_status = int(metadata.pop(_HTTP_STATUS_KEY, HTTP_STATUS.get(code, 500)))
    violations = tuple(Violation(v.field, v.description) for v in bad_request.field_violations)
    return Status(code, status.message, info.reason, metadata, violations, retry, http_status)


def from_rpc_error(error: grpc.aio.AioRpcError) -> Status:
    """Return what a failed call says, with or without rich details."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            status = status_pb2.Status()
            status.ParseFromString(value if isinstance(value, bytes) else value.encode("latin-1"))
            return from_status(status)
    code, details = error.code(), error.details() or ""
    return Status(code, details, http_status=_http_status_of_grpc(code, details))


def _http_status_of_grpc(code: grpc.StatusCode, details: str) -> int:
    """Return the HTTP status of what gRPC itself refuses, with no error of ours behind it.

    To it, a server that is full is an exhausted resource too, and so is a message that is longer than a side takes.
    Neither is the caller's budget, and coming back later helps with the first only.
    """
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and details == _FULL:
        return 503
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and _TOO_LONG in details:
        return 500
    return HTTP_STATUS.get(code, 500)


def internal_status() -> status_pb2.Status:
    """Return the status of an error nobody foresaw; its detail stays in the log."""
    return status_pb2.Status(code=code_pb2.INTERNAL, message="internal error")


def _pack(
    detail: error_details_pb2.ErrorInfo | error_details_pb2.BadRequest | error_details_pb2.RetryInfo,
) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(detail)
    return packed
