"""What becomes of holds: the pure part, with the limits that they count against and the midnights that they cross."""

import datetime
import zoneinfo
from collections.abc import Sequence
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wallets_service import errors, holds
from wallets_service.ledger import decisions
from wallets_service.ledger.book import Decision, Outcome, State
from wallets_service.ledger.entries import Account, Hold, Key, NewHold, Operation, Release, Transfer

HAITI: Final = zoneinfo.ZoneInfo("America/Port-au-Prince")
NOON: Final = datetime.datetime(2026, 11, 24, 12, tzinfo=HAITI)
ANA, BEN = ("user/ana", "HTG"), ("user/ben", "HTG")
DAY: Final = datetime.timedelta(days=1)


class Clerk:
    """Decides one batch after the other, each on what the ones before it left."""

    def __init__(self, **ana: object) -> None:
        fields = {"balance": 100, "held_amount": 0, "overdraft_limit": 0, "status": "ACTIVE", "version": 0}
        self.accounts: dict[Key, Account] = {
            ANA: Account(id="1", key=ANA, **{**fields, **ana}),
            BEN: Account(id="2", key=BEN, **{**fields, "balance": 0}),
        }
        self.holds: dict[str, Hold] = {}
        self.time = NOON

    def decide(self, *operations: Operation) -> Sequence[Outcome]:
        decision = self._decision(operations)
        self.accounts.update(decision.accounts)
        self.holds.update(decision.holds)
        return decision.outcomes

    def _decision(self, operations: Sequence[Operation]) -> Decision:
        state = State(accounts=self.accounts, holds=self.holds, time=self.time, zone=HAITI)
        return decisions.decide(operations, state)

    @property
    def spent(self) -> tuple[int, int]:
        """What counts against the limits of this day and this month."""
        ana, today = self.accounts[ANA], self.time.astimezone(HAITI).date()
        date = ana.spent_date
        if date is None or (date.year, date.month) != (today.year, today.month):
            return 0, 0
        return (ana.day_spent if date == today else 0), ana.month_spent


def hold(amount: int, id_: str = "h", lifetime: datetime.timedelta = 7 * DAY) -> NewHold:
    return NewHold(id_, "user/ana", "user/ben", amount, "HTG", "TRANSFER", lifetime)


def taking(amount: int, id_: str = "t", hold_id: str | None = "h", **changes: object) -> Transfer:
    return Transfer(id_, "user/ana", "user/ben", amount, "HTG", "TRANSFER", hold_id=hold_id, **changes)


VOID: Final = Release("h", ANA, BEN)


def test_a_hold_counts_against_the_limits_when_it_is_made_and_not_when_it_is_taken() -> None:
    clerk = Clerk(day_limit=60)
    clerk.decide(hold(40))
    assert clerk.spent == (40, 40)
    clerk.decide(taking(30))
    assert clerk.spent == (40, 40)
    (refused,) = clerk.decide(hold(21, "other"))
    assert isinstance(refused, errors.LimitExceeded)
    assert (refused.metadata["period"], refused.metadata["used"]) == ("day", "0.40")


def test_what_is_given_back_the_same_day_counts_no_more() -> None:
    clerk = Clerk(day_limit=60)
    clerk.decide(hold(40), taking(15), VOID)
    assert clerk.spent == (15, 15)
    clerk.decide(hold(45, "other"))
    assert clerk.accounts[ANA].held_amount == 45


def test_what_expires_the_same_day_counts_no_more() -> None:
    clerk = Clerk(day_limit=60)
    clerk.decide(hold(60, lifetime=datetime.timedelta(hours=1)))
    clerk.time += datetime.timedelta(hours=1)
    clerk.decide(hold(60, "other"))
    assert [each.status for each in clerk.holds.values()] == ["EXPIRED", "PENDING"]
    assert clerk.spent == (60, 60)


