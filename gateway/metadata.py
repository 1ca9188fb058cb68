"""Headers and gRPC metadata: what a request carries to its service, and what comes back with the answer."""

import re
from collections.abc import Iterable
from typing import Final

from gateway import exchanges
from kobklein import calls, contract, errors, ids

Metadata = tuple[tuple[str, str], ...]

_FORWARDED: Final = ("traceparent", "tracestate", "accept", "accept-language")
_RETURNED: Final = {"idempotency-replayed": b"idempotency-replayed", "deprecation": b"deprecation", "sunset": b"sunset"}
_KEY_HEADER: Final = calls.KEY.encode()
_KEY: Final = re.compile(rb"[\x20-\x7e]{1,255}")
_TEXT: Final = re.compile(rb"[\x20-\x7e]{1,1024}")
_TIMEOUT: Final = re.compile(rb"([1-9][0-9]{0,7})([HMSmun])")
_UNIT_SECONDS: Final = {b"H": 3600, b"M": 60, b"S": 1, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
"""The units of gRPC over HTTP/2."""


def of(exchange: exchanges.Exchange, method: contract.Method, *, keys_required: bool = False) -> Metadata:
    """Return the metadata of the call; raises IdempotencyKeyMissing, or InvalidArgument for a bad header.

    A call without a key gets one of the gateway's own, and says so: the channel may repeat a call whose connection
    broke, and it must have one effect then too.
    """
    headers = exchange.headers
    found = [("x-request-id", exchange.request_id), (calls.CLIENT_ADDRESS, exchange.client)]
    if not method.anonymous:
        found.append(("authorization", headers[b"authorization"].decode("latin-1")))
    key = headers.get(_KEY_HEADER)
    if key is not None and method.rules.idempotency:
        found.append((calls.KEY, _checked_key(key)))
    elif method.advises_key and keys_required:
        raise errors.IdempotencyKeyMissing
    elif method.rules.idempotency:
        found += [(calls.KEY, ids.text()), (calls.KEY_IS_MADE, "true")]
    for name in _FORWARDED:
        value = headers.get(name.encode())
        if value is not None and _TEXT.fullmatch(value):
            found.append((name, value.decode()))
    return tuple(found)


def _checked_key(value: bytes) -> str:
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
