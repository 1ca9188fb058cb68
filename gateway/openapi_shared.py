"""What the operations of the OpenAPI document share: headers, refusals, the problem document, and the webhooks."""

import http
from collections.abc import Iterable
from typing import Any, Final

from gateway import bindings, files, problems, requests
from kobklein import errors

Document = dict[str, Any]


def parameters_of(binding: bindings.Binding, *, keys_required: bool) -> list[Document]:
    """Return the headers that an operation understands; `keys_required` where calls without a key are refused."""
    rules, found = binding.method.rules, [_REQUEST_ID, _TIMEOUT]
    if rules.idempotency:
        found.append({**_IDEMPOTENCY_KEY, "required": keys_required and binding.method.advises_key})
    if requests.takes_etag(binding.request_type):
        found.append(_IF_MATCH)
    if answers_304(binding):
        found.append(_IF_NONE_MATCH)
    if requests.is_resumable(binding):
        found.append(_LAST_EVENT_ID)
    return found


def answers_304(binding: bindings.Binding) -> bool:
    """Whether the operation spares a client what it has already."""
    single = not binding.method.descriptor.server_streaming
    return single and binding.http_method == "GET" and requests.has_text_field(binding.response_type, requests.ETAG)


def refusals_of(binding: bindings.Binding) -> Document:
    """Return the refusals that an operation can answer with, by status."""
    found = ["400", "429", "500", "503", "504"]
    found += [] if binding.method.anonymous else ["401", "403"]
    found += ["404", "409"] if binding.template.variables or binding.http_method != "GET" else []
    found += ["413", "415"] if binding.body else []
    found += ["412"] if requests.takes_etag(binding.request_type) else []
    found += ["422"] if binding.method.rules.idempotency else []
    found += ["501"] if binding.http_method != "GET" else []
    return problem_responses(sorted(found))


def headers_of(binding: bindings.Binding) -> Document:
    """Return the headers of an operation's success."""
    found = {"X-Request-Id": _answer_header("Id of this call.")}
    if binding.method.rules.idempotency:
        found["Idempotency-Replayed"] = _answer_header("`true` on the answer of an earlier call.")
    if binding.answers_file:
        found |= {name.title(): _answer_header(text) for name, text in files.HEADERS.items()}
    if requests.has_text_field(binding.response_type, requests.ETAG):
        found["ETag"] = _answer_header("Tag of this version, in quotes.")
    return found


def webhook(provider: str, header: str) -> Document:
    """Return the path item of a provider's webhooks."""
    signature = {"name": header, "in": "header", "required": True, "schema": {"type": "string", "minLength": 1}}
    received = {"type": "object", "required": ["received"], "properties": {"received": {"const": True}}}
    event = {"type": "object", "required": ["id", "type"], "properties": {"id": _TEXT, "type": _TEXT}}
    example = {"id": "evt_1", "object": "event", "type": "payment_intent.succeeded"}
    operation = {
        "operationId": f"Receive{provider.capitalize()}Webhook",
        "tags": ["Webhooks"],
        "summary": f"Receive a webhook of {provider.capitalize()}",
        "description": f"For {provider.capitalize()} alone: the signature in `{header}` is verified over the raw body. "
        "An event is stored once, answered, and applied afterwards. Needs no token.",
        "parameters": [signature],
        "requestBody": {"required": True, "content": {"application/json": {"schema": event, "example": example}}},
        "responses": {
            "200": {
                "description": "The event is stored.",
                "content": {"application/json": {"schema": received, "example": {"received": True}}},
            },
            **problem_responses(("400", "413", "500", "503", "504")),
        },
        "security": [],
    }
    return {"post": operation}


def _answer_header(description: str) -> Document:
    return {"description": description, "schema": {"type": "string"}}


def _header(name: str, description: str, *, example: str = "", pattern: str = "") -> Document:
    schema: Document = {"type": "string"}
    if example:
        schema["examples"] = [example]
    if pattern:
        schema["pattern"] = pattern
    return {"name": name, "in": "header", "required": False, "description": description, "schema": schema}


