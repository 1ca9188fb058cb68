"""What becomes of holds: the pure part, with the limits that they count against and the midnights that they cross."""

import collections
import dataclasses
import datetime
import uuid
import zoneinfo
from collections.abc import Sequence
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wallets_service import errors, fees
from wallets_service.ledger import decisions, rules
from wallets_service.ledger.book import Decision, Outcome, State
from wallets_service.ledger.entries import (
    Account,
    FeeSettlement,
    Hold,
    Key,
    NewHold,
    Operation,
    Posting,
    Release,
    Transfer,
)

HAITI: Final = zoneinfo.ZoneInfo("America/Port-au-Prince")
NOON: Final = datetime.datetime(2026, 11, 24, 12, tzinfo=HAITI)
ANA, BEN, FEES = ("user/ana", "HTG"), ("user/ben", "HTG"), ("fees", "HTG")
DAY: Final = datetime.timedelta(days=1)


class Clerk:
    """Decides one batch after the other, each on what the ones before it left."""

    def __init__(self, **ana: object) -> None:
        fields = {"balance": 100, "held_amount": 0, "overdraft_limit": 0, "status": "ACTIVE", "version": 0}
        self.accounts: dict[Key, Account] = {
            ANA: Account(id="1", key=ANA, **{**fields, **ana}),
            BEN: Account(id="2", key=BEN, **{**fields, "balance": 0}),
            FEES: Account(id="3", key=FEES, **{**fields, "balance": 0}),
        }
        self.holds: dict[str, Hold] = {}
        self.posted: dict[str, Posting] = {}
        self.endings: dict[str, str] = {}
        self.groups: collections.Counter[str] = collections.Counter()
        self.time = NOON
        self.open_holds = 0

    def decide(self, *operations: Operation) -> Sequence[Outcome]:
        decision = self._decision(operations)
        self.accounts.update(decision.accounts)
        self.holds.update(decision.holds)
        self.posted.update({each.transfer.id: each for each in decision.postings})
        for each in decision.postings:
            held = None if each.transfer.hold_id is None else self.holds[each.transfer.hold_id]
            if held is not None and held.status == "POSTED":
                self.endings[held.made.id] = each.transfer.id
        self.groups.update(each.group_id for each in decision.postings if each.group_id is not None)
        return decision.outcomes

    def _decision(self, operations: Sequence[Operation]) -> Decision:
        state = State(
            accounts=self.accounts,
            holds=self.holds,
            posted=self.posted,
            group_sizes=self.groups,
            ending_parts=frozenset(self.endings.values()),
            open_holds={"1": self.open_holds},
            time=self.time,
            zone=HAITI,
        )
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


def test_an_account_has_no_more_holds_open_than_can_end_at_once() -> None:
    clerk = Clerk()
    clerk.open_holds = rules.MAX_OPEN_HOLDS - 2
    linked = dataclasses.replace(hold(1, "a"), linked=True), taking(101, "too much", hold_id=None)
    *_, last, beyond = clerk.decide(*linked, hold(1, "b"), hold(1, "c"), hold(1, "d"))
    assert isinstance(last, Hold)
    assert isinstance(beyond, errors.TooManyHolds)


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
    _, after = clerk.decide(part, Release("h", ANA, BEN, expiry=True))
    assert isinstance(after, Hold)
    assert (after.posted_amount, after.remaining_amount, after.status) == (15, 25, "PENDING")


def test_a_repeated_part_says_of_the_rest_what_was_done_with_it() -> None:
    """Whether it is repeated in the same batch or a later one; the second part, of the same instant, ended the hold."""
    clerk = Clerk()
    kept, gave_back = taking(10, "kept"), taking(10, "gave back", releases_hold=True)
    again = kept, gave_back, taking(10, "kept", releases_hold=True), taking(10, "gave back")
    for answers in (clerk.decide(hold(40), kept, gave_back, *again)[3:], clerk.decide(*again)):
        assert [getattr(each, "reason", "ok") for each in answers] == ["ok", "ok", *["TRANSFER_ID_REUSED"] * 2]
    assert clerk.accounts[ANA].balance == 80


