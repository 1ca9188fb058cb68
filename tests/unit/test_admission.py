"""The limit of calls under way finds what can be served, and those that are refused come back no faster than that."""

import heapq
import statistics

import pytest

from kobklein import admission

QUICK, SLOW = True, False


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def made(clock: Clock, *, tolerated: float = 0.5, **settings: float) -> admission.Admission:
    configured = admission.AdmissionSettings.model_validate({"least": 4, "most": 100, **settings})
    return admission.Admission(configured, tolerated=tolerated, clock=clock)


def play(admitted: admission.Admission, clock: Clock, *, good: bool, calls: int, full: bool = True) -> None:
    """Let calls come and go one after the other, a tenth of a second each; `full` fills the rest of the limit."""
    for _ in range(calls):
        tickets = [admitted.enter()]
        while full and (more := admitted.enter()) is not None:
            tickets.append(more)
        clock.now += 0.1
        assert tickets[0] is not None
        admitted.judge(tickets[0], good=good)
        for _ in tickets:
            admitted.leave()


def test_a_limit_that_is_reached_rises_while_calls_go_well(clock: Clock) -> None:
    admitted = made(clock)
    limits = []
    for _ in range(40):
        play(admitted, clock, good=QUICK, calls=max(16, admitted.limit))
        limits.append(admitted.limit)
    assert limits[:3] == [6, 8, 11]
    assert limits == sorted(limits)
    assert limits[-1] == 100


def test_a_limit_that_is_not_reached_stays(clock: Clock) -> None:
    admitted = made(clock)
    play(admitted, clock, good=QUICK, calls=100, full=False)
    assert admitted.limit == 4


def test_a_limit_falls_by_a_share_of_itself_and_not_below_the_least(clock: Clock) -> None:
    admitted = made(clock)
    play(admitted, clock, good=QUICK, calls=2000)
    limits = []
    for _ in range(20):
        play(admitted, clock, good=SLOW, calls=max(16, admitted.limit))
        limits.append(admitted.limit)
    assert limits[:3] == [80, 64, 51]
    assert limits[-1] == 4


@pytest.mark.parametrize(("tolerated", "bad", "limit"), [(0.5, 8, 6), (0.5, 9, 4), (0.1, 1, 6), (0.1, 2, 4)])
def test_a_limit_falls_once_more_calls_go_badly_than_are_tolerated(
    clock: Clock, tolerated: float, bad: int, limit: int
) -> None:
    admitted = made(clock, tolerated=tolerated)
    play(admitted, clock, good=SLOW, calls=bad)
    play(admitted, clock, good=QUICK, calls=16 - bad)
    assert admitted.limit == limit


def test_a_call_from_before_the_last_change_of_the_limit_is_not_judged_by(clock: Clock) -> None:
    admitted = made(clock)
    old = admitted.enter()
    assert old is not None
    clock.now += 1
    play(admitted, clock, good=QUICK, calls=16)
    risen = admitted.limit
    for _ in range(100):
        admitted.judge(old, good=SLOW)
    assert admitted.limit == risen


def test_each_refused_call_is_told_its_turn_at_the_rate_at_which_calls_end(clock: Clock) -> None:
    admitted = made(clock)
    play(admitted, clock, good=QUICK, calls=50, full=False)  # 10 a second.
    turns = [admitted.retry_seconds() for _ in range(400)]
    assert turns[:10] == [1.0] * 10
    assert turns[99] == pytest.approx(10, rel=0.02)
    assert turns[199] == pytest.approx(20, rel=0.02)
    assert turns[-1] == 30.0
    clock.now += 40
    assert admitted.retry_seconds() == 1.0


def test_the_least_limit_is_not_more_than_the_most() -> None:
    with pytest.raises(ValueError, match="least must not be more than most"):
        admission.AdmissionSettings(least=5, most=4)


RATE = 50
"""Calls that the simulated machine serves a second."""


@pytest.mark.parametrize("callers", [16, 64, 256, 1024])
def test_callers_beyond_what_can_be_served_take_nothing_from_the_others(clock: Clock, callers: int) -> None:
    """A machine that serves one call after the other; each call waits a tenth of its time until it is recorded."""
    admitted = made(clock, least=16, most=500)
    served, refused, times, free = 0, 0, [], clock.now
    arrivals = [(clock.now, number) for number in range(callers)]
    leaving: list[tuple[float, int]] = []
    end = clock.now + 60
    while arrivals or leaving:
        if leaving and (not arrivals or leaving[0] <= arrivals[0]):
            clock.now, caller = heapq.heappop(leaving)
            admitted.leave()
            served += 1
            heapq.heappush(arrivals, (clock.now, caller))
            continue
        clock.now, caller = heapq.heappop(arrivals)
        if clock.now > end:
            break
        ticket = admitted.enter()
        if ticket is None:
            refused += 1
            heapq.heappush(arrivals, (clock.now + admitted.retry_seconds(), caller))
            continue
        free = max(free, clock.now) + 1 / RATE
        times.append(free - clock.now)
        admitted.judge(ticket, good=(free - clock.now) / 10 <= 0.1)
        heapq.heappush(leaving, (free, caller))
    assert served / 60 > 0.95 * RATE
    assert statistics.quantiles(times, n=100)[98] < 2.0
    assert refused / 60 < 2 * RATE + callers / 60
