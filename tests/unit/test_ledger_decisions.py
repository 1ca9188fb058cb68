"""What becomes of transfers: the pure part of the ledger."""

import dataclasses
import datetime
from collections.abc import Sequence
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wallets_service import addresses, errors
from wallets_service.ledger import decisions, entries
from wallets_service.ledger.book import Decision, Outcome, State
from wallets_service.ledger.entries import Account, Key, Posting, Transfer

NOW: Final = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
LEAST, MOST = -(2**63), 2**63 - 1
"""What a column of 64 bits can hold."""
ADDRESSES: Final = ("user/ana", "user/ben", "user/eva", "fees", "provider/stripe")


def account(address: str, balance: int = 0, **changes: object) -> Account:
    fields = {"held_amount": 0, "overdraft_limit": addresses.default_overdraft_limit(address), "status": "ACTIVE"}
    return Account(id=f"id of {address}", key=(address, "HTG"), balance=balance, **{**fields, "version": 0, **changes})


def book(*accounts: Account) -> dict[Key, Account]:
    return {each.key: each for each in accounts}


def transfer(debit: str, credit: str, amount: int, id_: str = "1", **changes: object) -> Transfer:
    return Transfer(id_, debit, credit, amount, "HTG", "TRANSFER", **changes)


def decide(transfers: Sequence[Transfer], accounts: dict[Key, Account]) -> Decision:
    return decisions.decide(transfers, State(accounts=accounts, time=NOW))


def refusal(one: Transfer, accounts: dict[Key, Account]) -> errors.Refusal:
    decision = decide([one], accounts)
    assert (decision.postings, decision.accounts) == ([], {})
    (outcome,) = decision.outcomes
    assert isinstance(outcome, errors.Refusal)
    return outcome


amounts = st.integers(1, 50)
transfers = st.lists(
    st.builds(
        transfer,
        st.sampled_from(ADDRESSES),
        st.sampled_from(ADDRESSES),
        amounts,
        st.integers(1, 30).map(str),
        reference=st.sampled_from(("", "other")),
    ),
    max_size=60,
)
books = st.lists(st.integers(0, 100), min_size=len(ADDRESSES), max_size=len(ADDRESSES)).map(
    lambda balances: book(*map(account, ADDRESSES, balances))
)


@given(transfers, books)
def test_no_unit_is_made_or_lost(batch: list[Transfer], accounts: dict[Key, Account]) -> None:
    after = {**accounts, **decide(batch, accounts).accounts}
    assert sum(each.balance for each in after.values()) == sum(each.balance for each in accounts.values())


@given(transfers, books)
def test_no_posting_leaves_an_account_below_its_floor(batch: list[Transfer], accounts: dict[Key, Account]) -> None:
    limited = {key for key, each in accounts.items() if each.overdraft_limit is not None}
    for posting in decide(batch, accounts).postings:
        if posting.transfer.debit_key in limited:
            assert posting.debit_balance_after >= 0


@given(transfers, books)
def test_every_history_is_a_chain_of_balances_without_a_gap(
    batch: list[Transfer], accounts: dict[Key, Account]
) -> None:
    decision = decide(batch, accounts)
    state = {each.id: (each.version, each.balance) for each in accounts.values()}
    for posting in decision.postings:
        amount = posting.transfer.amount
        for id_, change, after in (
            (posting.debit_account_id, -amount, (posting.debit_version, posting.debit_balance_after)),
            (posting.credit_account_id, amount, (posting.credit_version, posting.credit_balance_after)),
        ):
            version, balance = state[id_]
            assert after == (version + 1, balance + change)
            state[id_] = after
    for each in decision.accounts.values():
        assert state[each.id] == (each.version, each.balance)


