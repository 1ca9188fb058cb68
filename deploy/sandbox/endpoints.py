"""One HTTP request to the API: authentication, parameters, faults, idempotency, execution, answer."""

import asyncio
import base64
import secrets
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from deploy.sandbox import errors, expansions, faults, forms, idempotency
from deploy.sandbox.engine import Engine
from deploy.sandbox.operations import Operation
from deploy.sandbox.parameters import Arguments
from deploy.sandbox.replies import Reply
from deploy.sandbox.settings import API_VERSION, VERSION
from deploy.sandbox.state import Call

_BEFORE: dict[faults.Kind, type[errors.ServerError | errors.RateLimited | errors.LockTimeout]] = {
    faults.Kind.ERROR_500: errors.ServerError,
    faults.Kind.RATE_LIMIT_429: errors.RateLimited,
    faults.Kind.CONFLICT_409: errors.LockTimeout,
}
DISCONNECT = "sandbox.disconnect"
"""The ASGI extension with which a server lets a request close its connection without an answer."""


class Dropped(Exception):
    """The connection is to be closed without an answer."""


class Endpoint:
    """The ASGI application of one operation."""

    def __init__(self, engine: Engine, operation: Operation) -> None:
        self._engine = engine
        self._operation = operation

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        call = _call(request)
        try:
            reply = await self._answer(request, call)
        except errors.ApiError as error:
            reply = error.reply(call.request_id)
        except Dropped:
            await _disconnect(scope, receive)
            return
        await respond(send, call, reply)

    async def _answer(self, request: Request, call: Call) -> Reply:
        api_key = _authenticate(request, self._engine.state.settings.api_keys)
        if not VERSION.fullmatch(call.version):
            raise errors.InvalidParameter(f"Invalid Stripe API version: {call.version}")
        body = await _body(request, self._engine.state.settings.body_limit_bytes)
        arguments = self._arguments(request, body)
        path = request.scope["path"]
        key = None
        if call.idempotency_key is not None and request.method == "POST":
            asked = request.scope["query_string"] + b"\n" + body
            key = idempotency.key(api_key, call.idempotency_key, method=request.method, path=path, asked=asked)
        with self._engine.keys.claim(self._engine.state, key) as kept:
            struck = self._engine.faults.strike(request.method, path)
            await _suffer(struck)
            kinds = {rule.kind for rule in struck}
            broken = faults.Kind.ERROR_500_AFTER_SUCCESS in kinds
            reply = kept or self._execute(call, arguments, key, broken=broken)
        if faults.Kind.DROP_AFTER_SUCCESS in kinds and reply.status < 400:
            raise Dropped
        return reply

    def _arguments(self, request: Request, body: bytes) -> Arguments:
        form = {**forms.decode(request.scope["query_string"]), **forms.decode(body)}
        return {**self._operation.parameters.parse(form, ""), **request.path_params}

    def _execute(self, call: Call, arguments: Arguments, key: idempotency.Key | None, *, broken: bool) -> Reply:
        def action() -> Reply:
            reply = self._perform(arguments)
            if broken and reply.status < 400:
                reply = errors.ServerError().reply(call.request_id)
            if key is not None:
                idempotency.keep(self._engine.state, key, reply)
            return reply

        try:
            return self._engine.atomically(call, action)
        except errors.ApiError as error:
            if key is not None and error.kept:
                idempotency.keep(self._engine.state, key, error.reply(call.request_id))
            raise

    def _perform(self, arguments: Arguments) -> Reply:
        paths = arguments.pop("expand", [])
        result: Any = self._operation.execute(self._engine.state, arguments)
        if isinstance(result, Reply):
            return result
        expansions.expand(self._engine.state, result, paths)
        return Reply.of(200, result)


async def _suffer(struck: Sequence[faults.Rule]) -> None:
    """The faults that come before execution: first every delay, then the refusal."""
    for rule in struck:
        if rule.kind is faults.Kind.DELAY:
            await asyncio.sleep(rule.delay_seconds)
    for rule in struck:
        if rule.kind in _BEFORE:
            raise _BEFORE[rule.kind]


async def respond(send: Send, call: Call, reply: Reply) -> None:
    """Send an answer with the headers that every answer has."""
    headers = {
        "Content-Type": "application/json",
        "Content-Length": str(len(reply.body)),
        "Request-Id": call.request_id or "",
        "Stripe-Version": call.version,
        **reply.headers,
    }
    if call.idempotency_key is not None:
        headers["Idempotency-Key"] = call.idempotency_key
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": reply.status, "headers": raw})
    await send({"type": "http.response.body", "body": reply.body})


def _call(request: Request) -> Call:
    return Call(
        base_url=base_url(request),
        request_id=f"req_{secrets.token_hex(8)}",
        idempotency_key=request.headers.get("idempotency-key"),
        version=request.headers.get("stripe-version", API_VERSION),
    )


def base_url(request: Request) -> str:
    """The address under which the caller reached the sandbox."""
    return f"{request.scope['scheme']}://{request.headers.get('host', 'localhost')}"


def _authenticate(request: Request, keys: Sequence[str]) -> str:
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        given = credentials.strip()
    elif scheme.lower() == "basic":
        given = _user(credentials)
    else:
        message = "You did not provide an API key. Send it as a Bearer token or as the user of Basic authentication."
        raise errors.Unauthenticated(message)
    if given not in keys:
        raise errors.Unauthenticated(f"Invalid API Key provided: {given[:8]}{'*' * len(given[8:])}")
    return given


def _user(credentials: str) -> str:
    try:
        return base64.b64decode(credentials, validate=True).decode("ascii").partition(":")[0]
    except ValueError as error:
        raise errors.Unauthenticated("The Basic authentication is not valid base64.") from error


async def _body(request: Request, limit: int) -> bytes:
    if request.method != "POST":
        return b""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise errors.TooLarge(limit)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if body and kind != "application/x-www-form-urlencoded":
        raise errors.InvalidParameter(
            "Invalid request (check that your POST content type is application/x-www-form-urlencoded)."
        )
    return bytes(body)


async def _disconnect(scope: Scope, receive: Receive) -> None:
    disconnect = scope.get("extensions", {}).get(DISCONNECT)
    if disconnect is None:
        raise RuntimeError("This server cannot close a connection without an answer.")
    disconnect["abort"]()
    while (await receive())["type"] != "http.disconnect":
        pass
