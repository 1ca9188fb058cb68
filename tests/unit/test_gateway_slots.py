"""Places at the gateway are kept for those who have proved that they need them."""

import pytest

from gateway import problems, slots


def test_strangers_at_many_addresses_leave_places_to_providers() -> None:
    pool = slots.WebhookPool(8, most_of_one=4)
    pool.trust("stripe")
    for number in range(6):
        pool.take(f"stranger-{number}")
    with pytest.raises(problems.Refused):
        pool.take("stranger-6")
    pool.take("stripe")
    pool.take("stripe")
    with pytest.raises(problems.Refused):
        pool.take("stripe")


def test_a_stranger_who_is_proved_later_counts_as_a_provider() -> None:
    pool = slots.WebhookPool(4, most_of_one=4)
    for _ in range(3):
        pool.take("a")
    with pytest.raises(problems.Refused):
        pool.take("b")
    pool.trust("a")
    pool.take("b")
