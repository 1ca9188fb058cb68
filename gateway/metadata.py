"""Headers and gRPC metadata: what a request carries to its service, and what comes back with the answer."""

import re
from collections.abc import Iterable
from typing import Final

from gateway import exchanges
from kobklein import calls, contract, errors, ids
from kobklein.options.v1 import options_pb2

Metadata = tuple[tuple[str, str], ...]

_FORWARDED: Final = ("traceparent", "tracestate", "accept", "accept-language")
_RETURNED: Final = {"idempotency-replayed": b"idempotency-replayed", "deprecation": b"deprecation", "sunset": b"sunset"}
_KEY: Final = re.compile(rb"[\x20-\x7e]{1,255}")
_TEXT: Final = re.compile(rb"[\x20-\x7e]{1,1024}")
_TIMEOUT: Final = re.compile(rb"([1-9][0-9]{0,7})([HMSmun])")
_UNIT_SECONDS: Final = {b"H": 3600, b"M": 60, b"S": 1, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
"""The units of gRPC over HTTP/2."""


def of(exchange: exchanges.Exchange, method: contract.Method) -> Metadata:
    """Return the metadata of the call; raises IdempotencyKeyMissing, or InvalidArgument for a bad header."""
    headers = exchange.headers
    found = [("x-request-id", exchange.request_id), (calls.CLIENT_ADDRESS, exchange.client)]
    if not method.anonymous:
        found.append(("authorization", headers[b"authorization"].decode("latin-1")))
    if method.rules.idempotency:
        found.append(("idempotency-key", _idempotency_key(headers.get(b"idempotency-key"), method)))
    for name in _FORWARDED:
        value = headers.get(name.encode())
        if value is not None and _TEXT.fullmatch(value):
            found.append((name, value.decode()))
    return tuple(found)


def _idempotency_key(value: bytes | None, method: contract.Method) -> str:
    if value is None:
        if method.rules.idempotency == options_pb2.IDEMPOTENCY_REQUIRED:
            raise errors.IdempotencyKeyMissing
        return str(ids.new())  # The channel may repeat a call whose connection broke; it must have one effect then too.
    if not _KEY.fullmatch(value):
        raise errors.InvalidArgument.of("Idempotency-Key", "is not 1 to 255 printable ASCII characters")
    return value.decode()


def timeout_seconds(exchange: exchanges.Exchange, *, default: float, longest: float) -> float:
    """Return the deadline of the call: what `Grpc-Timeout` asks for, within bounds; raises InvalidArgument."""
    value = exchange.headers.get(b"grpc-timeout")
    if value is None:
        return default
    match = _TIMEOUT.fullmatch(value)
    if match is None:
        raise errors.InvalidArgument.of(
            "Grpc-Timeout", "is not 1 to 8 digits and one of H, M, S, m, u, n, such as 500m or 2S"
        )
    return min(int(match[1]) * _UNIT_SECONDS[match[2]], longest)


def response_headers(trailing: Iterable[tuple[str, str | bytes]]) -> list[exchanges.Header]:
    """Return the headers that a call's trailing metadata stands for."""
    return [
        (_RETURNED[key], value.encode("latin-1", "replace") if isinstance(value, str) else value)
        for key, value in trailing
        if key in _RETURNED
    ]