@pytest.mark.parametrize("releases", [False, True])
def test_a_part_that_took_all_that_was_left_had_no_rest_to_say_anything_of(releases: bool) -> None:
    clerk = Clerk()
    last, other = taking(30, releases_hold=releases), taking(30, releases_hold=not releases)
    first = taking(10, "first", releases_hold=True)
    answers = clerk.decide(hold(40), taking(10, "first"), last, other, first)[3:] + clerk.decide(last, other, first)
    assert [getattr(each, "reason", "ok") for each in answers] == [
        "ok",
        "TRANSFER_ID_REUSED",
        "ok",
        "ok",
        "TRANSFER_ID_REUSED",
    ]


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


OF, FEE_HOLD = str(uuid.UUID(int=1)), NewHold(str(uuid.UUID(int=1)), *("",) * 2, 1, "HTG", "", DAY).fee_hold_id


def percent(parts: int) -> fees.Terms:
    return fees.Terms(parts_per_million=10_000 * parts)


def reserved(amount: int, terms: fees.Terms) -> list[Operation]:
    """Return a hold and that of its fee."""
    fee, own = fees.charged(amount, terms), {"fee_terms": terms, "linked": True}
    return [
        NewHold(OF, "user/ana", "user/ben", amount, "HTG", "TRANSFER", DAY, fee_amount=fee, **own),
        NewHold(FEE_HOLD, "user/ana", "fees", fee, "HTG", "FEE", DAY, fee_of=OF),
    ]


def part(amount: int, id_: str, **changes: object) -> list[Operation]:
    """Return a part with its part of the fee."""
    settlement = FeeSettlement(f"fee of {id_}", FEE_HOLD, OF, ANA, FEES)
    return [taking(amount, id_, OF, linked=True, **changes), settlement]


def voided() -> list[Operation]:
    return [Release(OF, ANA, BEN, linked=True), FeeSettlement("fee of void", FEE_HOLD, OF, ANA, FEES)]


@given(
    st.lists(st.integers(1, 10**6), min_size=1, max_size=12),
    st.builds(
        lambda fixed, parts, floor, over: fees.Terms(
            fixed_amount=fixed, parts_per_million=parts, floor_amount=floor, cap_amount=over and floor + over
        ),
        st.integers(1, 10**4), st.integers(0, 10**6), st.integers(0, 10**4), st.none() | st.integers(1, 10**5),
    ),
    st.sampled_from(["void", "rest"]),
)  # fmt: skip
def test_in_whatever_parts_a_hold_is_posted_their_fees_are_those_of_their_sum(
    parts: list[int], terms: fees.Terms, end: str
) -> None:
    """All but the last one first, charged what one transfer of them costs; then the rest is taken, or given back.

    So nobody saves the fixed part, or the floor, by holding much and posting little of it.
    """
    amount = sum(parts)
    fee = fees.charged(amount, terms)
    clerk = Clerk(balance=amount + fee)
    clerk.decide(*reserved(amount, terms))
    assert clerk.accounts[ANA].held_amount == amount + fee
    taken = 0
    for number, one in enumerate(parts[:-1]):
        clerk.decide(*part(one, str(number)), *part(one, str(number)))
        taken += one
        so_far = fees.charged(taken, terms)
        assert clerk.accounts[FEES].balance == clerk.holds[FEE_HOLD].posted_amount == so_far
        assert clerk.accounts[ANA].held_amount == amount - taken + fee - so_far
    clerk.decide(*(voided() if end == "void" else part(parts[-1], "last")))
    left = (fees.charged(taken, terms) if taken else 0, taken) if end == "void" else (fee, amount)
    assert (clerk.accounts[FEES].balance, clerk.accounts[BEN].balance) == left
    assert (clerk.accounts[ANA].balance, clerk.accounts[ANA].held_amount) == (amount + fee - sum(left), 0)
    assert "PENDING" not in {each.status for each in clerk.holds.values()}


