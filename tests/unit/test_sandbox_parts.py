"""The sandbox's parts that need no HTTP: store, journal, instruments, faults, disturbances, signatures."""

from pathlib import Path
from typing import Any

import pytest
import stripe

from deploy.sandbox import events, instruments, settings
from deploy.sandbox.disturbances import Disturbances, Release
from deploy.sandbox.disturbances import Rule as Disturbance
from deploy.sandbox.faults import Faults, Kind
from deploy.sandbox.faults import Rule as Fault
from deploy.sandbox.state import Delivery
from deploy.sandbox.store import Object, Slice, Store
from deploy.sandbox.webhooks import signature


def charge(number: int, **members: Any) -> Object:
    return {"id": f"ch_{number}", "object": "charge", "created": number, **members}


def filled(path: Path | None = None) -> Store:
    store = Store(path)
    for number in range(1, 6):
        store.put(charge(number, customer="cus_a" if number % 2 else "cus_b"))
    return store


def ids(items: list[Object]) -> list[str]:
    return [item["id"] for item in items]


def test_the_version_is_the_one_that_the_official_sdk_pins() -> None:
    assert stripe.api_version == settings.API_VERSION


def test_a_page_is_newest_first_and_says_whether_more_follows() -> None:
    items, more = filled().page("charge", Slice(limit=2), {}, {})
    assert (ids(items), more) == (["ch_5", "ch_4"], True)


@pytest.mark.parametrize(
    ("part", "expected", "more"),
    [
        (Slice(limit=2, starting_after="ch_4"), ["ch_3", "ch_2"], True),
        (Slice(limit=2, starting_after="ch_3"), ["ch_2", "ch_1"], False),
        (Slice(limit=2, ending_before="ch_2"), ["ch_4", "ch_3"], True),
        (Slice(limit=3, ending_before="ch_2"), ["ch_5", "ch_4", "ch_3"], False),
    ],
)
def test_a_cursor_leads_to_the_next_and_to_the_previous_page(part: Slice, expected: list[str], more: bool) -> None:
    items, follows = filled().page("charge", part, {}, {})
    assert (ids(items), follows) == (expected, more)


def test_a_page_can_be_narrowed_by_members_and_by_time() -> None:
    items, _ = filled().page("charge", Slice(), {"customer": "cus_a"}, {"gt": 1, "lte": 5})
    assert ids(items) == ["ch_5", "ch_3"]


def _put_and_fail(store: Store) -> None:
    store.put(charge(6))
    store.put({"no": "id"})


def test_a_transaction_that_fails_leaves_nothing() -> None:
    store = filled()
    with pytest.raises(KeyError), store.transaction():
        _put_and_fail(store)
    assert store.get("ch_6") is None


def test_a_file_keeps_what_was_stored(tmp_path: Path) -> None:
    filled(tmp_path / "state.sqlite").close()
    again = Store(tmp_path / "state.sqlite")
    assert again.counts() == {"charge": 5}
    again.close()


def test_previous_attributes_are_only_what_changed() -> None:
    before = {"status": "a", "same": 1, "metadata": {"k": "1", "l": "2"}, "gone": 5}
    after = {"status": "b", "same": 1, "metadata": {"k": "1", "l": "3"}, "new": 6}
    assert events.changes(before, after) == {"status": "a", "metadata": {"l": "2"}, "gone": 5, "new": None}


def test_every_instrument_has_its_own_token_and_number() -> None:
    assert len(instruments.BY_TOKEN) == len(instruments.BY_NUMBER) == len(instruments.INSTRUMENTS)


@pytest.mark.parametrize(
    "token",
    [
        "pm_card_visa",
        "pm_card_visa_chargeDeclined",
        "pm_card_visa_chargeDeclinedInsufficientFunds",
        "pm_card_chargeDeclinedExpiredCard",
        "pm_card_chargeDeclinedIncorrectCvc",
        "pm_card_chargeDeclinedProcessingError",
        "pm_card_authenticationRequired",
        "pm_card_createDispute",
        "pm_card_refundFail",
    ],
)
def test_the_usual_test_cards_are_there(token: str) -> None:
    assert token in instruments.BY_TOKEN


def test_a_fault_strikes_matching_requests_as_often_as_asked() -> None:
    faults = Faults()
    faults.add(Fault(kind=Kind.ERROR_500, method="post", path="/v1/refunds*", count=2))
    struck = [
        len(faults.strike(method, path))
        for method, path in [
            ("GET", "/v1/refunds"),
            ("POST", "/v1/charges"),
            ("POST", "/v1/refunds"),
            ("POST", "/v1/refunds/re_1"),
            ("POST", "/v1/refunds"),
        ]
    ]
    assert struck == [0, 0, 1, 1, 0]


def test_a_request_gets_every_delay_and_one_failure() -> None:
    faults = Faults()
    for kind in (Kind.DELAY, Kind.ERROR_500, Kind.RATE_LIMIT_429, Kind.DELAY):
        faults.add(Fault(kind=kind))
    assert [rule.kind for rule in faults.strike("GET", "/v1/charges")] == [Kind.DELAY, Kind.ERROR_500, Kind.DELAY]


def test_a_seeded_probability_strikes_the_same_requests_each_time() -> None:
    def strikes() -> list[bool]:
        faults = Faults()
        faults.add(Fault(kind=Kind.ERROR_500, probability=0.5, seed=7))
        return [bool(faults.strike("GET", "/")) for _ in range(64)]

    first = strikes()
    assert first == strikes()
    assert 0 < sum(first) < 64


def delivery(number: int, kind: str = "charge.succeeded") -> Delivery:
    return Delivery(number, f"evt_{number}", kind, "we_1")


def test_a_duplicate_rule_adds_copies_and_a_withhold_rule_removes_all() -> None:
    disturbances = Disturbances()
    disturbances.rules.append(Disturbance(kind="duplicate", times=2, count=1))
    disturbances.rules.append(Disturbance(kind="withhold", types=["refund.*"]))
    kinds = ("charge.succeeded", "charge.succeeded", "refund.created")
    assert [disturbances.copies(delivery(number, kind)) for number, kind in enumerate(kinds)] == [3, 1, 0]


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        (Release(), [0, 1, 2]),
        (Release(order="reversed"), [2, 1, 0]),
        (Release(events=["evt_2", "evt_0"]), [2, 0]),
    ],
)
def test_held_deliveries_are_released_in_the_wished_order(wish: Release, expected: list[int]) -> None:
    disturbances = Disturbances()
    disturbances.held = [delivery(number) for number in range(3)]
    assert [each.number for each in disturbances.release(wish)] == expected


def test_a_shuffled_release_is_a_repeatable_permutation() -> None:
    def shuffled() -> list[int]:
        disturbances = Disturbances()
        disturbances.held = [delivery(number) for number in range(20)]
        return [each.number for each in disturbances.release(Release(order="shuffled", seed=3))]

    assert shuffled() == shuffled() != list(range(20))
    assert sorted(shuffled()) == list(range(20))


def test_a_signature_is_the_one_that_the_official_sdk_computes() -> None:
    expected = stripe.WebhookSignature.generate_signature_header('{"id": 1}', "whsec_x", 1_700_000_000)
    assert signature("whsec_x", b'{"id": 1}', 1_700_000_000) == expected
