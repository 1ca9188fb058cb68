"""Who sent a request, from its token or its address, and whether it may go on."""

from collections.abc import Sequence
from typing import Final

from gateway import addresses, exchanges
from gateway.settings import Settings
from kobklein import auth, contract, errors, ratelimits

_REFUSALS: Final = frozenset((401, 403, 404, 405))
"""Statuses of callers who search for resources, or have no right to them."""


class Failures:
    """The budget of each address for calls that are refused; those that succeed draw nothing from it."""

    def __init__(self, settings: Settings) -> None:
        self._budget = ratelimits.Budget(
            settings.rates.failures, storage=settings.rates.storage, name="gateway failures"
        )

    async def check(self, exchange: exchanges.Exchange) -> None:
        """Raise RateLimited if the budget of the client's address is used up; costs less than proving a token."""
        await self._budget.check(addresses.limited_as(exchange.client))

    async def count(self, exchange: exchanges.Exchange, status: int) -> None:
        """Count an answer that refuses a call; raises RateLimited, the answer instead, when the budget is used up."""
        if status in _REFUSALS or (exchange.signed and 400 <= status < 500):
            await self._budget.spend(addresses.limited_as(exchange.client))


class AccessControl:
    """Lets a request pass to a method: a proved caller, a call left in the budget, and a fitting role."""

    def __init__(self, verifier: auth.Verifier, limiter: ratelimits.RateLimiter, failures: Failures) -> None:
        self._verifier = verifier
        self._limiter = limiter
        self._failures = failures

    async def admit(self, method: contract.Method, exchange: exchanges.Exchange) -> None:
        """Raise Unauthenticated, PermissionDenied or RateLimited, or note who calls."""
        if exchange.repeated:
            raise errors.InvalidArgument(*_repeated(exchange.repeated))
        caller = None if method.anonymous else await self._caller(exchange)
        if caller is not None:
            exchange.subject = caller.subject
            await self._limiter.check(method.rules.rate_limit, caller.subject)
            auth.check_public(caller)
        elif method.anonymous:
            key = f"address {addresses.limited_as(exchange.client)}"
            await self._limiter.check(method.rules.rate_limit, key)
        auth.check_role(method, caller)

    async def _caller(self, exchange: exchanges.Exchange) -> auth.Caller:
        """Return who the token proves; one that is not known yet is proved only while its address has failures left."""
        token = auth.bearer(exchange.headers.get(b"authorization", b"").decode("latin-1"))
        if not self._verifier.knows(token):
            await self._failures.check(exchange)
        return self._verifier.verify(token)


def _repeated(names: Sequence[bytes]) -> list[errors.Violation]:
    return [
        errors.Violation(name.decode("latin-1").title(), "is given more than once") for name in dict.fromkeys(names)
    ]