@pytest.mark.parametrize(
    ("made", "ended", "left"),
    [
        ((2026, 11, 24, 23, 59), (2026, 11, 24, 23, 59), (20, 20)),
        ((2026, 11, 24, 23, 59), (2026, 11, 25, 0, 0), (20, 20)),
        ((2026, 11, 30, 23, 59), (2026, 12, 1, 0, 0), (20, 20)),
        ((2026, 12, 31, 23, 59), (2027, 1, 1, 0, 0), (20, 20)),
    ],
    ids=["the same day", "the next day", "the next month", "the next year"],
)
def test_a_hold_given_back_after_midnight_in_haiti_takes_nothing_off_what_the_new_period_spent(
    made: tuple[int, ...], ended: tuple[int, ...], left: tuple[int, int]
) -> None:
    """Midnight in Haiti is five in the morning in UTC, and it is Haiti's that counts."""
    clerk = Clerk()
    clerk.time = datetime.datetime(*made, tzinfo=HAITI).astimezone(datetime.UTC)
    clerk.decide(hold(40))
    before = clerk.time.astimezone(HAITI).date()
    clerk.time = datetime.datetime(*ended, tzinfo=HAITI).astimezone(datetime.UTC)
    clerk.decide(taking(20, hold_id=None))
    same_month = before.month == clerk.time.astimezone(HAITI).month
    assert clerk.spent == (
        (60, 60) if before == clerk.time.astimezone(HAITI).date() else (20, 60 if same_month else 20)
    )
    clerk.decide(VOID)
    assert clerk.spent == left


def test_a_hold_ends_at_the_very_instant_of_its_time() -> None:
    clerk = Clerk()
    clerk.decide(hold(40, lifetime=DAY))
    clerk.time = NOON + DAY - datetime.timedelta(microseconds=1)
    clerk.decide(taking(1, "early"))
    assert clerk.holds["h"].posted_amount == 1
    clerk.time = NOON + DAY
    posted, voided = clerk.decide(taking(1, "late"), VOID)
    assert isinstance(posted, errors.HoldEnded)
    assert isinstance(voided, errors.HoldEnded)
    assert (clerk.holds["h"].status, clerk.accounts[ANA].held_amount) == ("EXPIRED", 0)


def test_the_sweeper_leaves_a_hold_whose_time_is_not_over_as_it_is() -> None:
    clerk = Clerk()
    (made,) = clerk.decide(hold(40))
    assert clerk.decide(Release("h", ANA, BEN, expiry=True)) == [made]
    assert clerk.holds["h"].status == "PENDING"


def test_a_part_is_answered_with_the_hold_as_it_left_it() -> None:
    clerk = Clerk()
    clerk.decide(hold(40))
    part = taking(15)
    _, after = clerk.decide(part, holds.release_of(part))
    assert isinstance(after, Hold)
    assert (after.posted_amount, after.remaining_amount, after.status) == (15, 25, "PENDING")


steps = st.lists(
    st.one_of(
        st.builds(lambda id_, amount: hold(amount, id_, DAY), st.sampled_from("abc"), st.integers(1, 60)),
        st.builds(
            lambda id_, hold_id, amount, rest: taking(amount, id_, hold_id, releases_hold=rest),
            st.integers(0, 40).map(str), st.sampled_from("abc"), st.integers(1, 60), st.booleans(),
        ),
        st.builds(lambda id_: Release(id_, ANA, BEN), st.sampled_from("abc")),
        st.builds(lambda id_: Release(id_, ANA, BEN, expiry=True), st.sampled_from("abc")),
        st.builds(lambda id_, amount: taking(amount, id_, None), st.integers(41, 80).map(str), st.integers(1, 60)),
        st.integers(0, 30).map(lambda hours: datetime.timedelta(hours=hours)),
    ),
    max_size=40,
)  # fmt: skip


@given(steps)
def test_what_is_held_is_always_what_open_holds_have_left(steps: list[Operation | datetime.timedelta]) -> None:
    clerk = Clerk()
    for step in steps:
        if isinstance(step, datetime.timedelta):
            clerk.time += step
            continue
        clerk.decide(step)
        ana, ben = clerk.accounts[ANA], clerk.accounts[BEN]
        assert ana.held_amount == sum(each.remaining_amount for each in clerk.holds.values())
        assert ana.balance + ben.balance == 100
        assert ana.balance - ana.held_amount >= 0
        assert all(0 <= each.posted_amount <= each.made.amount for each in clerk.holds.values())
        assert min(ana.day_spent, ana.month_spent) >= 0