_REQUEST_ID: Final = _header(
    "X-Request-Id",
    "Id of this call, found again in answers and logs; another one is made where it does not fit.",
    example="checkout-4711",
)
_TIMEOUT: Final = _header(
    "Grpc-Timeout",
    "How long the call may take, in hours, minutes, seconds, milliseconds, microseconds or nanoseconds.",
    pattern="^[1-9][0-9]{0,7}[HMSmun]$",
    example="5S",
)
_IDEMPOTENCY_KEY: Final = _header(
    "Idempotency-Key",
    "Makes a repeated call recognisable: it gets the first answer again. Without one, it is done again.",
    pattern="^[ -~]{1,255}$",
    example="order-4711",
)
_IF_MATCH: Final = _header(
    "If-Match", "Only if the resource still has this tag.", pattern='^"[!#-~]{1,64}"$', example='"1"'
)
_IF_NONE_MATCH: Final = _header("If-None-Match", "Only if the resource has another tag by now.", example='"1"')
_LAST_EVENT_ID: Final = _header(
    "Last-Event-ID",
    "Goes on after this event, whatever the query's `cursor` says; clients of server-sent events send it.",
)

_TEXT: Final = {"type": "string"}
PROBLEM: Final = "Problem"
"""Name of the schema of problem documents."""
_EXAMPLES: Final = {
    "400": ("INVALID_ARGUMENT", "amount: is required"),
    "401": ("UNAUTHENTICATED", "a bearer token is needed"),
    "403": ("PERMISSION_DENIED", "this caller may not do this"),
    "404": ("NOT_FOUND", "there is no such thing, or not for this caller"),
    "409": ("IDEMPOTENCY_KEY_IN_USE", "a call with this Idempotency-Key is still running"),
    "412": ("ETAG_MISMATCH", "the resource has changed: its etag is now 8"),
    "413": ("CONTENT_TOO_LARGE", "the body is longer than 65536 bytes"),
    "415": ("UNSUPPORTED_MEDIA_TYPE", "the body's Content-Type is not application/json"),
    "422": ("IDEMPOTENCY_KEY_REUSED", "this Idempotency-Key was used before, with another request"),
    "429": ("RATE_LIMITED", "too many calls; try again in 17 s"),
    "500": ("INTERNAL_SERVER_ERROR", "internal server error"),
    "501": ("METHOD_NOT_PROCESSABLE", "payments by MONCASH cannot be processed yet"),
    "503": ("UNAVAILABLE", "the ledger is out of reach for now"),
    "504": ("GATEWAY_TIMEOUT", "the call took longer than it may"),
}
"""A reason of each status, and its text."""
PROBLEM_SCHEMA: Final[Document] = {
    "type": "object",
    "description": "A problem document (RFC 9457).",
    "required": ["type", "title", "status", "detail", "instance", "reason", "requestId"],
    "properties": {
        "type": {"type": "string", "format": "uri", "examples": ["urn:kobklein:problem:insufficient-funds"]},
        "title": {"type": "string", "examples": ["Insufficient funds"]},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string", "description": "The error in words, for people."},
        "instance": {"type": "string", "description": "The path that was asked.", "examples": ["/transfers"]},
        "reason": {"type": "string", "description": "Stable name of the reason.", "examples": ["INSUFFICIENT_FUNDS"]},
        "requestId": {"type": "string", "description": "Id of the call, found again in the logs."},
        "errors": {
            "type": "array",
            "description": "Every offending field of the request.",
            "items": {
                "type": "object",
                "required": ["field", "detail"],
                "properties": {"field": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
        "metadata": {
            "type": "object",
            "description": "What the reason is about, as text by names that belong to the reason.",
            "additionalProperties": {"type": "string"},
            "examples": [{"before": "COMPLETED", "after": "CANCELLED"}],
        },
    },
}


def problem_responses(statuses: Iterable[str]) -> Document:
    """Return the refusals of some statuses by reference."""
    return {status: {"$ref": f"#/components/responses/{PROBLEM}{status}"} for status in statuses}


def _problem_response(status: str) -> Document:
    reason, detail = _EXAMPLES[status]
    violations = [errors.Violation(*detail.split(": "))] if reason == "INVALID_ARGUMENT" else []
    problem = problems.Problem(int(status), reason, detail, violations)
    media = {
        "schema": {"$ref": f"#/components/schemas/{PROBLEM}"},
        "example": problem.document(instance="/payments", request_id="01a20811-65de-7322-b0d6-79450ba36aee"),
    }
    return {
        "description": f"{http.HTTPStatus(int(status)).phrase}.",
        "content": {problems.CONTENT_TYPE.decode(): media},
    }


PROBLEM_RESPONSES: Final = {f"{PROBLEM}{status}": _problem_response(status) for status in _EXAMPLES}
"""The refusals of all operations."""
