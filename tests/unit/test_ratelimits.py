"""A caller may use up its own budget, and nobody else's."""

import itertools
import time

import hypothesis
import hypothesis.strategies as st
import limits
import pytest

from kobklein import errors, ratelimits, windows
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
    with pytest.raises(ValueError, match="must be async"):
        RateSettings(storage="memory://")


class Clock:
    """Seconds that pass only when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


MINUTE = limits.parse("3/minute")


async def passed(window: windows.MovingWindows, clock: Clock, moments: list[float]) -> list[float]:
    found = []
    for moment in moments:
        clock.now = moment
        if await window.hit(MINUTE, "budget", "user-1"):
            found.append(moment)
    return found


async def test_a_window_moves_with_its_calls() -> None:
    clock = Clock()
    moments = [0, 1, 59, 59.5, 60, 60.5, 61, 118, 119, 120]
    assert await passed(windows.MovingWindows(clock), clock, [float(one) for one in moments]) == [
        0, 1, 59, 60, 61, 119, 120,
    ]  # fmt: skip


@hypothesis.given(steps=st.lists(st.floats(min_value=0, max_value=40, allow_nan=False), max_size=60))
async def test_no_stretch_as_long_as_a_window_has_more_calls_than_its_limit(steps: list[float]) -> None:
    clock = Clock()
    moments = list(itertools.accumulate(steps))
    found = await passed(windows.MovingWindows(clock), clock, moments)
    for moment in found:
        assert sum(moment - 60 < other <= moment for other in found) <= 3
    for refused in set(moments) - set(found):
        assert sum(refused - 60 < other <= refused for other in found) == 3


async def test_a_window_tells_when_its_oldest_call_leaves_it() -> None:
    clock = Clock()
    window = windows.MovingWindows(clock)
    await window.hit(MINUTE, "budget", "user-1")
    clock.now += 20
    await window.hit(MINUTE, "budget", "user-1")
    stats = await window.get_window_stats(MINUTE, "budget", "user-1")
    assert (stats.reset_time - time.time(), stats.remaining) == (pytest.approx(40, abs=5), 1)
    assert (await window.get_window_stats(MINUTE, "budget", "user-2")).remaining == 3


async def test_callers_who_have_gone_silent_are_forgotten() -> None:
    clock = Clock()
    window = windows.MovingWindows(clock)
    for number in range(100):
        await window.hit(MINUTE, "budget", f"user-{number}")
    clock.now += 61
    for number in range(100):
        await window.hit(MINUTE, "budget", f"new-{number % 50}")
    assert len(window) == 50


async def test_the_windows_of_longer_budgets_do_not_keep_those_of_shorter_ones() -> None:
    clock = Clock()
    window = windows.MovingWindows(clock)
    await window.hit(limits.parse("3/day"), "daily", "user-1")
    await window.hit(MINUTE, "budget", "user-1")
    clock.now += 61
    await window.hit(MINUTE, "budget", "user-2")
    assert len(window) == 2


async def test_there_is_a_limit_to_the_callers_that_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "_MOST_KEYS", 10)
    window = windows.MovingWindows(Clock())
    for number in range(30):
        assert await window.hit(MINUTE, "budget", f"user-{number}")
    assert len(window) == 10


async def test_a_budget_of_nothing_lets_nothing_pass() -> None:
    window = windows.MovingWindows(Clock())
    assert not await window.hit(limits.parse("0/minute"), "budget", "user-1")
    assert len(window) == 0


def test_replicas_may_share_their_counts() -> None:
    shared = ratelimits.RateLimiter(RateSettings(storage="async+redis://127.0.0.1:1"))
    assert isinstance(shared._limiter, limits.aio.strategies.MovingWindowRateLimiter)