@given(transfers, books)
def test_one_batch_or_one_transfer_at_a_time_is_the_same(batch: list[Transfer], accounts: dict[Key, Account]) -> None:
    together = decide(batch, accounts)
    known, posted, outcomes = dict(accounts), {}, []
    for one in batch:
        step = decisions.decide([one], State(accounts=known, posted=posted, time=NOW))
        known.update(step.accounts)
        posted.update({posting.transfer.id: posting for posting in step.postings})
        outcomes += step.outcomes
    assert list(map(_plain, outcomes)) == list(map(_plain, together.outcomes))
    assert known == {**accounts, **together.accounts}


@given(transfers, books)
def test_a_repeated_batch_gets_its_answers_again_and_changes_nothing(
    batch: list[Transfer], accounts: dict[Key, Account]
) -> None:
    first = decide(batch, accounts)
    posted = {posting.transfer.id: posting for posting in first.postings}
    replayed = [posting.transfer for posting in first.postings]
    later = NOW + datetime.timedelta(days=1)
    again = decisions.decide(replayed, State(accounts={**accounts, **first.accounts}, posted=posted, time=later))
    assert again == Decision(outcomes=first.postings, postings=[], accounts={})


@given(transfers, books)
def test_the_accounts_given_are_left_as_they_are(batch: list[Transfer], accounts: dict[Key, Account]) -> None:
    before = dict(accounts)
    decide(batch, accounts)
    assert accounts == before


def _plain(outcome: Outcome) -> object:
    return (outcome.reason, str(outcome)) if isinstance(outcome, errors.Refusal) else outcome


def test_a_payee_is_new_until_any_account_of_theirs_opens_within_the_batch() -> None:
    """In whatever currency, and not by what is refused or taken back."""
    known = book(account("user/ana", 100))
    new = [("user/ben", "HTG"), ("user/ben", "USD"), ("user/eva", "HTG")]
    state = State(
        accounts={**known, ("user/ana", "USD"): account("user/ana", 100)._replace(key=("user/ana", "USD"))}
        | {key: entries.opened(key) for key in new},
        missing=frozenset(new),
        new_addresses={"user/ben": new[:2], "user/eva": new[2:]},
        time=NOW,
    )

    def to(payee: str, id_: str, *, new: bool, amount: int = 1, currency: str = "HTG", **changes: object) -> Transfer:
        asked = transfer("user/ana", f"user/{payee}", amount, id_, payee_may_be_new=new, **changes)
        return dataclasses.replace(asked, currency=currency)

    outcomes = decisions.decide(
        [
            to("ben", "mistyped", new=False),
            to("ben", "too much", new=True, amount=101),
            to("ben", "undone", new=True, linked=True),
            to("eva", "undoes", new=False),
            to("ben", "still mistyped", new=False),
            to("ben", "opens", new=True, currency="USD"),
            to("ben", "found", new=False),
            to("eva", "another one", new=False),
        ],
        state,
    ).outcomes
    assert [outcome.reason if isinstance(outcome, errors.Refusal) else "ok" for outcome in outcomes] == [
        "PAYEE_IS_NEW",
        "INSUFFICIENT_FUNDS",
        "LINKED_TRANSFER_REFUSED",
        "PAYEE_IS_NEW",
        "PAYEE_IS_NEW",
        "ok",
        "ok",
        "PAYEE_IS_NEW",
    ]


def test_money_goes_to_the_last_cent_and_no_further() -> None:
    accounts = book(account("user/ana", 100), account("user/ben"))
    assert decide([transfer("user/ana", "user/ben", 100)], accounts).postings[0].debit_balance_after == 0
    assert refusal(transfer("user/ana", "user/ben", 101), accounts).reason == "INSUFFICIENT_FUNDS"


def test_held_money_cannot_be_spent() -> None:
    accounts = book(account("user/ana", 100, held_amount=40), account("user/ben"))
    assert refusal(transfer("user/ana", "user/ben", 61), accounts).reason == "INSUFFICIENT_FUNDS"
    assert decide([transfer("user/ana", "user/ben", 60)], accounts).postings


