"""The errors of Stripe's API.

ApiError                    400 invalid_request_error; its result is kept for the idempotency key
├── InvalidParameter        400, found before execution: never kept
├── Unauthenticated         401
├── Missing                 404 resource_missing
├── UnknownRoute            404
├── UnexpectedState         400, with the object that is in the wrong state
├── IdempotencyMismatch     400 idempotency_error
├── IdempotencyKeyInUse     409 idempotency_error
├── LockTimeout             409
├── TooLarge                413
├── RateLimited             429
└── ServerError             500 api_error
"""

from typing import Any, ClassVar

from deploy.sandbox.replies import Reply


class ApiError(Exception):
    """A refused request, as Stripe words it."""

    status: ClassVar[int] = 400
    type: ClassVar[str] = "invalid_request_error"
    kept: ClassVar[bool] = True
    """Whether the refusal came after execution began, so that the idempotency key remembers it."""
    headers: ClassVar[dict[str, str]] = {}

    def __init__(self, message: str, *, code: str | None = None, param: str | None = None, **extra: Any) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.param = param
        self.extra = extra

    def reply(self, request_id: str | None = None) -> Reply:
        """The HTTP answer that carries this error, with the place of the request in Stripe's log."""
        details: dict[str, Any] = {"message": self.message, "type": self.type, **self.extra}
        if request_id is not None:
            details["request_log_url"] = f"https://dashboard.stripe.com/test/logs/{request_id}"
        if self.code is not None:
            details["code"] = self.code
            details["doc_url"] = f"https://stripe.com/docs/error-codes/{self.code.replace('_', '-')}"
        if self.param is not None:
            details["param"] = self.param
        return Reply.of(self.status, {"error": details}, **self.headers)


class InvalidParameter(ApiError):
    """A parameter that is unknown, missing or out of its limits."""

    kept = False


class Unauthenticated(ApiError):
    """No API key, or one that the sandbox was not started with."""

    status = 401
    kept = False
    headers: ClassVar[dict[str, str]] = {"WWW-Authenticate": 'Basic realm="Stripe"'}


class Missing(ApiError):
    """An id that names nothing."""

    status = 404

    def __init__(self, kind: str, identifier: str, *, param: str = "id") -> None:
        super().__init__(f"No such {kind}: '{identifier}'", code="resource_missing", param=param)


class UnknownRoute(ApiError):
    """A method and path that the sandbox does not serve."""

    status = 404
    kept = False

    def __init__(self, method: str, path: str) -> None:
        super().__init__(f"Unrecognized request URL ({method}: {path}). The sandbox does not serve this path.")


class UnexpectedState(ApiError):
    """An operation that the object's status does not allow; the error carries the object."""

    def __init__(self, message: str, subject: dict[str, Any]) -> None:
        kind = subject["object"]
        super().__init__(message, code=f"{kind}_unexpected_state")
        self.extra[kind] = subject


class IdempotencyMismatch(ApiError):
    """A known idempotency key with other parameters or on another path."""

    type = "idempotency_error"
    kept = False

    def __init__(self, key: str) -> None:
        super().__init__(
            "Keys for idempotent requests can only be used with the same parameters and endpoint they were first "
            f"used with. Use another key than '{key}' for another request."
        )


class IdempotencyKeyInUse(ApiError):
    """The first request with this idempotency key has not been answered yet."""

    status = 409
    type = "idempotency_error"
    kept = False
    headers: ClassVar[dict[str, str]] = {"Stripe-Should-Retry": "true"}

    def __init__(self, key: str) -> None:
        super().__init__(
            f"Another request with the idempotency key '{key}' is still in progress.", code="idempotency_key_in_use"
        )


class LockTimeout(ApiError):
    """Another request holds the object."""

    status = 409
    kept = False
    headers: ClassVar[dict[str, str]] = {"Stripe-Should-Retry": "true"}

    def __init__(self) -> None:
        super().__init__(
            "This object cannot be accessed right now because another request uses it.", code="lock_timeout"
        )


class TooLarge(ApiError):
    """A body beyond the limit."""

    status = 413
    kept = False

    def __init__(self, limit: int) -> None:
        super().__init__(f"The request body has more than {limit} bytes.")


class RateLimited(ApiError):
    """Too many requests."""

    status = 429
    kept = False
    headers: ClassVar[dict[str, str]] = {"Stripe-Rate-Limited-Reason": "global-rate"}

    def __init__(self) -> None:
        super().__init__("Request rate limit exceeded.", code="rate_limit")


class ServerError(ApiError):
    """Something went wrong on the provider's side."""

    status = 500
    type = "api_error"
    kept = False

    def __init__(self) -> None:
        super().__init__("An unknown error occurred.")