@pytest.mark.parametrize(("taken", "fee"), [(1, 0), (50, 3)])
def test_a_part_that_gives_back_the_rest_gives_back_the_rest_of_the_fee(taken: int, fee: int) -> None:
    clerk = Clerk()
    clerk.decide(*reserved(90, percent(7)), *part(taken, "t", releases_hold=True))
    assert (clerk.accounts[FEES].balance, clerk.accounts[ANA].balance) == (fee, 100 - taken - fee)
    assert clerk.accounts[ANA].held_amount == 0
    assert [each.status for each in clerk.holds.values()] == ["POSTED", "POSTED" if fee else "VOIDED"]
    assert clerk.spent == (taken + fee, taken + fee)


def test_a_hold_and_its_fee_expire_at_the_same_instant() -> None:
    clerk = Clerk()
    clerk.decide(*reserved(90, percent(7)), *part(45, "t"))
    clerk.time += DAY
    refused, linked = clerk.decide(*part(45, "late"))
    assert isinstance(refused, errors.HoldEnded)
    assert isinstance(linked, errors.LinkedTransferRefused)
    assert [each.status for each in clerk.holds.values()] == ["EXPIRED", "EXPIRED"]
    assert (clerk.accounts[FEES].balance, clerk.accounts[ANA].balance) == (3, 52)
    assert clerk.accounts[ANA].held_amount == 0


def test_a_hold_without_money_for_its_fee_is_not_made() -> None:
    clerk = Clerk()
    linked, refused = clerk.decide(*reserved(98, percent(4)))
    assert isinstance(linked, errors.LinkedTransferRefused)
    assert isinstance(refused, errors.InsufficientFunds)
    assert (clerk.holds, clerk.accounts[ANA].held_amount) == ({}, 0)


@pytest.mark.parametrize(
    "asked",
    [
        [taking(45, "t", OF)],
        [taking(45, "t", OF, linked=True), taking(1, "other", None)],
        [taking(90, "t", OF, releases_hold=True)],
        [Transfer("t", "user/ana", "fees", 3, "HTG", "FEE", hold_id=FEE_HOLD)],
        [Release(OF, ANA, BEN)],
        [Transfer("t", "user/ana", "fees", 3, "HTG", "FEE", hold_id=FEE_HOLD, linked=True), *part(1, "p")],
        [taking(90, "t", OF, linked=True), Transfer("f", "user/ana", "fees", 7, "HTG", "FEE", hold_id=FEE_HOLD)],
        [FeeSettlement("f", FEE_HOLD, OF, ANA, FEES, linked=True), taking(45, "t", OF)],
        [Release(FEE_HOLD, ANA, FEES)],
        [Release(FEE_HOLD, ANA, FEES, linked=True), Release(FEE_HOLD, ANA, FEES, expiry=True)],
    ],
)
def test_neither_a_hold_nor_its_fee_changes_without_the_other(asked: list[Operation]) -> None:
    clerk = Clerk()
    clerk.decide(*reserved(90, percent(7)))
    before = dict(clerk.accounts), dict(clerk.holds)
    assert "HOLD_HAS_FEE" in {each.reason for each in clerk.decide(*asked) if isinstance(each, errors.Refusal)}
    assert (clerk.accounts, clerk.holds) == before


def test_a_hold_is_repeated_with_its_fee_or_not_at_all() -> None:
    clerk = Clerk()
    made = clerk.decide(*reserved(40, percent(15)))
    assert clerk.decide(*reserved(40, percent(15))) == made
    for changed in (reserved(40, percent(13)), reserved(41, percent(15))):
        reasons = {each.reason for each in clerk.decide(*changed) if isinstance(each, errors.Refusal)}
        assert reasons == {"HOLD_ID_REUSED", "LINKED_TRANSFER_REFUSED"}
    first, *_ = reserved(40, percent(15))
    other = NewHold("other", "user/ana", "fees", 1, "HTG", "FEE", DAY)
    _, joined = clerk.decide(first, other)
    assert isinstance(joined, errors.HoldIdReused)
    assert clerk.accounts[ANA].held_amount == 46
