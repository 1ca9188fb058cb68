"""A caller may use up its own budget, and nobody else's."""

import pytest

from kobklein import errors, ratelimits
from kobklein.options.v1 import options_pb2 as options
from kobklein.settings import RateSettings


@pytest.fixture
def limiter() -> ratelimits.RateLimiter:
    return ratelimits.RateLimiter(RateSettings(payment="3/hour", read="5/hour"))


async def test_calls_beyond_the_budget_are_refused_and_told_when_to_return(limiter: ratelimits.RateLimiter) -> None:
    for _ in range(3):
        await limiter.check(options.RATE_LIMIT_PAYMENT, "user-1")
    with pytest.raises(errors.RateLimited) as refused:
        await limiter.check(options.RATE_LIMIT_PAYMENT, "user-1")
    assert 3500 < (refused.value.retry_after_seconds or 0) <= 3601


async def test_callers_and_budgets_are_counted_apart(limiter: ratelimits.RateLimiter) -> None:
    for _ in range(3):
        await limiter.check(options.RATE_LIMIT_PAYMENT, "user-1")
    await limiter.check(options.RATE_LIMIT_PAYMENT, "user-2")
    await limiter.check(options.RATE_LIMIT_READ, "user-1")


async def test_internal_calls_are_not_limited(limiter: ratelimits.RateLimiter) -> None:
    for _ in range(100):
        await limiter.check(options.RATE_LIMIT_INTERNAL, "service")


async def test_payments_are_refused_while_nobody_counts_and_reads_are_not(limiter: ratelimits.RateLimiter) -> None:
    away = ratelimits.RateLimiter(RateSettings())
    away._limiter = Away()  # type: ignore[assignment]  # a store that is out of reach
    with pytest.raises(errors.Unavailable):
        await away.check(options.RATE_LIMIT_PAYMENT, "user-1")
    await away.check(options.RATE_LIMIT_READ, "user-1")


class Away:
    async def hit(self, *_: object) -> bool:
        raise ConnectionError


def test_a_synchronous_store_is_refused() -> None:
    with pytest.raises(TypeError, match="no asynchronous storage"):
        ratelimits.RateLimiter(RateSettings(storage="memory://"))
