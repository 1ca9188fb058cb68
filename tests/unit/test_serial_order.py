"""The search for a serial order finds the one that is there, and none where callers were told what cannot be."""

import itertools
from typing import Any

import pytest

from kobklein.wallets.v1 import ledger_pb2
from tests import ledger_oracle, serial_order, wallets

BANK, ANA, BEN = "provider/p", "user/ana", "user/ben"


class Story:
    """Writes what a ledger recorded and what its callers were told, one instant after the other."""

    def __init__(self) -> None:
        self.books = ledger_oracle.Books({name: {"address": name} for name in (BANK, ANA, BEN)}, {}, {})
        self.record = serial_order.Record()
        self.state = dict.fromkeys((BANK, ANA, BEN), (0, 0))
        self._instants = itertools.count(1)
        self._xids = itertools.count(1)

    def now(self) -> float:
        return float(next(self._instants))

    def move(self, debit: str, credit: str, amount: int, *, xid: int = 0) -> ledger_pb2.Transfer:
        """Record a transfer, and return what its caller is to be told."""
        sent = wallets.transfer(debit, credit, amount)
        row: dict[str, Any] = {"id": sent.id, "xid": xid or next(self._xids), "place": 1 + len(self.books.transfers)}
        row |= {"amount": amount, "currency": "HTG"}
        for side, address, sign in (("debit", debit, -1), ("credit", credit, 1)):
            balance, version = self.state[address]
            self.state[address] = balance + sign * amount, version + 1
            row |= {f"{side}_account_id": address, f"{side}_balance_after": balance + sign * amount}
            row[f"{side}_version"] = version + 1
        self.books.transfers[sent.id] = row
        sent.debit_balance_after, sent.credit_balance_after = row["debit_balance_after"], row["credit_balance_after"]
        return sent

    def tell(self, transfer: ledger_pb2.Transfer, asked: float, reason: str = "") -> None:
        """Answer a call that was asked for at an instant."""
        result = ledger_pb2.TransferResult(transfer=transfer)
        if reason:
            result.error.reason = reason
        self.record.calls.append(serial_order.Call(transfer, result, asked, self.now()))

    def posted(self, debit: str, credit: str, amount: int) -> None:
        """Ask, record and answer."""
        asked = self.now()
        self.tell(self.move(debit, credit, amount), asked)

    def look(self, asked: float, seen: dict[str, tuple[int, int]]) -> None:
        self.record.looks.append(
            serial_order.Look({(name, "HTG"): each for name, each in seen.items()}, asked, self.now())
        )

    def check(self) -> None:
        serial_order.check(self.books, self.record)


@pytest.fixture
def story() -> Story:
    """Ana got 100, and knows it."""
    made = Story()
    made.posted(BANK, ANA, 100)
    return made


def test_what_one_clerk_could_have_done_is_found(story: Story) -> None:
    early = story.now()
    before = dict(story.state)
    story.posted(ANA, BEN, 30)
    story.look(early, before)  # It ran all the while, and saw the start.
    story.look(story.now(), story.state)
    story.tell(wallets.transfer(ANA, BEN, 71), story.now(), "INSUFFICIENT_FUNDS")
    story.check()
    assert set(serial_order.told(story.record.calls).values()) == {ledger_oracle.POSTED, ledger_oracle.REFUSED}


def test_a_look_that_began_later_cannot_see_less(story: Story) -> None:
    before = dict(story.state)
    story.posted(ANA, BEN, 30)
    story.look(story.now(), before)
    with pytest.raises(AssertionError, match="no order"):
        story.check()


def test_two_looks_cannot_disagree_about_what_came_first(story: Story) -> None:
    """Two transfers that ran at once, of other accounts: one look saw only the first, the other only the second."""
    early, before = story.now(), dict(story.state)
    first = story.move(BANK, ANA, 1)
    middle = dict(story.state)
    second = story.move(BEN, ANA, 0)
    story.look(early, middle)
    story.look(early, {**before, BEN: story.state[BEN]})
    story.tell(first, early)
    story.tell(second, early)
    with pytest.raises(AssertionError, match="no order"):
        story.check()


def test_a_look_into_the_middle_of_a_transaction_is_seen(story: Story) -> None:
    early = story.now()
    story.move(ANA, BEN, 10, xid=500)
    middle = dict(story.state)
    story.move(ANA, BEN, 10, xid=500)
    story.look(early, middle)
    with pytest.raises(AssertionError, match="no order"):
        story.check()


def test_a_transfer_cannot_come_before_one_that_was_answered_earlier(story: Story) -> None:
    late = story.move(ANA, BEN, 10)
    asked = story.now()
    early = story.move(ANA, BEN, 10)
    story.tell(early, asked)
    story.tell(late, story.now())
    with pytest.raises(AssertionError, match="no order"):
        story.check()


def test_a_repetition_is_of_the_first_time_that_it_was_asked(story: Story) -> None:
    asked = story.now()
    first = story.move(ANA, BEN, 10)
    story.posted(ANA, BEN, 10)
    story.tell(first, asked)
    story.tell(first, story.now())
    story.check()


def test_an_answer_with_another_balance_is_seen(story: Story) -> None:
    asked = story.now()
    told = story.move(ANA, BEN, 10)
    told.credit_balance_after += 1
    story.tell(told, asked)
    with pytest.raises(AssertionError):
        story.check()


def test_an_answer_about_a_transfer_that_is_not_recorded_is_seen(story: Story) -> None:
    asked = story.now()
    told = story.move(ANA, BEN, 10)
    del story.books.transfers[told.id]
    story.tell(told, asked)
    with pytest.raises(AssertionError, match="what is not recorded"):
        story.check()


def test_a_refusal_needs_an_instant_without_enough(story: Story) -> None:
    asked = story.now()
    story.posted(ANA, BEN, 60)
    story.posted(BEN, ANA, 60)
    story.tell(wallets.transfer(ANA, BEN, 100), asked, "INSUFFICIENT_FUNDS")
    story.check()
    story.tell(wallets.transfer(ANA, BEN, 100), story.now(), "INSUFFICIENT_FUNDS")
    with pytest.raises(AssertionError, match="there was enough all the time"):
        story.check()


def test_a_refusal_that_moved_money_is_seen(story: Story) -> None:
    asked = story.now()
    story.tell(story.move(BEN, ANA, 0), asked, "INSUFFICIENT_FUNDS")
    with pytest.raises(AssertionError):
        story.check()


def test_a_balance_below_the_floor_is_seen_by_the_clerk(story: Story) -> None:
    story.posted(ANA, BEN, 101)
    with pytest.raises(AssertionError):
        story.check()
