"""The places of card payments in a gateway: those that the services behind take, apart from those of requests."""

import contextlib

import pytest

from gateway import payment_places, problems, slots
from kobklein import admission, errors
from tests import gateways

MANY = 1000


def places(**changed: int) -> payment_places.PaymentPlaces:
    return payment_places.PaymentPlaces(admission.AdmissionSettings(**{"least": 2, "most": 50, **changed}))


def fill(these: payment_places.PaymentPlaces, name: str = "k") -> list[payment_places.PaymentPlace]:
    """Take every place."""
    taken: list[payment_places.PaymentPlace] = []
    with contextlib.suppress(errors.Overloaded):
        while len(taken) < MANY:
            taken.append(these.take("user-1", f"{name}-{len(taken)}"))
    return taken


def test_a_payment_without_a_place_is_told_when_to_come_back() -> None:
    these = places()
    taken = fill(these)
    assert len(taken) == 2
    with pytest.raises(errors.Overloaded) as raised:
        these.take("user-1", "another")
    assert raised.value.retry_after_seconds is not None
    taken[0].free()
    these.take("user-1", "another").free()


def test_a_repetition_passes_without_a_place_and_frees_none() -> None:
    these = places()
    fill(these)
    for _ in range(3):
        these.take("user-1", "k-0").free()
    with pytest.raises(errors.Overloaded):
        these.take("user-2", "k-0")  # Another caller's key.
    with pytest.raises(errors.Overloaded):
        these.take("user-1", "another")


def test_as_many_pass_as_are_not_refused_behind() -> None:
    these, sizes = places(), []
    for round_ in range(60):
        taken = fill(these, str(round_))
        sizes.append(len(taken))
        for place in taken[20:]:
            place.refused()
        for place in taken:
            place.free()
    assert sizes[0] == 2
    assert 20 <= max(sizes) <= 30
    assert min(sizes[30:]) >= 16


def test_card_payments_take_no_places_of_requests_and_requests_none_of_theirs() -> None:
    all_slots = slots.Slots(gateways.settings(most_requests=1, payment_admission={"least": 1, "most": 1}))
    paying = all_slots.take_payment()
    paying.become_payment("user-1", "k-1")
    reading = all_slots.take()
    reading.free()
    another = all_slots.take_payment()
    with pytest.raises(errors.Overloaded):
        another.become_payment("user-1", "k-2")
    another.free()
    paying.free()
    filled = all_slots.take()
    with pytest.raises(problems.Refused):
        all_slots.take()
    last = all_slots.take_payment()
    last.become_payment("user-1", "k-3")
    last.free()
    filled.free()