def test_an_overdraft_reaches_exactly_to_its_limit() -> None:
    accounts = book(account("user/ana", 0, overdraft_limit=50), account("user/ben"))
    assert decide([transfer("user/ana", "user/ben", 50)], accounts).postings[0].debit_balance_after == -50
    assert refusal(transfer("user/ana", "user/ben", 51), accounts).reason == "INSUFFICIENT_FUNDS"


@pytest.mark.parametrize(("status", "reason"), [("FROZEN", "ACCOUNT_FROZEN"), ("CLOSED", "ACCOUNT_CLOSED")])
@pytest.mark.parametrize("side", ["user/ana", "user/ben"])
def test_no_money_moves_from_or_to_an_account_that_is_not_active(status: str, reason: str, side: str) -> None:
    accounts = book(account("user/ana", 100), account("user/ben", 100))
    accounts[side, "HTG"] = accounts[side, "HTG"]._replace(status=status)
    assert refusal(transfer("user/ana", "user/ben", 1), accounts).reason == reason


def test_an_account_cannot_pay_itself() -> None:
    assert refusal(transfer("user/ana", "user/ana", 1), book(account("user/ana", 5))).reason == "SAME_ACCOUNT"


@pytest.mark.parametrize(
    ("debit", "credit"),
    [(LEAST + 1, 0), (0, MOST - 1)],
    ids=["below the least", "above the most"],
)
def test_a_balance_beyond_64_bits_is_refused(debit: int, credit: int) -> None:
    accounts = book(account("provider/stripe", debit), account("user/ana", credit))
    (posting,) = decide([transfer("provider/stripe", "user/ana", 1)], accounts).postings
    assert (posting.debit_balance_after, posting.credit_balance_after) == (debit - 1, credit + 1)
    assert refusal(transfer("provider/stripe", "user/ana", 2), accounts).reason == "AMOUNT_OVERFLOW"


@pytest.mark.parametrize(
    "change",
    [{"amount": 6}, {"credit_account": "fees"}, {"type": "FEE"}, {"payment_id": "2"}, {"metadata": {"a": 1}}],
    ids=str,
)
def test_an_id_with_other_content_is_refused(change: dict[str, object]) -> None:
    first = transfer("provider/stripe", "user/ana", 5)
    accounts = book(account("provider/stripe"), account("user/ana"), account("fees"))
    posted, reused = decide([first, dataclasses.replace(first, **change)], accounts).outcomes
    assert isinstance(posted, Posting)
    assert isinstance(reused, errors.TransferIdReused)


def test_a_refused_transfer_leaves_its_neighbours_alone() -> None:
    accounts = book(account("user/ana", 10), account("user/ben"))
    decision = decide([transfer("user/ana", "user/ben", amount, str(amount)) for amount in (4, 100, 6)], accounts)
    assert [posting.transfer.amount for posting in decision.postings] == [4, 6]
    assert decision.accounts["user/ana", "HTG"].balance == 0


@pytest.mark.parametrize(
    ("address", "limit"),
    [
        ("user/ana", 0),
        ("fees", 0),
        ("provider/stripe", None),
        ("fx/liquidity", None),
        ("fx/spread", 0),
        ("fx", 0),
        ("provider", 0),
        ("providers/x", 0),
    ],
)
def test_only_clearing_accounts_open_without_a_floor(address: str, limit: int | None) -> None:
    assert entries.opened((address, "HTG")).overdraft_limit == limit


def test_what_is_held_stays_within_64_bits_where_the_balance_has_no_floor() -> None:
    accounts = book(account("provider/stripe", held_amount=MOST - 5), account("user/ana"))
    hold = entries.NewHold("1", "provider/stripe", "user/ana", 6, "HTG", "TRANSFER", datetime.timedelta(hours=1))
    (refused,) = decisions.decide([hold], State(accounts=accounts, time=NOW)).outcomes
    assert isinstance(refused, errors.AmountOverflow)
    (held,) = decisions.decide([dataclasses.replace(hold, amount=5)], State(accounts=accounts, time=NOW)).outcomes
    assert isinstance(held, entries.Hold)


