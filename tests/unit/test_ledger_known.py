"""What a writer remembers of accounts: what it read and left, and not more than it has room for."""

import datetime

from wallets_service.ledger import decisions, entries
from wallets_service.ledger.book import State
from wallets_service.ledger.entries import Account, Key, Transfer
from wallets_service.ledger.known import Known

EARLIER, NOW = (datetime.datetime(2026, 1, day, tzinfo=datetime.UTC) for day in (1, 2))


def account(number: int) -> Account:
    return entries.opened((f"user/{number}", "HTG"))._replace(balance=10)


def state(*accounts: Account, transaction: str = "7", missing: frozenset[Key] = frozenset()) -> State:
    by_key = {each.key: each for each in accounts}
    stamps = {key: ("6", EARLIER) for key in by_key if key not in missing}
    return State(accounts=by_key, missing=missing, stamps=stamps, transaction=transaction, time=NOW)


def transfer(debit: int, credit: int, amount: int = 1) -> Transfer:
    return Transfer(f"{debit} {credit}", f"user/{debit}", f"user/{credit}", amount, "HTG", "TRANSFER")


def test_what_was_changed_bears_the_stamp_of_the_batch_and_what_was_only_read_its_own() -> None:
    known, before = Known(), state(account(1), account(2), account(3))
    decision = decisions.decide([transfer(1, 2)], before)
    known.remember(before, decision)
    accounts, stamps = known.find([("user/1", "HTG"), ("user/3", "HTG"), ("user/4", "HTG")])
    assert [each.balance for each in accounts.values()] == [9, 10]
    assert stamps == {("user/1", "HTG"): ("7", NOW), ("user/3", "HTG"): ("6", EARLIER)}


def test_an_account_that_a_refused_transfer_would_have_opened_is_not_remembered() -> None:
    known, new = Known(), account(2)
    before = state(account(1), new, missing=frozenset({new.key}))
    known.remember(before, decisions.decide([transfer(1, 2, amount=11)], before))
    assert set(known.find(before.accounts)[0]) == {("user/1", "HTG")}


def test_the_accounts_that_are_out_of_use_are_forgotten_first() -> None:
    known = Known(capacity=20)
    for number in range(100):
        before = state(account(0), account(number))
        known.remember(before, decisions.decide([], before))
        assert sum(len(each) for each in (known._recent, known._older)) <= 22
    kept = known.find((f"user/{number}", "HTG") for number in range(100))[0]
    assert {"user/0", "user/99", "user/90"} <= {key[0] for key in kept}
    assert ("user/1", "HTG") not in kept
