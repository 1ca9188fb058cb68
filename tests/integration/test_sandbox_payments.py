"""PaymentIntents at the sandbox, through the official SDK: every state and how it is reached."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import stripe

from deploy.sandbox.testing import Sandbox

RETURN_URL = "https://shop.test/back?order=1"
NO_REDIRECT = {"enabled": True, "allow_redirects": "never"}


@pytest.fixture(scope="module")
async def intents(server: Sandbox) -> AsyncIterator[Any]:
    http = stripe.HTTPXClient()
    client = stripe.StripeClient("sk_test_sandbox", base_addresses={"api": server.url}, http_client=http)
    yield client.v1.payment_intents
    await http.close_async()


def wish(**members: Any) -> dict[str, Any]:
    return {"amount": 2_500, "currency": "usd", "automatic_payment_methods": NO_REDIRECT, **members}


def paying(method: str = "pm_card_visa", **members: Any) -> dict[str, Any]:
    return wish(payment_method=method, confirm=True, **members)


async def kinds(sandbox: Sandbox) -> list[str]:
    """The types of all events, oldest first."""
    answer = await sandbox.http.get("/v1/events?limit=100", headers={"Authorization": "Bearer sk_test_sandbox"})
    return [event["type"] for event in reversed(answer.json()["data"])]


async def test_an_intent_waits_for_a_payment_method_then_for_confirmation(sandbox: Sandbox, intents: Any) -> None:
    intent = await intents.create_async(wish())
    assert (intent.status, intent.client_secret.startswith(f"{intent.id}_secret_")) == ("requires_payment_method", True)
    updated = await intents.update_async(intent.id, {"payment_method": "pm_card_visa", "amount": 3_000})
    assert (updated.status, updated.amount) == ("requires_confirmation", 3_000)
    confirmed = await intents.confirm_async(intent.id)
    assert (confirmed.status, confirmed.amount_received, confirmed.next_action) == ("succeeded", 3_000, None)


async def test_a_good_card_pays_in_one_call(sandbox: Sandbox, intents: Any) -> None:
    intent = await intents.create_async(paying(metadata={"payment_id": "p1"}, expand=["latest_charge"]))
    assert intent.status == "succeeded"
    charge = intent.latest_charge
    assert (charge.paid, charge.captured, charge.amount_captured) == (True, True, 2_500)
    assert charge.metadata.to_dict() == {"payment_id": "p1"}
    assert charge.balance_transaction is None
    assert await kinds(sandbox) == [
        "payment_intent.created",
        "charge.succeeded",
        "payment_intent.succeeded",
        "charge.updated",
    ]


async def test_synchronous_capture_books_the_balance_at_once(sandbox: Sandbox, intents: Any) -> None:
    asked = paying(capture_method="automatic", expand=["latest_charge.balance_transaction"])
    booked = (await intents.create_async(asked)).latest_charge.balance_transaction
    assert (booked.amount, booked.fee, booked.net, booked.status) == (2_500, 103, 2_397, "pending")


async def test_a_payment_in_gourdes_works(sandbox: Sandbox, intents: Any) -> None:
    intent = await intents.create_async(paying(amount=1_310_000, currency="htg"))
    assert (intent.status, intent.currency, intent.payment_method_types) == ("succeeded", "htg", ["card"])
    charge = await intents.retrieve_async(intent.id, {"expand": ["latest_charge.balance_transaction"]})
    booked = charge.latest_charge.balance_transaction
    assert (booked.currency, booked.amount) == ("usd", 10_000)


@pytest.mark.parametrize(
    ("token", "code", "reason"),
    [
        ("pm_card_visa_chargeDeclined", "card_declined", "generic_decline"),
        ("pm_card_visa_chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"),
        ("pm_card_visa_chargeDeclinedLostCard", "card_declined", "lost_card"),
        ("pm_card_visa_chargeDeclinedStolenCard", "card_declined", "stolen_card"),
        ("pm_card_radarBlock", "card_declined", "fraudulent"),
        ("pm_card_chargeDeclinedExpiredCard", "expired_card", "expired_card"),
        ("pm_card_chargeDeclinedIncorrectCvc", "incorrect_cvc", "incorrect_cvc"),
        ("pm_card_chargeDeclinedProcessingError", "processing_error", "processing_error"),
    ],
)
async def test_a_declined_card_is_a_card_error_and_the_intent_wants_another(
    sandbox: Sandbox, intents: Any, token: str, code: str, reason: str
) -> None:
    with pytest.raises(stripe.CardError) as declined:
        await intents.create_async(paying(token))
    error = declined.value.error
    assert error is not None
    assert (declined.value.http_status, error.code, error.decline_code) == (402, code, reason)
    intent = await intents.retrieve_async(error.payment_intent.id)
    assert (intent.status, intent.payment_method) == ("requires_payment_method", None)
    assert (intent.last_payment_error.code, intent.last_payment_error.charge) == (code, intent.latest_charge)
    assert (await kinds(sandbox))[-2:] == ["charge.failed", "payment_intent.payment_failed"]
    retried = await intents.confirm_async(intent.id, {"payment_method": "pm_card_visa"})
    assert (retried.status, retried.last_payment_error) == ("succeeded", None)


@pytest.mark.parametrize(("answer", "status"), [("approve", "succeeded"), ("refuse", "requires_payment_method")])
async def test_the_payer_passes_or_fails_3d_secure_on_the_page(
    sandbox: Sandbox, intents: Any, answer: str, status: str
) -> None:
    asked = paying("pm_card_authenticationRequired", return_url=RETURN_URL)
    asked["automatic_payment_methods"] = {"enabled": True}
    intent = await intents.create_async(asked)
    assert (intent.status, intent.latest_charge) == ("requires_action", None)
    page = intent.next_action.redirect_to_url.url
    shown = await sandbox.http.get(page)
    assert "Approve" in shown.text
    gone = await sandbox.http.post(f"{page}/{answer}")
    assert gone.status_code == 303
    location = gone.headers["location"]
    assert location.startswith(f"https://shop.test/back?order=1&payment_intent={intent.id}&")
    after = await intents.retrieve_async(intent.id)
    assert (after.status, after.next_action) == (status, None)
    assert (await sandbox.http.post(f"{page}/approve")).status_code == 400


async def test_a_failed_authentication_is_told_without_a_charge(sandbox: Sandbox, intents: Any) -> None:
    intent = await intents.create_async(paying("pm_card_authenticationRequired"))
    assert intent.next_action.type == "use_stripe_sdk"
    await sandbox.control(f"payment_intents/{intent.id}/fail")
    after = await intents.retrieve_async(intent.id)
    assert after.last_payment_error.code == "payment_intent_authentication_failure"
    assert await kinds(sandbox) == [
        "payment_intent.created",
        "payment_intent.requires_action",
        "payment_intent.payment_failed",
    ]


async def test_a_card_may_be_declined_after_authentication(sandbox: Sandbox, intents: Any) -> None:
    intent = await intents.create_async(paying("pm_card_threeDSecureRequiredChargeDeclined"))
    after = await sandbox.control(f"payment_intents/{intent.id}/complete")
    assert (after["status"], after["last_payment_error"]["code"]) == ("requires_payment_method", "card_declined")


async def test_manual_confirmation_needs_a_second_confirm_after_authentication(sandbox: Sandbox, intents: Any) -> None:
    intent = await intents.create_async(paying("pm_card_authenticationRequired", confirmation_method="manual"))
    after = await sandbox.control(f"payment_intents/{intent.id}/complete")
    assert after["status"] == "requires_confirmation"
    assert (await intents.confirm_async(intent.id)).status == "succeeded"


async def test_a_merchant_can_ask_for_authentication(sandbox: Sandbox, intents: Any) -> None:
    options = {"card": {"request_three_d_secure": "challenge"}}
    intent = await intents.create_async(paying(payment_method_options=options))
    assert intent.status == "requires_action"


@pytest.mark.parametrize("terms", [{"off_session": True}, {"error_on_requires_action": True}])
async def test_an_absent_payer_cannot_authenticate(sandbox: Sandbox, intents: Any, terms: dict[str, bool]) -> None:
    with pytest.raises(stripe.CardError) as declined:
        await intents.create_async(paying("pm_card_authenticationRequired", **terms))
    assert declined.value.code == "authentication_required"


async def test_an_authorization_is_captured_in_part(sandbox: Sandbox, intents: Any) -> None:
    intent = await intents.create_async(paying(capture_method="manual"))
    assert (intent.status, intent.amount_capturable, intent.amount_received) == ("requires_capture", 2_500, 0)
    with pytest.raises(stripe.InvalidRequestError, match="remaining amount"):
        await intents.capture_async(intent.id, {"amount_to_capture": 2_501})
    captured = await intents.capture_async(intent.id, {"amount_to_capture": 1_000, "expand": ["latest_charge"]})
    assert (captured.status, captured.amount_received, captured.amount_capturable) == ("succeeded", 1_000, 0)
    assert captured.latest_charge.amount_captured == 1_000
    assert await kinds(sandbox) == [
        "payment_intent.created",
        "charge.succeeded",
        "payment_intent.amount_capturable_updated",
        "charge.captured",
        "payment_intent.succeeded",
        "charge.updated",
    ]
    assert (await sandbox.look("ledger"))["totals"]["usd"]["net"] == 1_000


async def test_an_authorization_is_released_by_cancellation(sandbox: Sandbox, intents: Any) -> None:
    intent = await intents.create_async(paying(capture_method="manual"))
    canceled = await intents.cancel_async(intent.id, {"cancellation_reason": "abandoned", "expand": ["latest_charge"]})
    assert (canceled.status, canceled.cancellation_reason, canceled.amount_capturable) == ("canceled", "abandoned", 0)
    assert (canceled.latest_charge.refunded, canceled.latest_charge.captured) == (True, False)
    assert (await kinds(sandbox))[-2:] == ["charge.refunded", "payment_intent.canceled"]


async def test_an_authorization_expires_with_time(sandbox: Sandbox, intents: Any) -> None:
    intent = await intents.create_async(paying(capture_method="manual"))
    await sandbox.control("clock", seconds=6 * 86_400)
    assert (await intents.retrieve_async(intent.id)).status == "requires_capture"
    await sandbox.control("clock", seconds=2 * 86_400)
    expired = await intents.retrieve_async(intent.id)
    assert (expired.status, expired.cancellation_reason) == ("canceled", "automatic")
    assert (await kinds(sandbox))[-2:] == ["charge.expired", "payment_intent.canceled"]


@pytest.mark.parametrize(
    ("token", "control", "status"),
    [
        ("pm_usBankAccount_success", "complete", "succeeded"),
        ("pm_usBankAccount_success", "fail", "requires_payment_method"),
        ("pm_usBankAccount_insufficientFunds", "complete", "requires_payment_method"),
    ],
)
async def test_a_bank_debit_is_processing_until_it_is_decided(
    sandbox: Sandbox, intents: Any, token: str, control: str, status: str
) -> None:
    intent = await intents.create_async(paying(token, expand=["latest_charge"]))
    assert (intent.status, intent.latest_charge.status) == ("processing", "pending")
    with pytest.raises(stripe.InvalidRequestError):
        await intents.cancel_async(intent.id)
    assert (await sandbox.control(f"payment_intents/{intent.id}/{control}"))["status"] == status
    assert (await kinds(sandbox))[1:3] == ["charge.pending", "payment_intent.processing"]


@pytest.mark.parametrize("operation", ["cancel_async", "confirm_async", "capture_async"])
async def test_a_paid_intent_does_not_move_any_more(sandbox: Sandbox, intents: Any, operation: str) -> None:
    intent = await intents.create_async(paying())
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await getattr(intents, operation)(intent.id)
    error = refused.value.error
    assert error is not None
    assert (refused.value.http_status, error.code) == (400, "payment_intent_unexpected_state")
    assert (error.payment_intent.id, error.payment_intent.status) == (intent.id, "succeeded")


async def test_a_paid_intent_may_still_be_described_but_not_changed(sandbox: Sandbox, intents: Any) -> None:
    intent = await intents.create_async(paying(metadata={"a": "1", "b": "2"}))
    updated = await intents.update_async(intent.id, {"metadata": {"a": "", "c": "3"}, "description": "done"})
    assert (updated.metadata.to_dict(), updated.description) == ({"b": "2", "c": "3"}, "done")
    with pytest.raises(stripe.InvalidRequestError, match="amount could not be updated"):
        await intents.update_async(intent.id, {"amount": 5_000})


async def test_redirects_must_be_possible_or_excluded(sandbox: Sandbox, intents: Any) -> None:
    asked = {"amount": 2_500, "currency": "usd", "payment_method": "pm_card_visa", "confirm": True}
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await intents.create_async(asked)
    assert refused.value.param == "return_url"
    assert (await intents.create_async({**asked, "return_url": RETURN_URL})).status == "succeeded"
    assert (await intents.create_async({**asked, "allowed_payment_method_types": ["card"]})).status == "succeeded"


@pytest.mark.parametrize(
    ("members", "param", "code"),
    [
        ({"amount": 49}, "amount", "amount_too_small"),
        ({"amount": 100_000_000}, "amount", "amount_too_large"),
        ({"currency": "xyz"}, "currency", None),
        ({"customer": "cus_none"}, "customer", "resource_missing"),
        ({"payment_method": "pm_none"}, "payment_method", "resource_missing"),
        ({"payment_method_types": ["card"]}, "payment_method_types", None),
        ({"off_session": True}, "off_session", None),
        ({"transfer_data": {"destination": "acct_1"}}, "transfer_data", None),
    ],
)
async def test_a_wrong_wish_is_refused_and_leaves_nothing(
    sandbox: Sandbox, intents: Any, members: dict[str, Any], param: str, code: str | None
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await intents.create_async(wish(**members))
    assert (refused.value.param, refused.value.code) == (param, code)
    assert (await sandbox.look("health"))["objects"] == {}


async def test_payment_method_types_are_gone_from_the_pinned_version_only(sandbox: Sandbox, intents: Any) -> None:
    asked = {"amount": 2_500, "currency": "usd", "payment_method_types": ["card"]}
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await intents.create_async(asked)
    assert refused.value.code == "payment_method_types_no_longer_supported"
    intent = await intents.create_async(asked, {"stripe_version": "2025-03-31.basil"})
    assert intent.payment_method_types == ["card"]


async def test_a_single_use_payment_method_pays_once(sandbox: Sandbox, intents: Any) -> None:
    first = await intents.create_async(paying())
    with pytest.raises(stripe.InvalidRequestError, match="cannot be used again"):
        await intents.create_async(paying(first.payment_method))
