"""Who sent a request, from its token or its address, and whether it may go on."""

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Final

from starlette.types import Scope

from gateway import exchanges
from gateway.settings import Network
from kobklein import auth, contract, errors, ratelimits

_MAX_HOPS: Final = 20


class Gate:
    """Lets a request pass to a method: a proved caller, a fitting role, and a call left in the budget."""

    def __init__(self, verifier: auth.Verifier, limiter: ratelimits.RateLimiter) -> None:
        self._verifier = verifier
        self._limiter = limiter

    async def admit(self, method: contract.Method, exchange: exchanges.Exchange) -> None:
        """Raise Unauthenticated, PermissionDenied or RateLimited, or note who calls."""
        if exchange.repeated:
            raise errors.InvalidArgument(*_repeated(exchange.repeated))
        caller = None if method.anonymous else self._caller(exchange.headers)
        if caller is not None:
            exchange.subject = caller.subject
            auth.check_public(caller)
        auth.check_role(method, caller)
        key = caller.subject if caller is not None else f"address {exchange.client}"
        await self._limiter.check(method.rules.rate_limit, key)

    def _caller(self, headers: Mapping[bytes, bytes]) -> auth.Caller:
        return self._verifier.verify(auth.bearer(headers.get(b"authorization", b"").decode("latin-1")))


def _repeated(names: Sequence[bytes]) -> list[errors.Violation]:
    return [
        errors.Violation(name.decode("latin-1").title(), "is given more than once") for name in dict.fromkeys(names)
    ]


def address(scope: Scope, trusted: Sequence[Network]) -> str:
    """Return the client's address: the connection's, or what the nearest untrusted hop in `X-Forwarded-For` is.

    The header counts only where each proxy that wrote it is trusted, read from the right: what a client itself writes
    into it is to the left of that.
    """
    peer = scope["client"][0] if scope.get("client") else ""
    if not trusted or not _is_trusted(peer, trusted):
        return peer
    forwarded = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for").decode("latin-1")
    hops = [hop.strip() for hop in forwarded.split(",")[-_MAX_HOPS:] if hop.strip()]
    for hop in reversed(hops):
        if not _is_address(hop):
            return peer
        peer = hop
        if not _is_trusted(hop, trusted):
            break
    return peer


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_trusted(text: str, trusted: Sequence[Network]) -> bool:
    return _is_address(text) and any(ipaddress.ip_address(text) in network for network in trusted)