def test_deciding_in_parts_is_the_same_as_deciding_at_once() -> None:
    state = State(accounts=book(account("user/ana", 100), account("user/ben")), time=NOW)
    batch = [transfer("user/ana", "user/ben", 5, str(number), linked=number % 3 == 0) for number in range(1, 30)]
    sizes, outcomes = [], []
    for decision in decisions.decide_in_parts(batch, state, size=4):
        sizes.append(len(decision.postings))
        outcomes = decision.outcomes
    assert list(map(_plain, outcomes)) == list(map(_plain, decisions.decide(batch, state).outcomes))
    assert len(sizes) > 3
    assert sizes == sorted(sizes)


def test_parts_that_are_taken_back_count_together() -> None:
    parts = [
        transfer("user/ben", "user/ana", amount, id_, reverses_id="1") for id_, amount in (("2", 6), ("3", 5), ("4", 4))
    ]
    paid = transfer("user/ana", "user/ben", 10, "1")
    decision = decide([paid, *parts], book(account("user/ana", 10), account("user/ben", 90)))
    assert [type(each) for each in decision.outcomes] == [Posting, Posting, errors.ReversalExceeded, Posting]


@pytest.mark.parametrize("repeated", [("1", "2"), ("1", "2", "3", "4")])
def test_a_group_is_not_repeated_as_another_one(repeated: Sequence[str]) -> None:
    def group(ids: Sequence[str]) -> list[Transfer]:
        return [transfer("user/ana", "user/ben", 1, id_, linked=id_ != ids[-1]) for id_ in ids]

    decision = decide([*group(("1", "2", "3")), *group(repeated)], book(account("user/ana", 10), account("user/ben")))
    posted, outcomes = decision.outcomes[:3], decision.outcomes[3:]
    assert decision.postings == posted
    *linked, last = outcomes
    assert {type(each) for each in linked} == {errors.LinkedTransferRefused}
    assert isinstance(last, errors.TransferIdReused)


def test_what_was_spent_today_counts_against_the_limit_of_the_day() -> None:
    accounts = book(account("user/ana", 100, day_limit=50), account("user/ben"))
    batch = [transfer("user/ana", "user/ben", amount, str(amount)) for amount in (30, 21, 20)]
    first, over, exact = decide(batch, accounts).outcomes
    assert isinstance(over, errors.LimitExceeded)
    assert isinstance(first, Posting)
    assert isinstance(exact, Posting)


@pytest.mark.parametrize(("microseconds", "posted"), [(-1, False), (0, False), (1, True)])
def test_a_transfer_with_an_end_is_posted_before_it_and_not_at_it(microseconds: int, posted: bool) -> None:
    end = NOW + datetime.timedelta(microseconds=microseconds)
    decision = decide([transfer("provider/stripe", "user/ana", 1, expires_time=end)], book(*map(account, ADDRESSES)))
    assert bool(decision.postings) == posted
    assert posted or [type(each) for each in decision.outcomes] == [errors.TransferTooLate]


@pytest.mark.parametrize(("microseconds", "posted"), [(-1, True), (0, False), (1, False)])
def test_a_transfer_counts_from_before_it_is_recorded_and_not_from_then(microseconds: int, posted: bool) -> None:
    time = NOW + datetime.timedelta(microseconds=microseconds)
    decision = decide([transfer("provider/stripe", "user/ana", 1, effective_time=time)], book(*map(account, ADDRESSES)))
    assert bool(decision.postings) == posted
    assert posted or [type(each) for each in decision.outcomes] == [errors.EffectiveTimeNotPast]


@pytest.mark.parametrize("limit", ["transfer_limit", "day_limit", "month_limit"])
def test_a_limit_is_spent_to_the_last_cent_and_no_further(limit: str) -> None:
    accounts = book(account("user/ana", 100, **{limit: 50}), account("user/ben"))
    assert refusal(transfer("user/ana", "user/ben", 51), accounts).reason == "LIMIT_EXCEEDED"
    assert decide([transfer("user/ana", "user/ben", 50)], accounts).postings
