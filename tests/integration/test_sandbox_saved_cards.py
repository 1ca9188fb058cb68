"""Customers, payment methods and SetupIntents at the sandbox, through the official SDK."""

from typing import Any

import pytest
import stripe

from deploy.sandbox.testing import Sandbox


def card(number: str, **members: Any) -> dict[str, Any]:
    return {"type": "card", "card": {"number": number, "exp_month": 4, "exp_year": 2031, "cvc": "123", **members}}


def payment(method: str, **members: Any) -> dict[str, Any]:
    return {
        "amount": 2_000,
        "currency": "usd",
        "payment_method": method,
        "confirm": True,
        "allowed_payment_method_types": ["card"],
        **members,
    }


async def test_a_customer_is_created_changed_listed_and_deleted(sandbox: Sandbox, api: Any) -> None:
    customer = await api.customers.create_async({"email": "a@b.test", "metadata": {"user": "u1"}, "name": "A"})
    updated = await api.customers.update_async(customer.id, {"name": "", "address": {"city": "Jacmel"}})
    assert (updated.name, updated.address.city, updated.metadata.to_dict()) == (None, "Jacmel", {"user": "u1"})
    found = await api.customers.list_async({"email": "a@b.test"})
    assert [each.id for each in found.data] == [customer.id]
    assert (await api.customers.delete_async(customer.id)).deleted
    assert (await api.customers.retrieve_async(customer.id)).deleted
    assert (await api.customers.list_async()).data == []
    events = (await api.events.list_async({"type": "customer.*"})).data
    assert [event.type for event in events] == ["customer.deleted", "customer.updated", "customer.created"]
    assert events[1].data.previous_attributes.to_dict()["name"] == "A"


async def test_a_card_made_from_a_number_is_kept_for_its_customer(sandbox: Sandbox, api: Any) -> None:
    customer = await api.customers.create_async()
    method = await api.payment_methods.create_async(card("4242 4242 4242 4242", exp_year=31))
    assert (method.card.last4, method.card.brand, method.card.exp_year) == ("4242", "visa", 2031)
    attached = await api.payment_methods.attach_async(method.id, {"customer": customer.id})
    assert attached.customer == customer.id
    listed = await api.customers.payment_methods.list_async(customer.id, {"type": "card"})
    assert [each.id for each in listed.data] == [method.id]
    for _ in range(2):
        intent = await api.payment_intents.create_async(payment(method.id, customer=customer.id, off_session=True))
        assert intent.status == "succeeded"
    with pytest.raises(stripe.InvalidRequestError, match="attached to a customer"):
        await api.payment_intents.create_async(payment(method.id))
    assert (await api.payment_methods.detach_async(method.id)).customer is None


@pytest.mark.parametrize(
    ("number", "code", "reason"),
    [("4242424242424241", "incorrect_number", None), ("4111111111111111", "card_declined", "test_mode_live_card")],
)
async def test_a_number_of_no_test_card_is_refused(
    sandbox: Sandbox, api: Any, number: str, code: str, reason: str | None
) -> None:
    with pytest.raises(stripe.CardError) as refused:
        await api.payment_methods.create_async(card(number))
    assert refused.value.error is not None
    assert (refused.value.code, refused.value.error.to_dict().get("decline_code")) == (code, reason)


async def test_a_declined_card_is_not_saved_but_one_is_declined_only_when_it_pays(sandbox: Sandbox, api: Any) -> None:
    customer = await api.customers.create_async()
    with pytest.raises(stripe.CardError):
        await api.payment_methods.attach_async("pm_card_visa_chargeDeclined", {"customer": customer.id})
    saved = await api.payment_methods.attach_async("pm_card_chargeCustomerFail", {"customer": customer.id})
    with pytest.raises(stripe.CardError):
        await api.payment_intents.create_async(payment(saved.id, customer=customer.id))
    with pytest.raises(stripe.CardError):
        await api.customers.create_async({"payment_method": "pm_card_visa_chargeDeclined"})
    assert len((await api.customers.list_async()).data) == 1


