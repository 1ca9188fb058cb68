"""The table of moves, and the meaning of everything that Stripe says of an intent."""

import itertools

import pytest

from payments_service import errors, states
from payments_service.states import IntentStatus, Move, Status

LEGAL = {
    (Status.PENDING, Status.PROCESSING),
    (Status.PENDING, Status.FAILED),
    (Status.PENDING, Status.CANCELLED),
    (Status.PROCESSING, Status.COMPLETED),
    (Status.PROCESSING, Status.FAILED),
    (Status.PROCESSING, Status.CANCELLED),
    (Status.PROCESSING, Status.PENDING),
    (Status.COMPLETED, Status.REFUNDED),
}


@pytest.mark.parametrize(("before", "after"), list(itertools.permutations(Status, 2)))
def test_exactly_the_legal_moves_are_allowed(before: Status, after: Status) -> None:
    if (before, after) in LEGAL:
        states.check(before, after)
    else:
        with pytest.raises(errors.IllegalMove):
            states.check(before, after)


def test_staying_is_no_move() -> None:
    for status in Status:
        states.check(status, status)


@pytest.mark.parametrize(("before", "after"), list(itertools.product(Status, Status)))
def test_admins_ask_for_endings_without_money_only(before: Status, after: Status) -> None:
    allowed = {
        (Status.PENDING, Status.FAILED),
        (Status.PENDING, Status.CANCELLED),
        (Status.PROCESSING, Status.CANCELLED),
    }
    if (before, after) in allowed:
        states.check_admin(before, after)
    else:
        with pytest.raises(errors.IllegalMove):
            states.check_admin(before, after)


def test_what_an_admin_may_ask_for_is_legal() -> None:
    for before, targets in states.ADMIN_MOVES.items():
        assert targets <= states.MOVES[before]


def test_every_status_of_an_intent_has_a_move() -> None:
    assert set(states.INTENT_MOVES) == set(IntentStatus)


def test_only_a_succeeded_intent_leads_to_money() -> None:
    assert [status for status, move in states.INTENT_MOVES.items() if move is Move.SETTLE] == [IntentStatus.SUCCEEDED]


def test_what_held_money_is_never_deletable() -> None:
    assert states.DELETABLE.isdisjoint(states.VOLUME | {Status.PROCESSING})


def test_final_statuses_are_those_of_a_payment_that_needs_no_step() -> None:
    assert set(Status) - states.FINAL == {Status.PENDING, Status.PROCESSING}