async def test_a_card_is_saved_by_a_setup_intent(sandbox: Sandbox, api: Any) -> None:
    customer = await api.customers.create_async()
    intent = await api.setup_intents.create_async(
        {"customer": customer.id, "payment_method": "pm_card_visa", "confirm": True, "return_url": "https://a.test"}
    )
    assert intent.status == "succeeded"
    assert (await api.payment_methods.retrieve_async(intent.payment_method)).customer == customer.id


@pytest.mark.parametrize(("control", "status"), [("complete", "succeeded"), ("fail", "requires_payment_method")])
async def test_saving_a_card_may_need_authentication(sandbox: Sandbox, api: Any, control: str, status: str) -> None:
    customer = await api.customers.create_async()
    intent = await api.setup_intents.create_async({"customer": customer.id})
    waiting = await api.setup_intents.confirm_async(
        intent.id, {"payment_method": "pm_card_authenticationRequiredOnSetup", "return_url": "https://a.test"}
    )
    assert (waiting.status, waiting.next_action.type) == ("requires_action", "redirect_to_url")
    after = await sandbox.control(f"setup_intents/{intent.id}/{control}")
    assert after["status"] == status


async def test_a_card_set_up_for_it_pays_while_the_payer_is_away(sandbox: Sandbox, api: Any) -> None:
    customer = await api.customers.create_async()
    token = "pm_card_authenticationRequiredOnSetup"
    saved = await api.payment_methods.attach_async(token, {"customer": customer.id})
    away = payment(saved.id, customer=customer.id, off_session=True)
    with pytest.raises(stripe.CardError) as declined:
        await api.payment_intents.create_async(away)
    assert declined.value.code == "authentication_required"
    intent = await api.setup_intents.create_async(
        {"customer": customer.id, "payment_method": saved.id, "confirm": True}
    )
    await sandbox.control(f"setup_intents/{intent.id}/complete")
    assert (await api.payment_intents.create_async(away)).status == "succeeded"


async def test_a_payment_can_save_its_card(sandbox: Sandbox, api: Any) -> None:
    customer = await api.customers.create_async()
    wish = payment("pm_card_visa", customer=customer.id, setup_future_usage="off_session")
    intent = await api.payment_intents.create_async(wish)
    assert (await api.payment_methods.retrieve_async(intent.payment_method)).customer == customer.id


async def test_a_declined_setup_wants_another_card(sandbox: Sandbox, api: Any) -> None:
    intent = await api.setup_intents.create_async({})
    with pytest.raises(stripe.CardError):
        await api.setup_intents.confirm_async(intent.id, {"payment_method": "pm_card_visa_chargeDeclined"})
    after = await api.setup_intents.retrieve_async(intent.id)
    assert (after.status, after.last_setup_error.code) == ("requires_payment_method", "card_declined")
    canceled = await api.setup_intents.cancel_async(intent.id)
    assert canceled.status == "canceled"
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await api.setup_intents.cancel_async(intent.id)
    assert refused.value.code == "setup_intent_unexpected_state"


async def test_a_saved_card_is_described_anew(sandbox: Sandbox, api: Any) -> None:
    customer = await api.customers.create_async({"payment_method": "pm_card_visa"})
    method = (await api.payment_methods.list_async({"customer": customer.id})).data[0]
    wish = {"billing_details": {"name": "N"}, "card": {"exp_month": 1, "exp_year": 2040}, "metadata": {"k": "v"}}
    updated = await api.payment_methods.update_async(method.id, wish)
    assert (updated.billing_details.name, updated.card.exp_year) == ("N", 2040)
    event = (await api.events.list_async({"type": "payment_method.updated"})).data[0]
    assert event.data.previous_attributes.to_dict()["card"] == {"exp_month": 12, "exp_year": 2034}
